"""What a tenant should have on its server, and where the server differs from it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from odoo_tenancy.services.postgres.inventory import PUBLIC, Database, Grant, Inventory, Membership, Role

UNLIMITED = -1
OWNER_PRIVILEGES = ("CONNECT", "TEMPORARY")
"""Of the tenant's owner role on its database; the login roles have them as its members. CREATE (schemas,
trusted extensions such as plperl) stays with the admin."""


@dataclass(frozen=True, slots=True)
class TenantDatabase:
    """One tenant's database and roles; who calls gives the names."""

    claim: str
    database: str
    owner_role: str
    """Owns what is in the database; nobody can log in as it."""
    login_role: str
    """What Odoo logs in as; a member of the owner that acts as it from the first statement on."""
    connection_limit: int
    """Of the login role."""
    idle_login_role: str | None = None
    """The other slot of a password rotation: it may exist, without LOGIN."""

    @property
    def login_roles(self) -> tuple[str, ...]:
        """Both slots."""
        return (self.login_role,) if self.idle_login_role is None else (self.login_role, self.idle_login_role)

    @property
    def roles(self) -> tuple[str, ...]:
        """The owner first: the others are its members."""
        return (self.owner_role, *self.login_roles)

    @property
    def names(self) -> tuple[str, ...]:
        """All names on the server, for a look at this tenant alone."""
        return tuple(dict.fromkeys((self.database, *self.roles)))


@dataclass(frozen=True, slots=True)
class Difference:
    """One attribute that is not as it should be."""

    object: str
    """``role t_…`` or ``database t_…``."""
    attribute: str
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.object}: {self.attribute} is {self.found}, should be {self.wanted}"


def differences(inventory: Inventory, wanted: TenantDatabase) -> tuple[Difference, ...]:
    """All of them, roles first. Empty: the tenant is as it should be (its password aside, which can't be
    looked at)."""
    return (*role_differences(inventory, wanted), *database_differences(inventory, wanted))


def role_differences(inventory: Inventory, wanted: TenantDatabase) -> tuple[Difference, ...]:
    """Of the owner role and the login roles."""
    return tuple(
        difference
        for name in wanted.roles
        if name in inventory.roles or name != wanted.idle_login_role
        for difference in _of_role(inventory, wanted, name)
    )


def database_differences(inventory: Inventory, wanted: TenantDatabase) -> tuple[Difference, ...]:
    """Of the database."""
    title = f"database {wanted.database}"
    found = inventory.databases.get(wanted.database)
    if found is None:
        return (Difference(title, "existence", "present", "missing"),)
    if found.mark is None or found.mark.stage == "making":
        return (Difference(title, "stage", "open", "making" if found.mark else "unmarked"),)
    pairs = (
        ("claim", (wanted.claim, inventory.operator), (found.mark.claim, found.mark.operator)),
        ("retained", "", found.mark.retained_since),
        ("owner", inventory.admin, found.owner),
        ("ALLOW_CONNECTIONS", True, found.allow_connections),
        ("IS_TEMPLATE", False, found.is_template),
        ("CONNECTION LIMIT", UNLIMITED, found.connection_limit),
        ("settings", (), found.settings),
        ("privileges", _privileges(expected_grants(inventory.admin, wanted)), _privileges(found.grants)),
    )
    return tuple(
        Difference(title, name, _say(want), _say(have)) for name, want, have in pairs if want != have
    )


def expected_grants(admin: str, wanted: TenantDatabase) -> tuple[Grant, ...]:
    """The database's whole access list: nothing for PUBLIC."""
    return tuple(
        sorted(
            (Grant(admin, ("CONNECT", "CREATE", "TEMPORARY")), Grant(wanted.owner_role, OWNER_PRIVILEGES)),
            key=lambda grant: grant.grantee,
        )
    )


def foreign_members(inventory: Inventory, wanted: TenantDatabase, role: Role) -> Iterator[Membership]:
    """Those who may act as the tenant's role and should not, or could pass it on."""
    for membership in role.members:
        if membership.member == inventory.admin:
            continue
        if role.name != wanted.owner_role or membership.member not in wanted.login_roles or membership.admin:
            yield membership


def foreign_roles(wanted: TenantDatabase, role: Role) -> Iterator[Membership]:
    """Those whom the tenant's role may act as and should not."""
    for membership in role.member_of:
        if role.name == wanted.owner_role or membership.role != wanted.owner_role:
            yield membership


def needs_membership(inventory: Inventory, role: Role) -> bool:
    """The admin acts as the role (to give objects to it, to end its sessions), which only a superuser may
    without this."""
    return not inventory.admin_is_superuser and not any(
        m.member == inventory.admin and m.inherit and m.set for m in role.members
    )


def _of_role(inventory: Inventory, wanted: TenantDatabase, name: str) -> Iterator[Difference]:
    title = f"role {name}"
    found = inventory.roles.get(name)
    if found is None:
        yield Difference(title, "existence", "present", "missing")
        return
    mark = found.mark
    is_login = name != wanted.owner_role
    pairs = (
        ("claim", (wanted.claim, inventory.operator), (mark.claim, mark.operator) if mark else "unmarked"),
        ("retained", "", mark.retained_since if mark else ""),
        ("LOGIN", name == wanted.login_role, found.can_login),
        ("INHERIT", True, found.inherit),
        ("SUPERUSER", False, found.superuser),
        ("CREATEDB", False, found.create_db),
        ("CREATEROLE", False, found.create_role),
        ("REPLICATION", False, found.replication),
        ("BYPASSRLS", False, found.bypass_rls),
        ("CONNECTION LIMIT", wanted.connection_limit if is_login else UNLIMITED, found.connection_limit),
        ("VALID UNTIL", "infinity", found.valid_until or "infinity"),
        ("settings", (f"role={wanted.owner_role}",) if is_login else (), found.settings),
        ("member of", (), tuple(m.role for m in foreign_roles(wanted, found))),
        ("members", (), tuple(m.member for m in foreign_members(inventory, wanted, found))),
        ("membership of the admin", True, not needs_membership(inventory, found)),
    )
    for attribute, want, have in pairs:
        if want != have:
            yield Difference(title, attribute, _say(want), _say(have))
    if is_login and not any(
        m.role == wanted.owner_role and m.inherit and m.set and not m.admin for m in found.member_of
    ):
        yield Difference(title, f"membership of {wanted.owner_role}", "inherited and to be set", "not so")


def _privileges(grants: tuple[Grant, ...]) -> tuple[str, ...]:
    return tuple(f"{g.grantee if g.grantee != PUBLIC else 'PUBLIC'}={'+'.join(g.privileges)}" for g in grants)


def _say(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(str(v) for v in value) or "none"
    return str(value) if value != "" else "none"


def is_half_made(inventory: Inventory, database: Database) -> bool:
    """Created, but not yet marked: it belongs to us, and nobody could ever connect to it.

    CREATE DATABASE and its COMMENT can't be one transaction. A database that somebody else made under our
    name isn't owned by our admin; one that the admin made by hand would let people in.
    """
    return database.mark is None and database.owner == inventory.admin and not database.allow_connections
