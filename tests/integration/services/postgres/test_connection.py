"""How a server is reached: TLS, passwords, what can go wrong and how it is said; and what a look at it costs."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from tests.integration.services.postgres.conftest import OPERATOR, PASSWORD, address_of, log_in, new_tenant
from tests.support.postgres import PostgresProcess, make_certificates

from odoo_tenancy.api.errors import OperatorError, Unavailable, Waiting
from odoo_tenancy.services.postgres import (
    PostgresAddress,
    PostgresCertificateRefused,
    PostgresLoginRefused,
    PostgresPasswordRejected,
    PostgresPrivilegeMissing,
    PostgresServer,
    PostgresUnreachable,
    TenantDatabase,
)

Sql = psycopg.Connection[tuple[object, ...]]


async def failure(address: PostgresAddress) -> OperatorError:
    server = PostgresServer(address, OPERATOR)
    with pytest.raises(OperatorError) as raised:
        await server.inventory()
    await server.close()
    assert address.password not in str(raised.value)
    assert str(address) in raised.value.message
    return raised.value


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_tls_in_every_mode(postgres: PostgresProcess, sql: Sql, mode: str) -> None:
    server = PostgresServer(replace(address_of(postgres), sslmode=mode), OPERATOR)  # type: ignore[arg-type]
    await server.inventory()
    query = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'odoo_admin'"
    assert sql.execute(query).fetchall() == [(True,)]
    await server.close()


async def test_a_wrong_ca_is_refused(postgres: PostgresProcess, tmp_path: Path) -> None:
    make_certificates(tmp_path)
    other = replace(address_of(postgres), ca_pem=(tmp_path / "ca.crt").read_text())
    for mode in ("verify-ca", "verify-full"):
        error = await failure(replace(other, sslmode=mode))
        assert isinstance(error, PostgresCertificateRefused)
        assert "tls.caSecretRef" in error.message
    assert isinstance(await failure(replace(other, ca_pem=None)), PostgresCertificateRefused)
    assert isinstance(await failure(replace(other, ca_pem="not a certificate")), PostgresCertificateRefused)


async def test_a_wrong_host_name_is_refused(postgres: PostgresProcess) -> None:
    """The server listens on 127.0.0.2 too, which isn't in its certificate."""
    elsewhere = replace(address_of(postgres), host="127.0.0.2")
    error = await failure(elsewhere)
    assert isinstance(error, PostgresCertificateRefused)
    assert "does not match" in error.message
    server = PostgresServer(replace(elsewhere, sslmode="verify-ca"), OPERATOR)
    await server.inventory()
    await server.close()


@pytest.mark.parametrize("change", [{"password": "wrong-pass"}, {"username": "nobody-of-that-name"}])
async def test_a_wrong_password_is_named(postgres: PostgresProcess, change: dict[str, str]) -> None:
    error = await failure(replace(address_of(postgres), **change))  # type: ignore[arg-type]
    assert isinstance(error, PostgresPasswordRejected)
    assert "Secret" in error.message


async def test_no_tls_is_refused_where_the_server_wants_it(postgres: PostgresProcess) -> None:
    assert isinstance(await failure(replace(address_of(postgres), sslmode="disable")), PostgresLoginRefused)


async def test_nobody_answers(postgres: PostgresProcess) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = replace(address_of(postgres), port=closed.getsockname()[1])
        assert isinstance(await failure(address), PostgresUnreachable)
    assert isinstance(await failure(replace(address, host="no-such-host.invalid")), PostgresUnreachable)


async def test_an_admin_without_privileges_is_named(
    postgres: PostgresProcess, sql: Sql, tenant: TenantDatabase
) -> None:
    sql.execute("CREATE ROLE x_weak LOGIN PASSWORD 'x_weak'")
    weak = PostgresServer(replace(address_of(postgres), username="x_weak", password="x_weak"), OPERATOR)
    with pytest.raises(PostgresPrivilegeMissing, match="CREATEROLE"):
        await weak.ensure_roles(tenant, PASSWORD)
    await weak.close()


async def test_a_restarted_server_is_found_again(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase
) -> None:
    await server.inventory()
    postgres.stop()
    with pytest.raises(Unavailable, match="PostgresUnreachable"):
        await server.inventory()
    postgres.start()
    await server.inventory()
    await server.inventory()
    postgres.stop()
    postgres.start()  # while the idle connection wasn't looked at
    await server.ensure_roles(tenant, PASSWORD)


async def test_an_inventory_is_one_query_on_a_connection_that_is_there(
    server: PostgresServer, postgres: PostgresProcess, sql: Sql
) -> None:
    for _ in range(3):
        tenant = new_tenant()
        await server.ensure_roles(tenant, PASSWORD)
        await server.ensure_database(tenant)
    before = len(postgres.log)
    for _ in range(5):
        found = await server.inventory()
    since = postgres.log[before:]
    assert len(found.databases) == 3
    assert since.count("LOG:  execute ") + since.count("LOG:  statement: ") == 5
    assert all(database.size_bytes for database in found.databases.values())
    bare = await server.inventory(sizes=False)
    assert {database.size_bytes for database in bare.databases.values()} == {None}
    connections = sql.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'odoo_admin'").fetchone()
    assert connections == (1,)
    assert found.major == postgres.major
    assert (found.max_connections, found.usable_connections) == (100, 97)


async def test_what_is_as_it_was_is_not_understood_again(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    """Whoever is logged in."""
    await server.ensure_roles(tenant, PASSWORD)
    await server.ensure_database(tenant)
    before = await server.inventory(sizes=False)
    with log_in(postgres, tenant):
        assert await server.inventory(sizes=False) is before
        named = await server.inventory_of(tenant.names)
    assert before.roles[tenant.login_role].connections is None
    assert named.roles[tenant.login_role].connections == named.databases[tenant.database].connections == 1

    sql.execute(f"ALTER ROLE {tenant.login_role} CONNECTION LIMIT 1")
    after = await server.inventory(sizes=False)
    assert after.roles[tenant.login_role].connection_limit == 1
    assert before.roles[tenant.login_role].connection_limit == tenant.connection_limit


async def test_it_holds_no_more_connections_than_it_may(
    postgres: PostgresProcess, sql: Sql, tenant: TenantDatabase
) -> None:
    server = PostgresServer(address_of(postgres), OPERATOR, connections=2)
    await asyncio.gather(*(server.inventory() for _ in range(20)))
    count = sql.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'odoo_admin'").fetchone()
    assert count in ((1,), (2,))
    task = asyncio.create_task(server.inventory())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await server.inventory()
    await server.close()


async def test_no_clear_password_reaches_the_servers_log(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase
) -> None:
    await server.ensure_roles(tenant, "first-clear-password")
    await server.set_password(tenant, "second-clear-password")
    await server.ensure_database(tenant)
    await server.check_login(tenant, "second-clear-password")
    assert "SCRAM-SHA-256$4096:" in postgres.log
    assert "clear-password" not in postgres.log


async def test_a_full_database_limit_is_named(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    with pytest.raises(Waiting, match="RolesMissing"):
        await server.ensure_database(tenant)
    one = replace(tenant, connection_limit=1)
    await server.ensure_roles(one, PASSWORD)
    await server.ensure_database(one)
    with (
        psycopg.connect(postgres.superuser_dsn, user=one.login_role, password=PASSWORD, dbname=one.database),
        pytest.raises(PostgresLoginRefused, match="too many connections for role"),
    ):
        await server.check_login(one, PASSWORD)
