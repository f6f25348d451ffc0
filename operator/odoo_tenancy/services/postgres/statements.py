"""The SQL that changes roles and databases, as data. Pure; what decides which of it to run is next door."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psycopg.sql import SQL, Composed, Identifier, Literal

from odoo_tenancy.services.postgres.inventory import PUBLIC, Database, Inventory, Role
from odoo_tenancy.services.postgres.marks import Mark, to_comment
from odoo_tenancy.services.postgres.wanted import (
    UNLIMITED,
    TenantDatabase,
    database_privileges,
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


def shape_role(
    inventory: Inventory, wanted: TenantDatabase, name: str, login: bool | None = None
) -> list[Composed]:
    """Every attribute of one of the tenant's roles as it should be.

    ``SET role`` as a login role's own setting outlives DISCARD ALL, so that whatever Odoo makes belongs to the
    owner. ``login``: instead of what is wanted.
    """
    role, shape = inventory.roles.get(name), wanted.shape(name)
    may = login if login is not None else shape.login
    if may is None:
        may = role is not None and role.can_login
    settings = (setting.split("=", 1) for setting in shape.settings)
    return [
        *_attributes(inventory, name, role, SQL("LOGIN") if may else SQL("NOLOGIN"), shape.connection_limit),
        *(
            SQL("ALTER ROLE {} SET {} = {}").format(Identifier(name), Identifier(key), Literal(value))
            for key, value in settings
        ),
        *admit_admin(inventory, name),
        *(_revokes(inventory, wanted, role) if role else ()),
        *([_grant_membership(inventory, shape.member_of, name)] if shape.member_of else ()),
    ]


def set_password(role: str, verifier: bytes) -> Composed:
    """``verifier``: computed on our side, so that the clear text is in no statement and no log."""
    return SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(role), Literal(verifier.decode()))


def close_login(role: str) -> Composed:
    """Nobody logs in any more, and the password that was in use is of no use should somebody open it by hand."""
    return SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL").format(Identifier(role))


def end_sessions_of(roles: Iterable[str]) -> Composed:
    """All that these have open, anywhere; waits up to 5 s for each to be gone."""
    return SQL(
        "SELECT pg_catalog.pg_terminate_backend(pid, 5000) FROM pg_catalog.pg_stat_activity"
        " WHERE usename = ANY ({})"
    ).format(Literal(list(roles)))


def lock_roles(roles: Iterable[str]) -> list[Composed]:
    """Nobody logs in any more."""
    return [SQL("ALTER ROLE {} NOLOGIN").format(Identifier(role)) for role in roles]


def drop_roles(roles: Iterable[str]) -> list[Composed]:
    """With what they may have left in the current database and on shared objects: large objects need no
    privilege."""
    roles = tuple(roles)
    names = SQL(", ").join(Identifier(role) for role in roles)
    return [*_drop_owned(roles), SQL("DROP ROLE {}").format(names)]


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


def grant_connect(wanted: TenantDatabase) -> list[Composed]:
    """To the owner role and to those who read; the login roles have it as members."""
    return [
        SQL("GRANT {} ON DATABASE {} TO {}").format(
            SQL(", ").join(SQL(privilege) for privilege in privileges),
            Identifier(wanted.database),
            Identifier(name),
        )
        for name, privileges in database_privileges(wanted)
    ]


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
    former = tuple(former)
    names = SQL(", ").join(Identifier(role) for role in former)
    return [
        grant_schema(owner),
        SQL("REASSIGN OWNED BY {} TO {}").format(names, Identifier(owner)),
        *_drop_owned(former),
    ]


def _drop_owned(roles: Sequence[str]) -> list[Composed]:
    """One by one, the owner last: in one statement PostgreSQL stumbles over default privileges of one of them that
    name another ("could not find tuple for default ACL", 15 and 17)."""
    return [SQL("DROP OWNED BY {}").format(Identifier(role)) for role in reversed(roles)]


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
    return [*statements, *grant_connect(wanted)]


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
