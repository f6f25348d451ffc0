"""What stays of a deleted tenant, and how a later one takes it over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from psycopg.sql import Composed

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.services.postgres import databases, roles, statements
from odoo_tenancy.services.postgres.inventory import Inventory
from odoo_tenancy.services.postgres.marks import Mark
from odoo_tenancy.services.postgres.ownership import split
from odoo_tenancy.services.postgres.wanted import TenantDatabase
from odoo_tenancy.services.postgres.writer import Writer


async def drop(writer: Writer, wanted: TenantDatabase) -> tuple[str, ...]:
    """Sessions, database, roles: in this order, so that what is left after a crash is still known as ours."""
    found = await writer.look(wanted.names)
    ours, database, left = split(found, wanted)
    if ours:
        await writer.write(f"roles of {wanted.owner_role}: lock", roles.lock(found, ours))
    if database is not None:
        await databases.drop(writer, found, database, ours)
    elif ours:
        await roles.end_sessions(writer, found, ours, wanted.database)
    if ours:
        await writer.write(f"roles of {wanted.owner_role}: drop", statements.drop_roles(ours))
    return left


async def retain(writer: Writer, wanted: TenantDatabase, since: datetime) -> tuple[str, ...]:
    """Lock the roles and write the date on everything; a date that is there already stays."""
    found = await writer.look(wanted.names)
    ours, database, left = split(found, wanted)
    date = since.isoformat(timespec="seconds")
    changes: list[Composed] = roles.lock(found, ours)
    for name in ours:
        mark = found.roles[name].mark
        if mark is not None and not mark.retained_since:
            changes.append(statements.comment_on_role(name, replace(mark, retained_since=date)))
    if database is not None and database.mark is not None and not database.mark.retained_since:
        changes.append(
            statements.comment_on_database(database.name, replace(database.mark, retained_since=date))
        )
    if len(changes) > len(roles.lock(found, ours)) or any(found.roles[name].can_login for name in ours):
        await writer.write(f"roles of {wanted.owner_role}: retain", changes)
    await roles.end_sessions(writer, found, ours, wanted.database)
    return left


async def adopt(writer: Writer, wanted: TenantDatabase) -> None:
    """Write our own marks over those of a former tenant of this claim. Logging in comes later, with the
    roles' repair."""
    found = await writer.look(wanted.names)
    database = found.databases.get(wanted.database)
    if database is None and wanted.owner_role not in found.roles:
        raise Refused(
            "NothingToAdopt",
            f"PostgreSQL at {writer.address} has neither database nor role {wanted.database}."
            " Correct spec.adopt.claim, or remove it for a new, empty database.",
        )
    changes = list(_remarked(found, wanted))
    if changes:
        await writer.write(f"roles of {wanted.owner_role}: adopt", changes)


def _remarked(found: Inventory, wanted: TenantDatabase) -> Iterator[Composed]:
    for name in wanted.roles:
        if name in found.roles:
            mark = _adoptable(found, wanted, f"Role {name}", found.roles[name].mark)
            if mark != found.roles[name].mark:
                yield statements.comment_on_role(name, mark)
    database = found.databases.get(wanted.database)
    if database is not None:
        mark = _adoptable(found, wanted, f"Database {database.name}", database.mark)
        if mark != database.mark:
            yield statements.comment_on_database(database.name, mark)


def _adoptable(found: Inventory, wanted: TenantDatabase, what: str, mark: Mark | None) -> Mark:
    if mark is None or mark.claim != wanted.claim:
        raise Refused(
            f"{what.split()[0]}NotOurs", f"{what} doesn't carry claim {wanted.claim}, so it isn't adopted."
        )
    in_use = sum(found.roles[name].connections or 0 for name in wanted.roles if name in found.roles)
    if mark.operator != found.operator and in_use:
        raise Refused(
            "StillInUse",
            f"{what} belongs to another operator and {in_use} sessions of its tenant are open."
            " Stop the tenant there, then adopt it here.",
            60,
        )
    return replace(mark, operator=found.operator, retained_since="")
