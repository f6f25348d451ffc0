"""The SQL that changes roles and databases, as data. Pure; what decides which of it to run is next door."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg.sql import SQL, Composed, Identifier, Literal

from odoo_tenancy.services.postgres.inventory import PUBLIC, Database, Inventory, Role
from odoo_tenancy.services.postgres.marks import Mark, to_comment
from odoo_tenancy.services.postgres.wanted import (
    OWNER_PRIVILEGES,
    UNLIMITED,
    TenantDatabase,
    foreign_members,
    foreign_roles,
)

EXTENSIONS = ("pg_trgm", "unaccent")
"""What Odoo uses where it finds it (odoo/modules/db.py): searches by index, and without accents."""


def comment_on_role(role: str, mark: Mark) -> Composed:
    return SQL("COMMENT ON ROLE {} IS {}").format(Identifier(role), Literal(to_comment(mark)))


def comment_on_database(database: str, mark: Mark) -> Composed:
    return SQL("COMMENT ON DATABASE {} IS {}").format(Identifier(database), Literal(to_comment(mark)))


def create_role(inventory: Inventory, name: str, mark: Mark) -> list[Composed]:
    """Without any right yet, marked from its first moment, and with the admin as a member."""
    return [
        SQL("CREATE ROLE {} NOLOGIN").format(Identifier(name)),
        comment_on_role(name, mark),
        *admit_admin(inventory, name),
    ]


def admit_admin(inventory: Inventory, role: str) -> list[Composed]:
    """From 16 on a creator may administer what it made, but neither has its rights nor may act as it, until
    it says so."""
    if inventory.admin_is_superuser:
        return []
    return [_grant_membership(inventory, role, inventory.admin)]


def shape_owner(inventory: Inventory, wanted: TenantDatabase) -> list[Composed]:
    """Every attribute of the owner role as it should be."""
    role = inventory.roles.get(wanted.owner_role)
    return [
        *_attributes(inventory, wanted.owner_role, role, SQL("NOLOGIN"), UNLIMITED),
        *admit_admin(inventory, wanted.owner_role),
        *(_revokes(inventory, wanted, role) if role else ()),
    ]


def shape_login(inventory: Inventory, wanted: TenantDatabase, name: str) -> list[Composed]:
    """Every attribute of a login role as it should be.

    ``SET role`` as the role's own setting outlives DISCARD ALL, so that whatever Odoo makes belongs to the
    owner.
    """
    role = inventory.roles.get(name)
    login = SQL("LOGIN") if name == wanted.login_role else SQL("NOLOGIN")
    return [
        *_attributes(inventory, name, role, login, wanted.connection_limit),
        SQL("ALTER ROLE {} SET role = {}").format(Identifier(name), Literal(wanted.owner_role)),
        *admit_admin(inventory, name),
        *(_revokes(inventory, wanted, role) if role else ()),
        _grant_membership(inventory, wanted.owner_role, name),
    ]


def set_password(role: str, verifier: bytes) -> Composed:
    """``verifier``: computed on our side, so that the clear text is in no statement and no log."""
    return SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(role), Literal(verifier.decode()))


def lock_roles(roles: Iterable[str]) -> list[Composed]:
    """Nobody logs in any more."""
    return [SQL("ALTER ROLE {} NOLOGIN").format(Identifier(role)) for role in roles]


def drop_roles(roles: Iterable[str]) -> list[Composed]:
    """With what they may have left in the current database and on shared objects: large objects need no
    privilege."""
    names = SQL(", ").join(Identifier(role) for role in roles)
    return [SQL("DROP OWNED BY {}").format(names), SQL("DROP ROLE {}").format(names)]


def create_database(name: str, template: str | None) -> Composed:
    """Closed to everybody: a new database lets PUBLIC in, and its template's access list isn't copied.

    Collation C is what Odoo recommends: indexes serve LIKE, and they outlive an upgrade of the C library.
    """
    if template is None:
        text = SQL(
            "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C'"
            " ALLOW_CONNECTIONS false CONNECTION LIMIT -1"
        )
        return text.format(Identifier(name))
    return SQL("CREATE DATABASE {} TEMPLATE {} ALLOW_CONNECTIONS false CONNECTION LIMIT -1").format(
        Identifier(name), Identifier(template)
    )


def seal(name: str, mark: Mark) -> list[Composed]:
    """From now on it is ours, and only the admin can connect."""
    return [
        SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(Identifier(name)),
        comment_on_database(name, mark),
        SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(Identifier(name)),
    ]


def grant_connect(wanted: TenantDatabase) -> Composed:
    """To the owner role; the login roles have it as its members."""
    return SQL("GRANT {} ON DATABASE {} TO {}").format(
        SQL(", ").join(SQL(privilege) for privilege in OWNER_PRIVILEGES),
        Identifier(wanted.database),
        Identifier(wanted.owner_role),
    )


def grant_schema(owner: str) -> Composed:
    """In the database itself."""
    return SQL("GRANT USAGE, CREATE ON SCHEMA public TO {}").format(Identifier(owner))


def create_extension(name: str) -> Composed:
    """In the database itself, by the admin, to whom it belongs; trusted, so no superuser is needed."""
    return SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA public").format(Identifier(name))


def hand_over(former: Iterable[str], owner: str) -> list[Composed]:
    """In a clone: all objects to their new owner, and an end to the former ones' privileges and default
    privileges.

    DROP OWNED finds no object any more after REASSIGN, only privileges: those in this database, and **those
    on shared objects**: a role that may connect to its own database has to be given that again in the same
    transaction. The new owner needs CREATE on the schema first, or functions can't become its own.
    """
    names = SQL(", ").join(Identifier(role) for role in former)
    return [
        grant_schema(owner),
        SQL("REASSIGN OWNED BY {} TO {}").format(names, Identifier(owner)),
        SQL("DROP OWNED BY {}").format(names),
    ]


def finish_template(name: str, mark: Mark) -> list[Composed]:
    """Nobody connects any more; it can be cloned."""
    return [
        SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false IS_TEMPLATE true").format(Identifier(name)),
        comment_on_database(name, mark),
    ]


def repair_database(inventory: Inventory, wanted: TenantDatabase, found: Database) -> list[Composed]:
    """Every attribute of an open database as it should be; its content isn't touched."""
    name = Identifier(wanted.database)
    statements = []
    if found.owner != inventory.admin:
        statements.append(SQL("ALTER DATABASE {} OWNER TO {}").format(name, Identifier(inventory.admin)))
    statements += [
        SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true IS_TEMPLATE false CONNECTION LIMIT {}").format(
            name, Literal(UNLIMITED)
        ),
        SQL("ALTER DATABASE {} RESET ALL").format(name),
    ]
    for grantee in sorted({PUBLIC, *(grant.grantee for grant in found.grants)}):
        who = SQL("PUBLIC") if grantee == PUBLIC else Identifier(grantee)
        statements.append(SQL("REVOKE ALL ON DATABASE {} FROM {} CASCADE").format(name, who))
    statements.append(SQL("GRANT ALL ON DATABASE {} TO {}").format(name, Identifier(inventory.admin)))
    return [*statements, grant_connect(wanted)]


