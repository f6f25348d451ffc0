"""Whatever is changed by hand on roles and databases is named, and undone; what isn't ours is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from tests.integration.services.postgres.conftest import OPERATOR, PASSWORD, address_of, log_in, new_tenant
from tests.support.postgres import ADMIN, PostgresProcess
from tests.support.writes import Writes

from odoo_tenancy.api.errors import OperatorError, Refused
from odoo_tenancy.services.postgres import (
    PostgresPasswordRejected,
    PostgresPrivilegeMissing,
    PostgresServer,
    TenantDatabase,
    differences,
)

Sql = psycopg.Connection[tuple[object, ...]]

# {o} owner role, {l} and {i} login roles, the second of which is idle, {b} backup role, {r} read-only role, {d} database.
ROLES = ("o", "l", "i", "b", "r")
WITHOUT_LOGIN = ("o", "i")
ATTRIBUTES = {
    "ALTER ROLE {role} NOINHERIT": "INHERIT",
    "ALTER ROLE {role} CREATEDB": "CREATEDB",
    "ALTER ROLE {role} CREATEROLE": "CREATEROLE",
    "ALTER ROLE {role} REPLICATION": "REPLICATION",
    "ALTER ROLE {role} BYPASSRLS": "BYPASSRLS",
    "ALTER ROLE {role} CONNECTION LIMIT 99": "CONNECTION LIMIT",
    "ALTER ROLE {role} VALID UNTIL '2001-01-01'": "VALID UNTIL",
    "ALTER ROLE {role} SET work_mem = '1GB'": "settings",
    "ALTER ROLE {role} IN DATABASE {d} SET work_mem = '1GB'": "settings",
    "GRANT pg_read_all_data TO {role}": "member of",
    "GRANT {role} TO x_stranger": "members",
}
"""What is done to each role, and the attribute that must be named. SUPERUSER and the owner's are below."""
BEYOND_THE_ADMIN = {
    **{f"ALTER ROLE {{{role}}} SUPERUSER": f"ALTER ROLE {{{role}}} NOSUPERUSER" for role in ROLES},
    "ALTER ROLE {o} REPLICATION": "ALTER ROLE {o} NOREPLICATION",
    "ALTER ROLE {o} BYPASSRLS": "ALTER ROLE {o} NOBYPASSRLS",
}
# By a superuser's grant; from 16 on only its grantor, or a superuser, may revoke it.
ONLY_BEFORE_16 = {
    "GRANT {o} TO x_stranger": ("role {o}", "members"),
    "GRANT pg_read_all_data TO {o}": ("role {o}", "member of"),
    "REVOKE {o} FROM " + ADMIN: ("role {o}", "membership of the admin"),
}


def _of_each_role() -> Iterator[tuple[str, tuple[str, str]]]:
    for role in ROLES:
        changes = {**ATTRIBUTES, f"ALTER ROLE {{role}} {'' if role in WITHOUT_LOGIN else 'NO'}LOGIN": "LOGIN"}
        for template, attribute in changes.items():
            change = template.replace("{role}", f"{{{role}}}")
            if change not in BEYOND_THE_ADMIN and change not in ONLY_BEFORE_16:
                yield change, (f"role {{{role}}}", attribute)


# The object and attribute that must be named.
DRIFT = {
    **dict(_of_each_role()),
    "ALTER ROLE {l} RESET role": ("role {l}", "settings"),
    "REVOKE {o} FROM {l}": ("role {l}", "membership of {o}"),
    "GRANT {o} TO {l} WITH ADMIN OPTION": ("role {o}", "members"),
    "DROP OWNED BY {l}; DROP ROLE {l}": ("role {l}", "existence"),
    "DROP OWNED BY {b}": ("database {d}", "privileges"),
    "ALTER ROLE {r} RESET statement_timeout": ("role {r}", "settings"),
    "ALTER ROLE {r} SET default_transaction_read_only = off": ("role {r}", "settings"),
    "ALTER ROLE {r} CONNECTION LIMIT -1": ("role {r}", "CONNECTION LIMIT"),
    "GRANT {l} TO {r}": ("role {r}", "member of"),
    "GRANT {o} TO {r}": ("role {r}", "member of"),
    "GRANT CREATE, TEMPORARY ON DATABASE {d} TO {r}": ("database {d}", "privileges"),
    "ALTER DATABASE {d} OWNER TO {o}": ("database {d}", "owner"),
    "ALTER DATABASE {d} ALLOW_CONNECTIONS false": ("database {d}", "ALLOW_CONNECTIONS"),
    "ALTER DATABASE {d} IS_TEMPLATE true": ("database {d}", "IS_TEMPLATE"),
    "ALTER DATABASE {d} CONNECTION LIMIT 1": ("database {d}", "CONNECTION LIMIT"),
    "ALTER DATABASE {d} SET work_mem = '1GB'": ("database {d}", "settings"),
    "GRANT CONNECT ON DATABASE {d} TO PUBLIC": ("database {d}", "privileges"),
    "GRANT CONNECT ON DATABASE {d} TO x_stranger": ("database {d}", "privileges"),
    "GRANT CREATE ON DATABASE {d} TO {o} WITH GRANT OPTION": ("database {d}", "privileges"),
    "REVOKE CONNECT ON DATABASE {d} FROM {o}": ("database {d}", "privileges"),
}


