"""A tenant's life through a real PgBouncer in session mode, as examples/pgbouncer configures it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from tests.integration.services.postgres.conftest import (
    PASSWORD,
    address_of,
    become_odoo,
    difference_of,
    log_in,
    new_tenant,
    stand_up,
)
from tests.support.pgbouncer import PgBouncerProcess, running_pgbouncer
from tests.support.postgres import PostgresProcess
from tests.support.waiting import eventually

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.services.postgres import (
    PostgresAddress,
    PostgresCertificateRefused,
    PostgresLoginRefused,
    PostgresPasswordRejected,
    PostgresServer,
    PostgresUnreachable,
    TenantDatabase,
    logins,
    trial,
)

Sql = psycopg.Connection[tuple[object, ...]]

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
NEW, NEWER = "the new password", "and one after that"


@pytest.fixture(scope="module")
def pooler(postgres: PostgresProcess) -> Iterator[PgBouncerProcess]:
    with running_pgbouncer(postgres, listen_addr="127.0.0.1,127.0.0.2") as process:
        yield process


def through(
    pooler: PgBouncerProcess,
    tenant: TenantDatabase,
    password: str = PASSWORD,
    user: str | None = None,
    database: str | None = None,
) -> Sql:
    """As Odoo does: with the certificate checked, which the pooler has of the same authority."""
    return psycopg.connect(
        host=pooler.host, port=pooler.port, dbname=database or tenant.database, user=user or tenant.login_role,
        password=password, sslmode="verify-full", sslrootcert=str(pooler.directory / "ca.crt"), autocommit=True,
    )  # fmt: skip


def pid(connection: Sql) -> object:
    return connection.execute("SELECT pg_backend_pid()").fetchone()


def leave_a_session(pooler: PgBouncerProcess, tenant: TenantDatabase) -> None:
    """A client gets one of the server's with its first statement, and PgBouncer keeps it when the client leaves."""
    with through(pooler, tenant) as connection:
        assert pid(connection)


def sessions(sql: Sql, role: str) -> list[object]:
    return [row[0] for row in sql.execute("SELECT pid FROM pg_stat_activity WHERE usename = %s", [role])]


def by_pooler(pooler: PgBouncerProcess, postgres: PostgresProcess, tenant: TenantDatabase) -> PostgresAddress:
    return replace(
        address_of(postgres), port=pooler.port, username=tenant.login_role, password=PASSWORD,
        database=tenant.database,
    )  # fmt: skip


async def test_who_logs_in_acts_as_the_owner_also_on_a_session_that_another_left(
    server: PostgresServer,
    postgres: PostgresProcess,
    pooler: PgBouncerProcess,
    tenant: TenantDatabase,
    sql: Sql,
) -> None:
    await stand_up(server, tenant)
    with through(pooler, tenant) as first:
        assert first.execute("SELECT session_user, current_user").fetchone() == (
            tenant.login_role,
            tenant.owner_role,
        )
        used = pid(first)
        first.execute("CREATE TABLE kept (x int); SET ROLE NONE; SET work_mem = '9MB'; LISTEN a_channel")
        first.execute("PREPARE mine AS SELECT 1; CREATE TEMPORARY TABLE gone (x int)")
    eventually(lambda: sessions(sql, tenant.login_role), "its session stays, for the next one")
    with through(pooler, tenant) as second:
        assert pid(second) == used
        assert second.execute("SELECT current_user").fetchone() == (tenant.owner_role,)
        assert second.execute("SELECT to_regclass('gone')").fetchone() == (None,)
        for left in ("pg_prepared_statements", "pg_listening_channels()"):
            assert second.execute(f"SELECT FROM {left}".encode()).fetchall() == []
        assert second.execute("SHOW work_mem").fetchone() != ("9MB",)
    with postgres.superuser(tenant.database) as inside:
        owner = inside.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'kept'").fetchone()
    assert owner == (tenant.owner_role,)


