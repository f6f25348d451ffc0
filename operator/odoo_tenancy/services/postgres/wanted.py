"""What a tenant should have on its server, and where the server differs from it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from odoo_tenancy.services.difference import Difference
from odoo_tenancy.services.postgres.inventory import PUBLIC, Database, Grant, Inventory, Membership, Role

UNLIMITED = -1
OWNER_PRIVILEGES = ("CONNECT", "TEMPORARY")
"""Of the tenant's owner role on its database; the login roles have them as its members. CREATE (schemas,
trusted extensions such as plperl) stays with the admin."""
READER_PRIVILEGES = ("CONNECT",)
"""Of those who only read, and of the role that Odoo acts as in a full database: no temporary tables."""
READER_DEFAULTS = 2
"""Default privileges of a reader in each database: SELECT on tables and on sequences."""
BACKUP_CONNECTIONS = 5
"""CONNECTION LIMIT of the backup role: ``pg_dump --jobs 4`` opens five."""
_READ_ONLY = "default_transaction_read_only=on"


@dataclass(frozen=True, slots=True)
class ReadOnlyAccess:
    """For reporting and AI tools. Its boundary is what it is granted: SELECT. Whoever logs in can change the
    settings of its own session, so they guard against mistakes, not against malice."""

    connection_limit: int
    statement_timeout: float = 60.0
    """Seconds for a statement; also for a transaction that does nothing, which would keep old rows alive."""


@dataclass(frozen=True, slots=True)
class RoleShape:
    """What a role of a tenant should be."""

    login: bool | None
    """``None``: either will do."""
    connection_limit: int
    settings: tuple[str, ...] = ()
    """Sorted."""
    member_of: str | None = None


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
    """Of each login role."""
    idle_login_role: str | None = None
    """The other slot of a password rotation: it may exist, without LOGIN."""
    rotating: bool = False
    """Both slots may log in: the old and the new password are in use."""
    backup_role: str | None = None
    """Logs in and reads everything in the database."""
    read_only_role: str | None = None
    """The name; the role itself exists with ``read_only`` alone."""
    read_only: ReadOnlyAccess | None = None
    restricted_role: str | None = None
    """What the login roles act as while ``restricted``: it exists only then."""
    restricted: bool = False
    """The database is full: nothing may be added (:mod:`odoo_tenancy.services.postgres.restriction`)."""

    @property
    def login_roles(self) -> tuple[str, ...]:
        """Both slots."""
        return (self.login_role,) if self.idle_login_role is None else (self.login_role, self.idle_login_role)

    @property
    def acting_role(self) -> str:
        """The one role that the login roles are members of, and act as."""
        return self.restricted_role if self.restricted and self.restricted_role else self.owner_role

    @property
    def readers(self) -> tuple[str, ...]:
        """Who reads everything in the database and nothing else."""
        read_only = self.read_only_role if self.read_only else None
        return tuple(name for name in (self.backup_role, read_only) if name)

    @property
    def granted_roles(self) -> tuple[str, ...]:
        """Those that need privileges on each object: the readers, and who acts in a full database."""
        return (*self.readers, self.acting_role) if self.acting_role != self.owner_role else self.readers

    @property
    def roles(self) -> tuple[str, ...]:
        """Every name of a role of this tenant, the owner first."""
        others = (self.restricted_role, *self.login_roles, self.backup_role, self.read_only_role)
        return (self.owner_role, *(name for name in others if name))

    @property
    def unwanted_roles(self) -> tuple[str, ...]:
        """Those that must not exist now."""
        readers_and_logins = {self.owner_role, self.acting_role, *self.login_roles, *self.readers}
        return tuple(name for name in self.roles if name not in readers_and_logins)

    @property
    def names(self) -> tuple[str, ...]:
        """All names on the server, for a look at this tenant alone."""
        return tuple(dict.fromkeys((self.database, *self.roles)))

    @property
    def swapped(self) -> TenantDatabase:
        """With the other slot live: what is wanted once Odoo has the new password."""
        if self.idle_login_role is None:
            return self
        return replace(self, login_role=self.idle_login_role, idle_login_role=self.login_role)

    def shape(self, name: str) -> RoleShape:
        """What the role should be."""
        if name in self.login_roles:
            login = name == self.login_role or (None if self.rotating else False)
            return RoleShape(login, self.connection_limit, (f"role={self.acting_role}",), self.acting_role)
        if name == self.backup_role:
            return RoleShape(True, BACKUP_CONNECTIONS, (_READ_ONLY,))
        if name == self.read_only_role and self.read_only:
            milliseconds = int(self.read_only.statement_timeout * 1000)
            timeouts = ("idle_in_transaction_session_timeout", "statement_timeout")
            settings = (_READ_ONLY, *(f"{name}={milliseconds}" for name in timeouts))
            return RoleShape(True, self.read_only.connection_limit, settings)
        return RoleShape(False, UNLIMITED)


def differences(inventory: Inventory, wanted: TenantDatabase) -> tuple[Difference, ...]:
    """All of them, roles first. Empty: the tenant is as it should be (its password aside, which can't be
    looked at)."""
    return (*role_differences(inventory, wanted), *database_differences(inventory, wanted))


def role_differences(inventory: Inventory, wanted: TenantDatabase) -> tuple[Difference, ...]:
    """Of all its roles; the idle login role may be missing."""
    unwanted = wanted.unwanted_roles  # asked once: this is done for every tenant at each look at its server
    return tuple(
        difference
        for name in wanted.roles
        if name in inventory.roles or name not in (wanted.idle_login_role, *unwanted)
        for difference in _of_role(inventory, wanted, name, name in unwanted)
    )


def database_differences(inventory: Inventory, wanted: TenantDatabase) -> tuple[Difference, ...]:
    """Of the database."""
    title = f"database {wanted.database}"
    found = inventory.databases.get(wanted.database)
    if found is None:
        return (Difference(title, "existence", "present", "missing"),)
    if found.mark is None or found.mark.stage == "making":
        return (Difference(title, "stage", "open", "making" if found.mark else "unmarked"),)
    pairs: list[tuple[str, object, object]] = [
        ("claim", (wanted.claim, inventory.operator), (found.mark.claim, found.mark.operator)),
        ("retained", "", found.mark.retained_since),
        ("owner", inventory.admin, found.owner),
        ("ALLOW_CONNECTIONS", True, found.allow_connections),
        ("IS_TEMPLATE", False, found.is_template),
        ("CONNECTION LIMIT", UNLIMITED, found.connection_limit),
        ("settings", (), found.settings),
        ("privileges", _privileges(expected_grants(inventory.admin, wanted)), _privileges(found.grants)),
    ]
    pairs += _inside(found, wanted)
    return tuple(
        Difference(title, name, _say(want), _say(have)) for name, want, have in pairs if want != have
    )


def _inside(found: Database, wanted: TenantDatabase) -> Iterator[tuple[str, object, object]]:
    """What roles miss in the database itself, as far as it is known from outside."""
    for name in wanted.granted_roles:
        if name in wanted.readers:
            defaults = found.default_privileges.get(name, 0)
            yield f"default privileges of {name}", READER_DEFAULTS, defaults
        unreadable = unreadable_by(found, name)
        if unreadable is not None:
            yield f"relations without privileges of {name}", 0, unreadable


def expected_grants(admin: str, wanted: TenantDatabase) -> tuple[Grant, ...]:
    """The database's whole access list: nothing for PUBLIC."""
    return tuple(
        sorted(
            (
                Grant(admin, ("CONNECT", "CREATE", "TEMPORARY")),
                *(Grant(name, privileges) for name, privileges in database_privileges(wanted)),
            ),
            key=lambda grant: grant.grantee,
        )
    )