def fill(text: str, tenant: TenantDatabase) -> str:
    return text.format(
        o=tenant.owner_role,
        l=tenant.login_role,
        i=tenant.idle_login_role,
        d=tenant.database,
        b=tenant.backup_role,
        r=tenant.read_only_role,
    )


async def make(server: PostgresServer, tenant: TenantDatabase) -> None:
    await server.ensure_roles(tenant, PASSWORD)
    await server.ensure_database(tenant)


async def make_idle(server: PostgresServer, tenant: TenantDatabase) -> None:
    """The other login role, as a rotation leaves it; one that a repair had to drop is made by the next."""
    if tenant.idle_login_role not in (await server.inventory()).roles:
        await server.open_login(tenant, PASSWORD)
        await server.ensure_roles(tenant, PASSWORD)


@pytest.fixture(scope="module")
async def standing(postgres: PostgresProcess) -> TenantDatabase:
    """One tenant for all kinds of drift, after a rotation; each test must leave it as it found it."""
    server = PostgresServer(address_of(postgres), OPERATOR)
    tenant = new_tenant()
    with postgres.superuser() as sql:
        sql.execute("DROP ROLE IF EXISTS x_stranger; CREATE ROLE x_stranger")
    await make(server, tenant)
    await make_idle(server, tenant)
    await server.close()
    return tenant


@pytest.mark.parametrize("change", [*DRIFT, *ONLY_BEFORE_16])
async def test_drift_is_named_and_undone(
    server: PostgresServer, postgres: PostgresProcess, standing: TenantDatabase, change: str
) -> None:
    if change in ONLY_BEFORE_16 and postgres.major >= 16:
        pytest.skip("from 16 on only a superuser can undo it: tested below")
    named = {**DRIFT, **ONLY_BEFORE_16}[change]
    if change == "REVOKE {o} FROM {l}" and postgres.major >= 16:
        change += f" GRANTED BY {ADMIN}"
    with postgres.superuser() as superuser:
        superuser.execute(fill(change, standing).encode())
    found = differences(await server.inventory(), standing)
    assert (fill(named[0], standing), fill(named[1], standing)) in [(d.object, d.attribute) for d in found]
    await make(server, standing)
    assert [str(d) for d in differences(await server.inventory(), standing)] == []
    await server.check_login(standing, PASSWORD)
    with log_in(postgres, standing) as odoo:
        assert odoo.execute("SELECT current_user, session_user").fetchone() == (
            standing.owner_role,
            standing.login_role,
        )
    await make_idle(server, standing)


@pytest.mark.parametrize("change", [*BEYOND_THE_ADMIN, *ONLY_BEFORE_16])
async def test_what_only_a_superuser_can_undo_is_said_and_heals(
    server: PostgresServer, postgres: PostgresProcess, standing: TenantDatabase, change: str
) -> None:
    if change in ONLY_BEFORE_16 and (postgres.major < 16 or ADMIN in change):
        pytest.skip("the admin undoes it itself: tested above")
    mend = BEYOND_THE_ADMIN.get(change) or change.replace("GRANT", "REVOKE").replace(" TO ", " FROM ")
    with postgres.superuser() as superuser:
        superuser.execute(fill(change, standing).encode())
        with pytest.raises(PostgresPrivilegeMissing, match="superuser"):
            await server.ensure_roles(standing, PASSWORD)
        superuser.execute(fill(mend, standing).encode())
    assert [str(d) for d in differences(await server.inventory(), standing)] == []