async def test_listeners_hear_each_other(
    server: PostgresServer, pooler: PgBouncerProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    await stand_up(server, tenant)
    with through(pooler, tenant) as listener, through(pooler, tenant) as speaker:
        listener.execute("LISTEN imbus")
        speaker.execute("SELECT pg_notify('imbus', 'said')")
        [heard] = listener.notifies(timeout=30, stop_after=1)
    assert heard.payload == "said"


async def test_nobody_gets_in_who_would_not_get_in_without_it(
    server: PostgresServer,
    postgres: PostgresProcess,
    pooler: PgBouncerProcess,
    tenant: TenantDatabase,
    sql: Sql,
) -> None:
    other = new_tenant()
    await stand_up(server, tenant)
    await stand_up(server, other)
    await server.set_password(other, NEW)
    through(pooler, tenant).close()
    through(pooler, other, NEW).close()
    with pytest.raises(psycopg.OperationalError, match="SASL authentication failed"):
        through(pooler, other, PASSWORD)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        through(pooler, tenant, database=other.database).execute("SELECT 1")
    for role in (tenant.backup_role, tenant.read_only_role, "odoo_admin", "postgres", tenant.owner_role):
        assert role is not None
        with pytest.raises(psycopg.OperationalError, match="no such user"):
            through(pooler, tenant, user=role)
    with pytest.raises(psycopg.OperationalError, match="no such user"):
        through(pooler, tenant, postgres.admin_password, user="odoo_admin")


async def test_the_limit_is_the_servers_and_a_place_that_is_free_is_had_again(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    """What a client left is used by the next: as many sessions as clients, and never more than the limit."""
    tenant = replace(tenant, connection_limit=2)
    await stand_up(server, tenant)
    with running_pgbouncer(postgres, query_wait_timeout="1") as pooler:
        with through(pooler, tenant) as one, through(pooler, tenant) as two:
            assert pid(one) != pid(two)
            with pytest.raises(psycopg.OperationalError, match="query_wait_timeout"):
                through(pooler, tenant).execute("SELECT 1")
            assert "too many connections for role" in pooler.log
            assert len(sessions(sql, tenant.login_role)) == 2
        for _ in range(3):
            with through(pooler, tenant) as one, through(pooler, tenant) as two:
                assert pid(one) != pid(two)
        assert len(sessions(sql, tenant.login_role)) == 2


async def test_a_rotation_waits_for_work_and_not_for_sessions_that_nobody_has(
    server: PostgresServer, pooler: PgBouncerProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    await stand_up(server, tenant)
    rotating = replace(tenant, rotating=True)
    with through(pooler, tenant) as old:
        await server.open_login(rotating, NEW)
        with through(pooler, tenant.swapped, NEW) as new, old.transaction():
            assert old.execute("SELECT current_user").fetchone() == (tenant.owner_role,)
            assert new.execute("SELECT current_user").fetchone() == (tenant.owner_role,)
            assert await server.close_login(rotating.swapped, LATER, NOW, pooled=True) == 1
    assert sessions(sql, tenant.login_role), "the pooler keeps it"
    assert await server.close_login(rotating.swapped, LATER, NOW) == 1, "who isn't told waits for it"

    async def closed() -> int:
        return await server.close_login(rotating.swapped, LATER, NOW, pooled=True)

    assert await closed() == 0
    assert sessions(sql, tenant.login_role) == []
    assert await difference_of(server, tenant.swapped) == []
    with pytest.raises(psycopg.OperationalError, match="SASL authentication failed"):
        through(pooler, tenant)
    through(pooler, tenant.swapped, NEW).close()

    # The first slot again, with another password: what the pooler knew of it is of no use any more.
    back = tenant.swapped
    await server.open_login(replace(back, rotating=True), NEWER)
    with pytest.raises(psycopg.OperationalError, match="SASL authentication failed"):
        through(pooler, tenant)
    with through(pooler, tenant, NEWER) as newest:
        assert newest.execute("SELECT current_user").fetchone() == (tenant.owner_role,)
    assert await server.close_login(replace(tenant, rotating=True), LATER, NOW, pooled=True) == 0
    assert logins(await server.inventory_of(tenant.names), tenant).live == tenant.login_role


async def test_a_full_database_has_no_session_left_that_may_add(
    server: PostgresServer,
    postgres: PostgresProcess,
    pooler: PgBouncerProcess,
    tenant: TenantDatabase,
    sql: Sql,
) -> None:
    await stand_up(server, tenant)
    await become_odoo(server, postgres, tenant)
    with through(pooler, tenant) as open_one:
        assert pid(open_one)
        leave_a_session(pooler, tenant)
        await server.restrict(tenant, PASSWORD)
        with pytest.raises(psycopg.OperationalError):
            open_one.execute("SELECT 1")
    for _ in range(3):
        with through(pooler, tenant) as restricted:
            assert restricted.execute("SELECT current_user").fetchone() == (tenant.restricted_role,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                restricted.execute("INSERT INTO res_users VALUES (99, 'one more')")
    await server.release(tenant, PASSWORD)
    with through(pooler, tenant) as released:
        released.execute("INSERT INTO res_users VALUES (99, 'one more')")


async def test_sessions_that_nobody_has_stop_neither_a_template_nor_the_end(
    server: PostgresServer,
    postgres: PostgresProcess,
    pooler: PgBouncerProcess,
    tenant: TenantDatabase,
    sql: Sql,
) -> None:
    """An init Job went through it and has ended; later the tenant is deleted."""
    await stand_up(server, tenant)
    await become_odoo(server, postgres, tenant)
    leave_a_session(pooler, tenant)
    assert sessions(sql, tenant.login_role), "its session stays"
    await server.make_template(tenant, "tpl_pooled")
    await server.vacuum_full(tenant)
    leave_a_session(pooler, tenant)
    assert sessions(sql, tenant.login_role), "another one does"
    assert await server.drop(tenant) == ()
    assert sql.execute("SELECT FROM pg_database WHERE datname = %s", [tenant.database]).fetchall() == []
    await server.drop_template("tpl_pooled")


async def test_a_trial(
    server: PostgresServer,
    postgres: PostgresProcess,
    pooler: PgBouncerProcess,
    tenant: TenantDatabase,
    sql: Sql,
) -> None:
    await stand_up(server, tenant)
    await stand_up(server, other := new_tenant())
    login = by_pooler(pooler, postgres, tenant)
    await trial.check_pooler(replace(address_of(postgres), port=pooler.port))
    await trial.log_in(login)
    with pytest.raises(PostgresPasswordRejected):
        await trial.log_in(replace(login, password=NEW))
    with pytest.raises(PostgresLoginRefused):
        await trial.log_in(replace(login, database=other.database))
    with pytest.raises(PostgresCertificateRefused):
        await trial.check_pooler(replace(login, host="127.0.0.2"))
    pooler.stop()
    try:
        for check in (trial.check_pooler, trial.log_in):
            with pytest.raises(PostgresUnreachable):
                await check(login)
    finally:
        pooler.start()
    log_in(postgres, tenant).close()


@pytest.mark.parametrize("fault", ["query", "role", "password"])
async def test_one_that_cannot_look_passwords_up_does_not_answer(
    postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql, fault: str
) -> None:
    wrong = {
        "query": {"auth_query": "SELECT 1 FROM there_is_none WHERE $1 = ''"},
        "role": {"auth_user": "nobody"},
    }
    with running_pgbouncer(postgres, **wrong.get(fault, {})) as broken:
        if fault == "password":
            sql.execute("ALTER ROLE pgbouncer PASSWORD 'another'")
        with pytest.raises(PostgresUnreachable):
            await trial.check_pooler(replace(address_of(postgres), port=broken.port))
    with running_pgbouncer(postgres) as mended:
        await trial.check_pooler(replace(address_of(postgres), port=mended.port))


async def test_one_that_lets_anybody_in_is_given_to_nobody(
    postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    everybody = "user=pgbouncer password={password}"
    with (
        running_pgbouncer(postgres, auth_type="any", databases=everybody) as open_to_all,
        pytest.raises(Refused) as refusal,
    ):
        await trial.check_pooler(replace(address_of(postgres), port=open_to_all.port))
    assert refusal.value.reason == "PoolerOpen"
