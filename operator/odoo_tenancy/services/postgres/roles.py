"""A tenant's roles: made, repaired, kept, dropped."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64encode
from collections.abc import Iterable

import psycopg
from psycopg.sql import SQL, Composed, Literal

from odoo_tenancy.services.postgres import statements
from odoo_tenancy.services.postgres.errors import PostgresPrivilegeMissing
from odoo_tenancy.services.postgres.inventory import Inventory, Role
from odoo_tenancy.services.postgres.marks import Mark
from odoo_tenancy.services.postgres.ownership import check_roles
from odoo_tenancy.services.postgres.wanted import (
    TenantDatabase,
    foreign_members,
    foreign_roles,
    role_differences,
)
from odoo_tenancy.services.postgres.writer import Session, Writer

_SCRAM_ITERATIONS = 4096
"""PostgreSQL's own default."""


async def ensure(writer: Writer, wanted: TenantDatabase, password: str) -> None:
    """Make the roles that are missing and repair those that differ.

    Some attributes only a superuser may take away again. A login role owns nothing, so it is made anew; the
    owner role can't be, and is reported.
    """
    found = await writer.look(wanted.names)
    check_roles(found, wanted.claim, wanted.roles)
    _refuse_what_only_a_superuser_mends(found, wanted)
    stuck = {name for name in wanted.login_roles if _must_be_remade(found, wanted, name)}
    for _ in range(2):
        if not role_differences(found, wanted):
            return
        for name in sorted(stuck):
            await _drop_login(writer, found, wanted, name)
        found = await writer.look(wanted.names) if stuck else found
        await writer.write(f"roles of {wanted.owner_role}: make as wanted", _shape(found, wanted, password))
        found = await writer.look(wanted.names)
        stuck = {name for name in wanted.login_roles if _still_differs(found, wanted, name)}
    remaining = role_differences(found, wanted)
    if remaining:
        raise PostgresPrivilegeMissing(
            f"On PostgreSQL at {writer.address} {'; '.join(map(str, remaining))}."
            f" The admin role {found.admin} may not undo this: let a superuser do it."
        )


async def set_password(writer: Writer, wanted: TenantDatabase, password: str) -> None:
    """Give the login role this password."""
    found = await writer.look(wanted.names)
    check_roles(found, wanted.claim, wanted.roles)
    statement = statements.set_password(wanted.login_role, verifier(wanted.login_role, password))
    await writer.write(f"role {wanted.login_role}: set password", [statement])


async def end_sessions(writer: Writer, found: Inventory, roles: Iterable[str], database: str) -> None:
    """End what these roles have open anywhere, and what the admin itself has in the database."""
    names = [name for name in roles if name in found.roles]
    there = found.databases.get(database)
    if not any(found.roles[name].connections for name in names) and not (there and there.connections):
        return
    statement = SQL(
        "SELECT pg_catalog.pg_terminate_backend(pid, 5000) FROM pg_catalog.pg_stat_activity"
        " WHERE pid <> pg_catalog.pg_backend_pid()"
        " AND (usename = ANY ({}) OR datname = {} AND usename = current_user)"
    ).format(Literal(names), Literal(database))
    await writer.write(f"sessions in {database}: end", [statement])


def lock(found: Inventory, roles: Iterable[str]) -> list[Composed]:
    """Nobody logs in as these any more, and the admin may end their sessions and drop what is theirs."""
    names = list(roles)
    return [
        *statements.lock_roles(names),
        *(s for name in names for s in statements.admit_admin(found, name)),
    ]


def verifier(role: str, password: str) -> bytes:
    """A SCRAM verifier: what the server stores, from which nobody gets the password back.

    Of ASCII, which all that we generate is, it is reckoned here (RFC 5802), at a fifth of libpq's CPU; what needs
    SASLprep is left to libpq.
    """
    if not password.isascii():
        connection = psycopg.pq.PGconn.connect_start(b"")
        try:
            return connection.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
        finally:
            connection.finish()
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _SCRAM_ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return b"$".join(
        (
            b"SCRAM-SHA-256",
            b"%d:%b" % (_SCRAM_ITERATIONS, b64encode(salt)),
            b"%b:%b" % (b64encode(stored), b64encode(server)),
        )
    )


def _shape(found: Inventory, wanted: TenantDatabase, password: str) -> list[Composed]:
    mark = Mark(found.operator, wanted.claim)
    idle_is_missing = wanted.idle_login_role not in found.roles
    roles = [r for r in wanted.roles if not (r == wanted.idle_login_role and idle_is_missing)]
    changes: list[Composed] = []
    for name in roles:
        if name not in found.roles:
            changes += statements.create_role(found, name, mark)
            if name == wanted.login_role:
                changes.append(statements.set_password(name, verifier(name, password)))
    changes += statements.shape_owner(found, wanted)
    for name in roles[1:]:
        changes += statements.shape_login(found, wanted, name)
    return changes


async def _drop_login(writer: Writer, found: Inventory, wanted: TenantDatabase, name: str) -> None:
    """Its open sessions keep what it could do, so they end first; what it made without its owner's role
    stays."""
    if name not in found.roles:
        return
    await writer.write(f"role {name}: let the admin act as it", statements.admit_admin(found, name))
    await end_sessions(writer, found, [name], wanted.database)
    database = found.databases.get(wanted.database)
    if database is not None and database.allow_connections:
        former = statements.hand_over([name], wanted.owner_role)
        await writer.write(f"role {name}: hand over what it owns", former, Session(wanted.database))
    await writer.write(f"role {name}: drop, to be made anew", statements.drop_roles([name]))


def _must_be_remade(found: Inventory, wanted: TenantDatabase, name: str) -> bool:
    """It has what we know that the admin can't take away; from 16 on also somebody else's grant."""
    role = found.roles.get(name)
    if role is None or found.admin_is_superuser:
        return False
    return _is_beyond_us(found, role) or (found.major >= 16 and any(foreign_roles(wanted, role)))


def _still_differs(found: Inventory, wanted: TenantDatabase, name: str) -> bool:
    """A repair was in vain: from 16 on REVOKE only warns where another role had granted it."""
    owner = found.roles.get(wanted.owner_role)
    if owner and any(m.member == name for m in foreign_members(found, wanted, owner)):
        return True
    return any(difference.object == f"role {name}" for difference in role_differences(found, wanted))


def _is_beyond_us(found: Inventory, role: Role) -> bool:
    return not found.admin_is_superuser and (role.replication or role.bypass_rls)


def _refuse_what_only_a_superuser_mends(found: Inventory, wanted: TenantDatabase) -> None:
    if found.admin_is_superuser:
        return
    for name in wanted.roles:
        role = found.roles.get(name)
        if role and (role.superuser or (name == wanted.owner_role and _is_beyond_us(found, role))):
            raise PostgresPrivilegeMissing(
                f"Role {name} has SUPERUSER, REPLICATION or BYPASSRLS, which {found.admin} can't take away."
                f" As a superuser: ALTER ROLE {name} NOSUPERUSER NOREPLICATION NOBYPASSRLS."
            )
