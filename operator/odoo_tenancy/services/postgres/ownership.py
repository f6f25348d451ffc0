"""Whose a role or database is. What exists under our name without our mark is never touched."""

from __future__ import annotations

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.services.postgres.errors import LOOK_AGAIN
from odoo_tenancy.services.postgres.inventory import Database, Inventory, Role
from odoo_tenancy.services.postgres.marks import Mark, to_comment
from odoo_tenancy.services.postgres.wanted import TenantDatabase, is_half_made


def is_ours(inventory: Inventory, mark: Mark | None, claim: str) -> bool:
    """Made by this operator for this claim (a template: for none)."""
    return mark is not None and mark.operator == inventory.operator and mark.claim == claim


def check_roles(inventory: Inventory, claim: str, names: tuple[str, ...]) -> None:
    """Of those that exist.

    Raises:
        Refused: ``RoleNotOurs``, ``Retained``.
    """
    for name in names:
        if name in inventory.roles:
            _check(inventory, inventory.roles[name], claim)


def check_database(inventory: Inventory, claim: str, database: Database) -> None:
    """The same for a database.

    Raises:
        Refused: ``DatabaseNotOurs``, ``Retained``.
    """
    _check(inventory, database, claim)


def is_ours_half_made(inventory: Inventory, database: Database, owner_role: str, claim: str) -> bool:
    """What a creation that was cut short left: no mark yet, but the role that is made and marked before it is
    ours."""
    role = inventory.roles.get(owner_role)
    return is_half_made(inventory, database) and role is not None and is_ours(inventory, role.mark, claim)


def split(
    inventory: Inventory, wanted: TenantDatabase
) -> tuple[tuple[str, ...], Database | None, tuple[str, ...]]:
    """The tenant's roles that are ours, its database if it is, and the names of what is there and isn't."""
    roles = tuple(r for r in wanted.roles if r in inventory.roles)
    ours = tuple(r for r in roles if is_ours(inventory, inventory.roles[r].mark, wanted.claim))
    left = [f"role {r}" for r in roles if r not in ours]
    database = inventory.databases.get(wanted.database)
    if database is not None and not (
        is_ours(inventory, database.mark, wanted.claim)
        or is_ours_half_made(inventory, database, wanted.owner_role, wanted.claim)
    ):
        left.append(f"database {database.name}")
        database = None
    return ours, database, tuple(left)


def _check(inventory: Inventory, found: Role | Database, claim: str) -> None:
    kind = "Role" if isinstance(found, Role) else "Database"
    if not is_ours(inventory, found.mark, claim):
        mend = f"COMMENT ON {kind.upper()} {found.name} IS '{to_comment(Mark(inventory.operator, claim))}'"
        said = (
            "no mark of this operator"
            if found.mark is None
            else "another operator's or another tenant's mark"
        )
        raise Refused(
            f"{kind}NotOurs",
            f"{kind} {found.name} exists and carries {said}, so it isn't touched. Rename or drop it;"
            f" or, if it is this tenant's and only its comment was lost, write that again: {mend}.",
            LOOK_AGAIN,
        )
    if found.mark is not None and found.mark.retained_since:
        raise Refused(
            "Retained",
            f"{kind} {found.name} was kept at {found.mark.retained_since} when its tenant was deleted."
            f" Take it over with spec.adopt.claim: {claim}.",
            LOOK_AGAIN,
        )
