"""A new password without a gap: two login roles, of which one is live, and both while Odoo's pods change over.

The way of a rotation, each step of which may be repeated after a crash: ``open_login`` (the idle slot gets the new
password) → the caller puts it into Odoo's Secret, rolls the pods, and from then on wants the tenant ``swapped`` →
``close_login`` until it returns 0. Between the first and the last ``rotating`` is set.

A server doesn't tell passwords, so which of them a slot has is known by trying, or by the caller's own fingerprints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from odoo_tenancy.services.postgres import roles, statements
from odoo_tenancy.services.postgres.errors import (
    PostgresLoginRefused,
    PostgresPasswordRejected,
    translated,
)
from odoo_tenancy.services.postgres.inventory import Inventory
from odoo_tenancy.services.postgres.marks import Mark
from odoo_tenancy.services.postgres.ownership import check_roles
from odoo_tenancy.services.postgres.wanted import TenantDatabase, role_differences
from odoo_tenancy.services.postgres.writer import Writer


@dataclass(frozen=True, slots=True)
class Logins:
    """What the server says of a tenant's two slots."""

    open: tuple[str, ...]
    """Those that may log in: one, and both during a rotation."""
    sessions: Mapping[str, int | None]
    """Open now, on the whole server, by slot; ``None`` where the inventory is of everybody, which doesn't count them."""

    @property
    def live(self) -> str | None:
        """The one that is open; ``None`` where it is not one alone."""
        return self.open[0] if len(self.open) == 1 else None


def logins(inventory: Inventory, wanted: TenantDatabase) -> Logins:
    """Without a query."""
    found = {name: inventory.roles[name] for name in wanted.login_roles if name in inventory.roles}
    return Logins(
        tuple(sorted(name for name, role in found.items() if role.can_login)),
        {name: role.connections for name, role in found.items()},
    )


async def open_idle(writer: Writer, wanted: TenantDatabase, password: str) -> None:
    """Let the idle slot log in with this password; nothing where it does already."""
    name = _idle(wanted)
    wanted = replace(wanted, rotating=True)
    found = await writer.look(wanted.names)
    check_roles(found, wanted.claim, wanted.roles)
    role = found.roles.get(name)
    differing = any(difference.object == f"role {name}" for difference in role_differences(found, wanted))
    if role and role.can_login and not differing and await _lets_in(writer, wanted, name, password):
        return
    mark = Mark(found.operator, wanted.claim)
    changes = [] if role else statements.create_role(found, name, mark)
    changes += statements.shape_role(found, wanted, name, login=True)
    changes.append(statements.set_password(name, roles.verifier(wanted, name, password)))
    await writer.write(f"role {name}: open with a new password", changes)


async def close_idle(
    writer: Writer, wanted: TenantDatabase, deadline: datetime, now: datetime, *, pooled: bool = False
) -> int:
    """Close the slot that isn't live any more, once nobody uses it, or at the deadline.

    ``pooled``: a session that does nothing is one that PgBouncer keeps for the next client: it isn't waited for.

    Returns:
        The sessions that are waited for; 0: it is closed and nobody is left.
    """
    name = _idle(wanted)
    found = await writer.look(wanted.names)
    check_roles(found, wanted.claim, wanted.roles)
    role = found.roles.get(name)
    if role is None:
        return 0
    if role.can_login:
        if role.connections and now < deadline:
            used = await _at_work(writer, name) if pooled else role.connections
            if used:
                return used
        await writer.write(f"role {name}: close", [statements.close_login(name)])
        found = await writer.look(wanted.names)
    if found.roles[name].connections:
        await writer.write(f"sessions of {name}: end", [statements.end_sessions_of([name])])
    return 0


async def close_all(writer: Writer, wanted: TenantDatabase) -> None:
    """Nobody of the tenant's Odoo gets in, whatever it does. ``ensure_roles`` opens the live slot again."""
    found = await writer.look(wanted.names)
    check_roles(found, wanted.claim, wanted.roles)
    slots = [name for name in wanted.login_roles if name in found.roles]
    if any(found.roles[name].can_login for name in slots):
        await writer.write(f"roles of {wanted.owner_role}: close", statements.lock_roles(slots))
    if any(role.connections for role in (await writer.look(slots)).roles.values()):
        await writer.write(f"sessions of {wanted.owner_role}: end", [statements.end_sessions_of(slots)])


async def _at_work(writer: Writer, role: str) -> int:
    """Its sessions that are in a transaction, on the whole server. As a member of the role the admin sees what they
    do; what it can't see counts."""
    with translated(writer.address, f"sessions of {role}: count"):
        async with writer.connections.admin() as connection:
            cursor = await connection.execute(
                "SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity"
                " WHERE usename = %s AND state IS DISTINCT FROM 'idle'",
                [role],
            )
            row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def _lets_in(writer: Writer, wanted: TenantDatabase, name: str, password: str) -> bool:
    try:
        async with writer.connections.elsewhere(wanted.database, name, password):
            return True
    except (PostgresPasswordRejected, PostgresLoginRefused):
        return False


def _idle(wanted: TenantDatabase) -> str:
    if wanted.idle_login_role is None:
        raise ValueError(f"database {wanted.database} has one login role; a rotation takes two")
    return wanted.idle_login_role