def database_privileges(wanted: TenantDatabase) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Who of the tenant's roles may do what with the database as a whole; login roles have it as members."""
    yield wanted.owner_role, OWNER_PRIVILEGES
    if wanted.acting_role != wanted.owner_role:
        yield wanted.acting_role, READER_PRIVILEGES
    for reader in wanted.readers:
        yield reader, READER_PRIVILEGES


def unreadable_by(database: Database, reader: str) -> int | None:
    """The tenant's relations that a role has no privilege on; ``None`` where nobody looked."""
    if database.unreadable is None or database.relations is None:
        return None
    return database.unreadable.get(reader, database.relations)


def foreign_members(inventory: Inventory, wanted: TenantDatabase, role: Role) -> Iterator[Membership]:
    """Those who may act as the tenant's role and should not, or could pass it on."""
    for membership in role.members:
        if membership.member == inventory.admin:
            continue
        if role.name != wanted.acting_role or membership.member not in wanted.login_roles or membership.admin:
            yield membership


def foreign_roles(wanted: TenantDatabase, role: Role) -> Iterator[Membership]:
    """Those whom the tenant's role may act as and should not."""
    for membership in role.member_of:
        if role.name not in wanted.login_roles or membership.role != wanted.acting_role:
            yield membership


def is_switching(role: Role) -> bool:
    """It was made to act as another role, and sessions from before may be open."""
    return role.mark is not None and role.mark.stage == "making"


