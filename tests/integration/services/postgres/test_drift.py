"""Whatever is changed by hand on roles and databases is named, and undone; what isn't ours is left alone."""

from __future__ import annotations

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

# {o} owner role, {l} login role, {d} database; the object and attribute that must be named.
DRIFT = {
    "ALTER ROLE {l} NOLOGIN": ("role {l}", "LOGIN"),
    "ALTER ROLE {l} NOINHERIT": ("role {l}", "INHERIT"),
    "ALTER ROLE {l} CREATEDB": ("role {l}", "CREATEDB"),
    "ALTER ROLE {l} CREATEROLE": ("role {l}", "CREATEROLE"),
    "ALTER ROLE {l} REPLICATION": ("role {l}", "REPLICATION"),
    "ALTER ROLE {l} BYPASSRLS": ("role {l}", "BYPASSRLS"),
    "ALTER ROLE {l} CONNECTION LIMIT 99": ("role {l}", "CONNECTION LIMIT"),
    "ALTER ROLE {l} VALID UNTIL '2001-01-01'": ("role {l}", "VALID UNTIL"),
    "ALTER ROLE {l} SET work_mem = '1GB'": ("role {l}", "settings"),
    "ALTER ROLE {l} IN DATABASE {d} SET work_mem = '1GB'": ("role {l}", "settings"),
    "ALTER ROLE {l} RESET role": ("role {l}", "settings"),
    "GRANT pg_read_all_data TO {l}": ("role {l}", "member of"),
    "GRANT {l} TO x_stranger": ("role {l}", "members"),
    "REVOKE {o} FROM {l}": ("role {l}", "membership of {o}"),
    "GRANT {o} TO {l} WITH ADMIN OPTION": ("role {o}", "members"),
    "DROP OWNED BY {l}; DROP ROLE {l}": ("role {l}", "existence"),
    "ALTER ROLE {o} LOGIN": ("role {o}", "LOGIN"),
    "ALTER ROLE {o} NOINHERIT": ("role {o}", "INHERIT"),
    "ALTER ROLE {o} CREATEDB CREATEROLE": ("role {o}", "CREATEDB"),
    "ALTER ROLE {o} CONNECTION LIMIT 0": ("role {o}", "CONNECTION LIMIT"),
    "ALTER ROLE {o} VALID UNTIL '2001-01-01'": ("role {o}", "VALID UNTIL"),
    "ALTER ROLE {o} SET search_path = x": ("role {o}", "settings"),
    "ALTER ROLE {b} NOLOGIN": ("role {b}", "LOGIN"),
    "ALTER ROLE {b} CONNECTION LIMIT 50": ("role {b}", "CONNECTION LIMIT"),
    "ALTER ROLE {b} BYPASSRLS": ("role {b}", "BYPASSRLS"),
    "GRANT pg_read_all_data TO {b}": ("role {b}", "member of"),
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
# By a superuser's grant; from 16 on only its grantor, or a superuser, may revoke it.
ONLY_BEFORE_16 = {
    "GRANT {o} TO x_stranger": ("role {o}", "members"),
    "GRANT pg_monitor TO {o}": ("role {o}", "member of"),
    "REVOKE {o} FROM " + ADMIN: ("role {o}", "membership of the admin"),
}
BEYOND_THE_ADMIN = {
    "ALTER ROLE {r} SUPERUSER": "ALTER ROLE {r} NOSUPERUSER",
    "ALTER ROLE {l} SUPERUSER": "ALTER ROLE {l} NOSUPERUSER",
    "ALTER ROLE {o} SUPERUSER": "ALTER ROLE {o} NOSUPERUSER",
    "ALTER ROLE {o} REPLICATION": "ALTER ROLE {o} NOREPLICATION",
    "ALTER ROLE {o} BYPASSRLS": "ALTER ROLE {o} NOBYPASSRLS",
}


def fill(text: str, tenant: TenantDatabase) -> str:
    return text.format(
        o=tenant.owner_role,
        l=tenant.login_role,
        d=tenant.database,
        b=tenant.backup_role,
        r=tenant.read_only_role,
        f=tenant.restricted_role,
    )


async def make(server: PostgresServer, tenant: TenantDatabase) -> None:
    await server.ensure_roles(tenant, PASSWORD)
    await server.ensure_database(tenant)


@pytest.fixture(scope="module")
async def standing(postgres: PostgresProcess) -> TenantDatabase:
    """One tenant for all kinds of drift: each test must leave it as it found it."""
    server = PostgresServer(address_of(postgres), OPERATOR)
    tenant = replace(new_tenant(), idle_login_role=None)
    with postgres.superuser() as sql:
        sql.execute("DROP ROLE IF EXISTS x_stranger; CREATE ROLE x_stranger")
    await make(server, tenant)
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
    for role in (tenant.owner_role, tenant.login_role):
        sql.execute(f"ALTER ROLE {role} SUPERUSER REPLICATION BYPASSRLS; GRANT pg_monitor TO {role}".encode())
    assert len(differences(await server.inventory(), tenant)) == 8
    await make(server, tenant)
    assert differences(await server.inventory(), tenant) == ()
    await server.drop(tenant)
    await server.close()


async def test_a_password_changed_by_hand_is_found_by_logging_in(
    server: PostgresServer, tenant: TenantDatabase, sql: Sql
) -> None:
    await make(server, tenant)
    sql.execute(f"ALTER ROLE {tenant.login_role} PASSWORD 'stolen'".encode())
    with pytest.raises(PostgresPasswordRejected, match=tenant.login_role):
        await server.check_login(tenant, PASSWORD)
    await server.set_password(tenant, PASSWORD)
    await server.check_login(tenant, PASSWORD)


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