async def test_a_superuser_as_admin_undoes_everything(
    postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    address = replace(address_of(postgres), username="postgres", password=postgres.superuser_password)
    server = PostgresServer(address, OPERATOR)
    await make(server, tenant)
    await make_idle(server, tenant)
    for role in ROLES:
        change = f"ALTER ROLE {{{role}}} SUPERUSER REPLICATION BYPASSRLS; GRANT pg_monitor TO {{{role}}}"
        sql.execute(fill(change, tenant).encode())
    assert len(differences(await server.inventory(), tenant)) == 4 * len(ROLES)
    await make(server, tenant)
    assert differences(await server.inventory(), tenant) == ()
    await server.drop(tenant)
    await server.close()


async def test_every_attribute_of_the_role_of_a_full_database_is_named_and_undone(
    server: PostgresServer, tenant: TenantDatabase, sql: Sql
) -> None:
    """What only a superuser can undo aside, as with the owner."""
    await make(server, tenant)
    await server.restrict(tenant, PASSWORD)
    full = replace(tenant, restricted=True)
    role = full.restricted_role
    sql.execute("DROP ROLE IF EXISTS x_stranger; CREATE ROLE x_stranger")
    changes = {**ATTRIBUTES, "ALTER ROLE {role} LOGIN": "LOGIN"}
    for change in changes:
        sql.execute(change.format(role=role, d=full.database).encode())
    found = differences(await server.inventory(), full)
    assert {d.attribute for d in found if d.object == f"role {role}"} == {*changes.values()}
    with pytest.raises(PostgresPrivilegeMissing, match="superuser"):
        await make(server, full)
    sql.execute(f"ALTER ROLE {role} NOREPLICATION NOBYPASSRLS".encode())
    sql.execute(f"REVOKE pg_read_all_data FROM {role}; REVOKE {role} FROM x_stranger".encode())
    await make(server, full)
    assert [str(d) for d in differences(await server.inventory(), full)] == []


async def test_a_password_changed_by_hand_is_found_by_logging_in(
    server: PostgresServer, tenant: TenantDatabase, sql: Sql
) -> None:
    await make(server, tenant)
    sql.execute(f"ALTER ROLE {tenant.login_role} PASSWORD 'stolen'".encode())
    with pytest.raises(PostgresPasswordRejected, match=tenant.login_role):
        await server.check_login(tenant, PASSWORD)
    await server.set_password(tenant, PASSWORD)
    await server.check_login(tenant, PASSWORD)


@pytest.mark.parametrize("role", ["l", "b", "r"])
async def test_a_password_changed_by_hand_cannot_be_seen_and_is_set_anew(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql, role: str
) -> None:
    name = fill(f"{{{role}}}", tenant)
    await make(server, tenant)
    await server.set_password(tenant, PASSWORD, name)
    sql.execute(f"ALTER ROLE {name} PASSWORD 'stolen'".encode())
    assert differences(await server.inventory(), tenant) == ()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        log_in(postgres, tenant, role=name)
    await server.set_password(tenant, PASSWORD, name)
    log_in(postgres, tenant, role=name).close()


async def test_a_changed_limit_is_a_difference(
    server: PostgresServer, tenant: TenantDatabase, sql: Sql
) -> None:
    await make(server, tenant)
    wider = replace(tenant, connection_limit=17)
    found = differences(await server.inventory(), wider)
    assert [str(d) for d in found] == [f"role {tenant.login_role}: CONNECTION LIMIT is 5, should be 17"]
    await make(server, wider)
    assert differences(await server.inventory(), wider) == ()


async def test_nothing_is_written_where_nothing_differs(
    server: PostgresServer, tenant: TenantDatabase, writes: Writes
) -> None:
    await make(server, tenant)
    writes.descriptions.clear()
    await make(server, tenant)
    assert writes.descriptions == []


@pytest.mark.parametrize("kind", ["owner", "login", "database", "other operator", "other claim"])
async def test_what_is_not_ours_is_left_alone(
    server: PostgresServer, tenant: TenantDatabase, sql: Sql, writes: Writes, kind: str
) -> None:
    if kind in ("owner", "login"):
        name = tenant.owner_role if kind == "owner" else tenant.login_role
        sql.execute(f"CREATE ROLE {name} LOGIN".encode())
    elif kind == "database":
        await server.ensure_roles(tenant, PASSWORD)
        sql.execute(f"CREATE DATABASE {tenant.database}".encode())
    else:
        await make(server, tenant)
        ours = (await server.inventory()).databases[tenant.database].mark
        assert ours is not None
        claim, operator = (tenant.claim, "b") if kind == "other operator" else ("0" * 32, OPERATOR)
        comment = f'{{"by":"odoo-tenancy","operator":"{operator}","claim":"{claim}"}}'
        sql.execute(f"COMMENT ON DATABASE {tenant.database} IS '{comment}'".encode())
    writes.descriptions.clear()
    assert differences(await server.inventory(), tenant) != ()
    with pytest.raises(Refused, match=r"(Role|Database)NotOurs.*COMMENT ON"):
        await make(server, tenant)
    if kind != "owner":
        with pytest.raises(OperatorError, match="NotOurs"):
            await server.drop_database(tenant) if kind != "login" else await server.set_password(tenant, "x")
    assert all("t_" not in d or "roles" in d for d in writes.descriptions)
    if kind.startswith("other"):
        with pytest.raises(Refused, match=f"RoleStillNeeded.*{tenant.database}"):
            await server.drop(tenant)
        assert tenant.database in (await server.inventory()).databases
        return
    assert len(await server.drop(tenant)) == 1
    inventory = await server.inventory()
    assert (
        sum(name in inventory.roles for name in tenant.roles) + (tenant.database in inventory.databases) == 1
    )


async def test_a_half_made_database_is_told_from_a_strangers(
    server: PostgresServer, tenant: TenantDatabase, sql: Sql
) -> None:
    await server.ensure_roles(tenant, PASSWORD)
    sql.execute(f"CREATE DATABASE {tenant.database} ALLOW_CONNECTIONS false".encode())
    with pytest.raises(Refused, match="DatabaseNotOurs"):
        await server.ensure_database(tenant)
    sql.execute(f"ALTER DATABASE {tenant.database} OWNER TO {ADMIN}".encode())
    await server.ensure_database(tenant)
    assert differences(await server.inventory(), tenant) == ()