def acts_as_another(wanted: TenantDatabase, role: Role) -> bool:
    """A login role whose sessions have other rights than they should: they end when that is mended."""
    others = {wanted.owner_role, wanted.restricted_role} - {wanted.acting_role}
    return any(f"role={other}" in role.settings for other in others) or any(
        membership.role in others for membership in role.member_of
    )


def needs_membership(inventory: Inventory, role: Role) -> bool:
    """The admin acts as the role (to give objects to it, to end its sessions), which only a superuser may
    without this."""
    return not inventory.admin_is_superuser and not any(
        m.member == inventory.admin and m.inherit and m.set for m in role.members
    )


def _of_role(
    inventory: Inventory, wanted: TenantDatabase, name: str, is_unwanted: bool
) -> Iterator[Difference]:
    title = f"role {name}"
    found = inventory.roles.get(name)
    if found is None:
        yield Difference(title, "existence", "present", "missing")
        return
    if is_unwanted:
        yield Difference(title, "existence", "missing", "present")
        return
    mark, shape = found.mark, wanted.shape(name)
    pairs = (
        ("claim", (wanted.claim, inventory.operator), (mark.claim, mark.operator) if mark else "unmarked"),
        ("retained", "", mark.retained_since if mark else ""),
        (
            "sessions",
            "of its present rights",
            "of former rights" if is_switching(found) else "of its present rights",
        ),
        ("LOGIN", found.can_login if shape.login is None else shape.login, found.can_login),
        ("INHERIT", True, found.inherit),
        ("SUPERUSER", False, found.superuser),
        ("CREATEDB", False, found.create_db),
        ("CREATEROLE", False, found.create_role),
        ("REPLICATION", False, found.replication),
        ("BYPASSRLS", False, found.bypass_rls),
        ("CONNECTION LIMIT", shape.connection_limit, found.connection_limit),
        ("VALID UNTIL", "infinity", found.valid_until or "infinity"),
        ("settings", shape.settings, tuple(sorted(found.settings))),
        ("member of", (), tuple(m.role for m in foreign_roles(wanted, found))),
        ("members", (), tuple(m.member for m in foreign_members(inventory, wanted, found))),
        ("membership of the admin", True, not needs_membership(inventory, found)),
    )
    for attribute, want, have in pairs:
        if want != have:
            yield Difference(title, attribute, _say(want), _say(have))
    if shape.member_of and not any(
        m.role == shape.member_of and m.inherit and m.set and not m.admin for m in found.member_of
    ):
        yield Difference(title, f"membership of {shape.member_of}", "inherited and to be set", "not so")


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
