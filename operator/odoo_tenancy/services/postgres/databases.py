"""A tenant's database: made from nothing or from a template, repaired, dropped. Resumes wherever it was cut
short."""

from __future__ import annotations

from odoo_tenancy.api.errors import Waiting
from odoo_tenancy.services.postgres import access, restriction, roles, statements
from odoo_tenancy.services.postgres.errors import PostgresPrivilegeMissing, translated
from odoo_tenancy.services.postgres.inventory import Database, Inventory
from odoo_tenancy.services.postgres.marks import Mark
from odoo_tenancy.services.postgres.ownership import check_database, check_roles, is_ours, is_ours_half_made
from odoo_tenancy.services.postgres.wanted import TenantDatabase, database_differences
from odoo_tenancy.services.postgres.writer import Session, Writer


async def ensure(writer: Writer, wanted: TenantDatabase, template: str | None) -> None:
    """Make the database where it is missing, go on where it was cut short, repair where it differs."""
    names = (*wanted.names, template) if template else wanted.names
    found = await writer.look(names, deep=True)
    check_roles(found, wanted.claim, wanted.roles)
    missing = [
        name for name in (wanted.owner_role, wanted.acting_role, *wanted.readers) if name not in found.roles
    ]
    if missing:
        raise Waiting("RolesMissing", f"Role {missing[0]} must be there before its database.", 1)
    database = await _without_leftovers(writer, found, wanted, template)
    if database is None or database.mark is None or database.mark.stage == "making":
        await _make(writer, found, wanted, template, database)
        return
    if not database_differences(found, wanted):
        return
    await _repair(writer, found, wanted, database)
    remaining = database_differences(await writer.look(wanted.names), wanted)
    if remaining:
        raise PostgresPrivilegeMissing(
            f"On PostgreSQL at {writer.address} {'; '.join(map(str, remaining))}."
            f" The admin role {found.admin} may not undo this: let a superuser do it."
        )


async def _repair(writer: Writer, found: Inventory, wanted: TenantDatabase, database: Database) -> None:
    """The database as such, from outside; and what its readers miss, from inside."""
    differing = {difference.attribute for difference in database_differences(found, wanted)}
    inside = {name for name in differing if name.endswith(wanted.granted_roles)}
    if differing - inside:
        repair = statements.repair_database(found, wanted, database)
        await writer.write(f"database {database.name}: make as wanted", repair)
    if inside:
        await let_read(writer, wanted)


async def let_read(writer: Writer, wanted: TenantDatabase) -> None:
    """Grant the readers what is there and what will be; and who acts in a full database what it needs."""
    name = wanted.database
    changes = access.grant_reading(wanted)
    if wanted.acting_role != wanted.owner_role:
        changes += access.grant_restricted(wanted, restriction.GROWING)
    await writer.write(f"database {name}: let read", changes, Session(name))


async def drop(writer: Writer, found: Inventory, database: Database, owners: tuple[str, ...]) -> None:
    """Close it, end its sessions, drop it. A stranger's session makes it wait: only a superuser could end
    that.

    Without FORCE, which for an admin who is no superuser fails at an autovacuum worker; plain DROP DATABASE
    sends those away itself and waits five seconds.
    """
    await writer.write(f"database {database.name}: close", [statements.close_database(database)])
    await roles.end_sessions(writer, found, owners, database.name)
    await writer.write_alone(f"database {database.name}: drop", statements.drop_database(database.name))


async def drop_own(writer: Writer, wanted: TenantDatabase) -> None:
    """Drop the tenant's database alone; its roles stay."""
    found = await writer.look(wanted.names)
    database = found.databases.get(wanted.database)
    if database is None:
        return
    if not is_ours_half_made(found, database, wanted.owner_role, wanted.claim):
        check_database(found, wanted.claim, database)
    await drop(writer, found, database, wanted.roles)


async def _without_leftovers(
    writer: Writer, found: Inventory, wanted: TenantDatabase, template: str | None
) -> Database | None:
    """The database as far as it can be gone on with. Half of a copy of another template is dropped."""
    database = found.databases.get(wanted.database)
    if database is None:
        return None
    half_made = is_ours_half_made(found, database, wanted.owner_role, wanted.claim)
    if not half_made:
        check_database(found, wanted.claim, database)
    mark = database.mark
    if half_made or (mark is not None and mark.stage == "making" and mark.template != (template or "")):
        await drop(writer, found, database, wanted.roles)
        return None
    return database


async def _make(
    writer: Writer, found: Inventory, wanted: TenantDatabase, template: str | None, database: Database | None
) -> None:
    name = wanted.database
    mark = Mark(found.operator, wanted.claim, stage="making", template=template or "")
    if database is None:
        if template is not None and not is_ready_template(found, template):
            raise Waiting("TemplateNotReady", f"Template {template} isn't there yet, or isn't ours.", 2)
        await writer.write_alone(f"database {name}: create", statements.create_database(name, template))
        await writer.write(f"database {name}: seal", statements.seal(name, mark))
    if template is not None:
        fill = statements.hand_over([template], wanted.owner_role)
    else:
        available = await _available_extensions(writer, name)
        fill = [*map(statements.create_extension, available), statements.grant_schema(wanted.owner_role)]
    fill += access.grant_reading(wanted)
    await writer.write(f"database {name}: give to {wanted.owner_role}", fill, Session(name))
    opened = Mark(found.operator, wanted.claim, stage="open", template=template or "")
    opening = [*statements.grant_connect(wanted), statements.comment_on_database(name, opened)]
    await writer.write(f"database {name}: open", opening)


def is_ready_template(found: Inventory, template: str) -> bool:
    """Whether it can be cloned: complete, ours, closed."""
    database = found.databases.get(template)
    if database is None or database.mark is None or not database.is_template:
        return False
    return is_ours(found, database.mark, "") and database.mark.stage == "ready"


async def _available_extensions(writer: Writer, database: str) -> list[str]:
    """Some servers come without the contrib package; Odoo does without."""
    query = "SELECT name::text FROM pg_catalog.pg_available_extensions WHERE name = ANY (%s) ORDER BY name"
    with translated(writer.address, f"database {database}: look for extensions"):
        async with writer.connections.admin() as connection:
            cursor = await connection.execute(query, [list(statements.EXTENSIONS)])
            return [row[0] for row in await cursor.fetchall()]
