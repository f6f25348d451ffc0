"""A tenant's roles: made, repaired, kept, dropped."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import replace

import psycopg
from psycopg.sql import SQL, Composed, Literal

from odoo_tenancy.services.postgres import restriction, statements
from odoo_tenancy.services.postgres.errors import PostgresPrivilegeMissing
from odoo_tenancy.services.postgres.inventory import Inventory, Role
from odoo_tenancy.services.postgres.marks import Mark
from odoo_tenancy.services.postgres.ownership import check_roles
from odoo_tenancy.services.postgres.wanted import (
    TenantDatabase,
    acts_as_another,
    foreign_members,
    foreign_roles,
    is_switching,
    role_differences,
)
from odoo_tenancy.services.postgres.writer import Session, Writer

SCRAM_ITERATIONS = 4096
"""PostgreSQL's own default, and the least that some clients accept (RFC 7677 asks for it)."""
OWN_SCRAM_ITERATIONS = 256
"""For what Odoo and our own Jobs log in as. Iterations slow down who guesses a password from a stolen verifier; of 32
random bytes nobody guesses one, while each login pays for them: at 4,096 most of the 9 ms of CPU that it takes."""


async def ensure(
    writer: Writer, wanted: TenantDatabase, password: str, reader_passwords: Mapping[str, str]
) -> None:
    """Make the roles that are missing, repair those that differ, drop those that must not be there.

    Some attributes only a superuser may take away again. A role that logs in owns nothing, so it is made anew; the
    owner role can't be, and is reported.
    """
    passwords = {**reader_passwords, wanted.login_role: password}
    found = await writer.look(wanted.names)
    check_roles(found, wanted.claim, wanted.roles)
    _refuse_what_only_a_superuser_mends(found, wanted)
    remakable = (*wanted.login_roles, *wanted.readers)
    stuck = {name for name in remakable if _must_be_remade(found, wanted, name)}
    for _ in range(2):
        if not role_differences(found, wanted):
            return
        for name in sorted(stuck):
            await _drop_role(writer, found, wanted, name)
        found = await writer.look(wanted.names) if stuck else found
        found = await _prepare_restriction(writer, found, wanted)
        await writer.write(f"roles of {wanted.owner_role}: make as wanted", _shape(found, wanted, passwords))
        found = await _finish_switch(writer, await writer.look(wanted.names), wanted)
        stuck = {name for name in remakable if _still_differs(found, wanted, name)}
    remaining = role_differences(found, wanted)
    if remaining:
        raise PostgresPrivilegeMissing(
            f"On PostgreSQL at {writer.address} {'; '.join(map(str, remaining))}."
            f" The admin role {found.admin} may not undo this: let a superuser do it."
        )


async def set_password(writer: Writer, wanted: TenantDatabase, password: str, role: str) -> None:
    """Give this role this password."""
    found = await writer.look(wanted.names)
    check_roles(found, wanted.claim, wanted.roles)
    await writer.write(
        f"role {role}: set password", [statements.set_password(role, verifier(wanted, role, password))]
    )


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


def verifier(wanted: TenantDatabase, role: str, password: str) -> bytes:
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
    iterations = SCRAM_ITERATIONS if role == wanted.read_only_role else OWN_SCRAM_ITERATIONS
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return b"$".join(
        (
            b"SCRAM-SHA-256",
            b"%d:%b" % (iterations, b64encode(salt)),
            b"%b:%b" % (b64encode(stored), b64encode(server)),
        )
    )


async def _prepare_restriction(writer: Writer, found: Inventory, wanted: TenantDatabase) -> Inventory:
    """The restricted role gets what it may do before a session acts as it."""
    name = wanted.acting_role
    if name == wanted.owner_role or (
        name in found.roles
        and not any(acts_as_another(wanted, found.roles[r]) for r in _logins(found, wanted))
    ):
        return found
    if name not in found.roles:
        mark = Mark(found.operator, wanted.claim)
        await writer.write(f"role {name}: create", statements.create_role(found, name, mark))
        found = await writer.look(wanted.names)
    await restriction.prepare(writer, found, wanted)
    return found


