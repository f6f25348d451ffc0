"""Template databases: a fresh Odoo, cloned in a tenth of a second. A half-made one is never cloned: its mark
says so."""

from __future__ import annotations

from odoo_tenancy.api.errors import Refused, Waiting
from odoo_tenancy.services.postgres import databases, roles, statements
from odoo_tenancy.services.postgres.inventory import Database, Inventory
from odoo_tenancy.services.postgres.marks import Mark
from odoo_tenancy.services.postgres.ownership import check_database, check_roles, is_ours_half_made
from odoo_tenancy.services.postgres.wanted import TenantDatabase
from odoo_tenancy.services.postgres.writer import Session, Writer


async def make(writer: Writer, source: TenantDatabase, template: str) -> None:
    """Copy a tenant's fresh database: initialised, never served, still without an identity of its own."""
    found = await writer.look((*source.names, template))
    if databases.is_ready_template(found, template):
        return
    check_roles(found, "", (template,))
    if template not in found.roles:
        mark = Mark(found.operator)
        await writer.write(f"role {template}: create", statements.create_role(found, template, mark))
        found = await writer.look((*source.names, template))
    if not await _has_copy(writer, found, template):
        await _copy(writer, found, source, template)
    # DROP OWNED takes from the source's roles what they may do with their own database too: it is given back
    # at once.
    change = [*statements.hand_over(source_roles(found, source), template), *statements.grant_connect(source)]
    await writer.write(f"database {template}: give to role {template}", change, Session(template))
    finish = statements.finish_template(template, Mark(found.operator, stage="ready"))
    await writer.write(f"database {template}: finish", finish)


async def note_image(writer: Writer, template: str, image: str) -> None:
    """Let a ready template remember which image it is of; a later operator compares with it."""
    found = await writer.look((template,))
    database = found.databases.get(template)
    if database is None or not databases.is_ready_template(found, template):
        return
    check_database(found, "", database)
    mark = Mark(found.operator, stage="ready", image=image)
    await writer.write(
        f"database {template}: note its image", [statements.comment_on_database(template, mark)]
    )


async def drop(writer: Writer, template: str) -> None:
    """Drop a template and its role; what was cloned from it stays as it is."""
    found = await writer.look((template,))
    database = found.databases.get(template)
    check_roles(found, "", (template,))
    if database is not None:
        if not is_ours_half_made(found, database, template, ""):
            check_database(found, "", database)
        await databases.drop(writer, found, database, (template,))
    if template in found.roles:
        await writer.write(f"role {template}: drop", statements.drop_roles([template]))


def source_roles(found: Inventory, source: TenantDatabase) -> list[str]:
    """Those of the source's roles that exist."""
    return [name for name in source.roles if name in found.roles]


async def _has_copy(writer: Writer, found: Inventory, template: str) -> bool:
    """Whether there is a whole copy to go on with; one without a mark is dropped."""
    database = found.databases.get(template)
    if database is None:
        return False
    if is_ours_half_made(found, database, template, ""):
        await databases.drop(writer, found, database, (template,))
        return False
    check_database(found, "", database)
    return True


async def _copy(writer: Writer, found: Inventory, source: TenantDatabase, template: str) -> None:
    _check_source(found, source, found.databases.get(source.database))
    await roles.end_sessions(writer, found, source.roles, source.database)
    create = statements.create_database(template, source.database)
    await writer.write_alone(f"database {template}: create", create)
    seal = statements.seal(template, Mark(found.operator, stage="making"))
    await writer.write(f"database {template}: seal", seal)


def _check_source(found: Inventory, source: TenantDatabase, database: Database | None) -> None:
    if database is None:
        raise Waiting("DatabaseMissing", f"Database {source.database} isn't there to make a template of.", 1)
    check_database(found, source.claim, database)
    if database.mark is None or database.mark.stage != "open":
        raise Refused(
            "NotATemplateSource",
            f"Database {source.database} already has an identity and an administrator's password of its own;"
            " only a freshly initialised database becomes a template.",
        )