def close_database(found: Database) -> Composed:
    """Before it is dropped: nobody comes in, and a template loses its protection."""
    return SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false IS_TEMPLATE false").format(
        Identifier(found.name)
    )


def drop_database(name: str) -> Composed:
    return SQL("DROP DATABASE IF EXISTS {}").format(Identifier(name))


def _attributes(inventory: Inventory, name: str, role: Role | None, login: SQL, limit: int) -> list[Composed]:
    """SUPERUSER, REPLICATION and BYPASSRLS are named only by a superuser: for others naming them is an error
    already."""
    powers = SQL(" NOSUPERUSER NOREPLICATION NOBYPASSRLS") if inventory.admin_is_superuser else SQL("")
    statements = [
        SQL(
            "ALTER ROLE {} {} INHERIT NOCREATEDB NOCREATEROLE{} CONNECTION LIMIT {} VALID UNTIL 'infinity'"
        ).format(Identifier(name), login, powers, Literal(limit))
    ]
    if role is not None and role.settings:
        databases = {s.partition(": ")[0] for s in role.settings if ": " in s.partition("=")[0]}
        statements.append(SQL("ALTER ROLE {} RESET ALL").format(Identifier(name)))
        statements += [
            SQL("ALTER ROLE {} IN DATABASE {} RESET ALL").format(Identifier(name), Identifier(database))
            for database in sorted(databases)
        ]
    return statements


def _revokes(inventory: Inventory, wanted: TenantDatabase, role: Role) -> list[Composed]:
    foreign = (*foreign_members(inventory, wanted, role), *foreign_roles(wanted, role))
    return [
        SQL("REVOKE {} FROM {} CASCADE").format(Identifier(m.role), Identifier(m.member)) for m in foreign
    ]


def _grant_membership(inventory: Inventory, role: str, member: str) -> Composed:
    options = SQL(" WITH INHERIT TRUE, SET TRUE") if inventory.major >= 16 else SQL("")
    return SQL("GRANT {} TO {}{}").format(Identifier(role), Identifier(member), options)