async def _finish_switch(writer: Writer, found: Inventory, wanted: TenantDatabase) -> Inventory:
    """What the login roles may do has changed, but an open session keeps acting as whom it did: it ends. Then the
    roles go that must not be there, of which they were members until now."""
    switching = [name for name in _logins(found, wanted) if is_switching(found.roles[name])]
    if switching:
        ended = [statements.end_sessions_of(switching)]
        await writer.write(f"sessions of {wanted.owner_role}: end", ended)
        mark = Mark(found.operator, wanted.claim)
        done = [statements.comment_on_role(name, mark) for name in switching]
        await writer.write(f"roles of {wanted.owner_role}: acting as {wanted.acting_role}", done)
    unwanted = [name for name in wanted.unwanted_roles if name in found.roles]
    for name in unwanted:
        await _drop_role(writer, found, wanted, name)
    return await writer.look(wanted.names) if switching or unwanted else found


def _logins(found: Inventory, wanted: TenantDatabase) -> list[str]:
    return [name for name in wanted.login_roles if name in found.roles]


def _shape(found: Inventory, wanted: TenantDatabase, passwords: Mapping[str, str]) -> list[Composed]:
    mark = Mark(found.operator, wanted.claim)
    missing = [wanted.idle_login_role] if wanted.idle_login_role not in found.roles else []
    roles = [name for name in wanted.roles if name not in (*missing, *wanted.unwanted_roles)]
    changes: list[Composed] = []
    for name in roles:
        if name not in found.roles:
            changes += statements.create_role(found, name, mark)
            if name in passwords:
                changes.append(statements.set_password(name, verifier(wanted, name, passwords[name])))
        elif name in wanted.login_roles and acts_as_another(wanted, found.roles[name]):
            changes.append(statements.comment_on_role(name, replace(mark, stage="making")))
    for name in roles:
        changes += statements.shape_role(found, wanted, name)
    return changes


async def _drop_role(writer: Writer, found: Inventory, wanted: TenantDatabase, name: str) -> None:
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
    await writer.write(f"role {name}: drop", statements.drop_roles([name]))


def _must_be_remade(found: Inventory, wanted: TenantDatabase, name: str) -> bool:
    """It has what we know that the admin can't take away; from 16 on also somebody else's grant."""
    role = found.roles.get(name)
    if role is None or found.admin_is_superuser:
        return False
    ours = (wanted.owner_role, wanted.restricted_role)
    strange = any(membership.role not in ours for membership in foreign_roles(wanted, role))
    return _is_beyond_us(found, role) or (found.major >= 16 and strange)


def _still_differs(found: Inventory, wanted: TenantDatabase, name: str) -> bool:
    """A repair was in vain: from 16 on REVOKE only warns where another role had granted it."""
    owner = found.roles.get(wanted.owner_role)
    acting = found.roles.get(wanted.acting_role)
    if any(
        m.member == name for role in (owner, acting) if role for m in foreign_members(found, wanted, role)
    ):
        return True
    return any(difference.object == f"role {name}" for difference in role_differences(found, wanted))


def _is_beyond_us(found: Inventory, role: Role) -> bool:
    return not found.admin_is_superuser and (role.replication or role.bypass_rls)


def _refuse_what_only_a_superuser_mends(found: Inventory, wanted: TenantDatabase) -> None:
    if found.admin_is_superuser:
        return
    for name in wanted.roles:
        role = found.roles.get(name)
        if role and (
            role.superuser or (name in (wanted.owner_role, wanted.acting_role) and _is_beyond_us(found, role))
        ):
            raise PostgresPrivilegeMissing(
                f"Role {name} has SUPERUSER, REPLICATION or BYPASSRLS, which {found.admin} can't take away."
                f" As a superuser: ALTER ROLE {name} NOSUPERUSER NOREPLICATION NOBYPASSRLS."
            )
