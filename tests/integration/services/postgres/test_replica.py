"""The read-only role on a real hot standby: it comes by replication, with its grants, its settings and its password."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest
from psycopg.sql import SQL
from tests.integration.services.postgres.conftest import (
    PASSWORD,
    address_of,
    become_odoo,
    log_in,
    new_tenant,
    stand_up,
)
from tests.support.postgres import PostgresProcess, running_replica
from tests.support.waiting import eventually

from odoo_tenancy.services.postgres import PostgresAddress, PostgresServer, TenantDatabase, replay_lag, trial

Sql = psycopg.Connection[tuple[object, ...]]
NEW = "the reader's new password"


@pytest.fixture(scope="module")
def replica(postgres: PostgresProcess) -> Iterator[PostgresProcess]:
    with running_replica(postgres) as process:
        yield process


def has_all(replica: PostgresProcess, sql: Sql) -> None:
    """Everything that was committed until now is on it."""
    row = sql.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
    assert row is not None
    with replica.superuser() as connection:

        def caught_up() -> bool:
            reached = connection.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [row[0]])
            return reached.fetchone() == (True,)

        eventually(caught_up, "the standby has it")


async def test_who_only_reads_does_so_on_the_replica(
    server: PostgresServer,
    postgres: PostgresProcess,
    replica: PostgresProcess,
    tenant: TenantDatabase,
    sql: Sql,
) -> None:
    other = new_tenant()
    await stand_up(server, other)
    await stand_up(server, tenant)
    await become_odoo(server, postgres, tenant)
    has_all(replica, sql)
    await trial.log_in(replace(address_of(postgres), port=replica.port))
    role = tenant.read_only_role
    with log_in(replica, tenant, role=role) as reader:
        assert reader.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
        assert reader.execute("SELECT login FROM res_users WHERE id = 2").fetchone() == ("admin",)
        assert reader.execute("SHOW statement_timeout").fetchone() == ("30s",)
        assert reader.execute("SHOW default_transaction_read_only").fetchone() == ("on",)
        reader.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            reader.execute("DELETE FROM res_users")
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="during recovery"):
            reader.execute("BEGIN READ WRITE")
        reader.execute("ROLLBACK")
        with log_in(postgres, tenant) as odoo:
            odoo.execute("UPDATE res_users SET login = 'renamed' WHERE id = 2")
        has_all(replica, sql)
        assert reader.execute("SELECT login FROM res_users WHERE id = 2").fetchone() == ("renamed",)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        log_in(replica, tenant, other.database, role=role)

    await server.set_password(tenant, NEW, role)
    has_all(replica, sql)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        log_in(replica, tenant, role=role)
    log_in(replica, tenant, role=role, password=NEW).close()

    await server.drop(other)
    await server.ensure_roles(replace(tenant, read_only=None), PASSWORD)
    has_all(replica, sql)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        log_in(replica, tenant, role=role, password=NEW)


async def test_how_far_it_is_behind(postgres: PostgresProcess, replica: PostgresProcess, sql: Sql) -> None:
    primary = address_of(postgres)
    standby = replace(primary, port=replica.port)
    assert await replay_lag(primary) is None, "it is behind nobody"
    sql.execute("SELECT pg_logical_emit_message(true, 'x', 'x')")
    await until_lag(standby, lambda lag: lag == 0)
    with replica.superuser() as root:
        root.execute("SELECT pg_wal_replay_pause()")
        sql.execute("SELECT pg_logical_emit_message(true, 'x', 'x')")
        await until_lag(standby, lambda lag: lag > 1)
        root.execute("SELECT pg_wal_replay_resume()")
        await until_lag(standby, lambda lag: lag == 0)
        with without_its_primary(root):
            await until_lag(standby, lambda lag: lag > 1)  # though it has replayed all that it received
        await until_lag(standby, lambda lag: lag == 0)
    replica.stop()
    replica.start()
    await until_lag(standby, lambda lag: lag == 0)  # and nothing new was written


async def until_lag(address: PostgresAddress, fits: Callable[[float], bool]) -> None:
    def fitting() -> bool:
        lag = asyncio.run(replay_lag(address))
        return lag is not None and fits(lag)

    await asyncio.to_thread(eventually, fitting, "it is so far behind")


@contextmanager
def without_its_primary(root: Sql) -> Iterator[None]:
    """A standby that receives nothing any more."""
    row = root.execute("SELECT current_setting('primary_conninfo')").fetchone()
    assert row is not None
    follow(root, "")
    try:
        yield
    finally:
        follow(root, str(row[0]))


def follow(root: Sql, conninfo: str) -> None:
    root.execute(SQL("ALTER SYSTEM SET primary_conninfo = {}").format(conninfo))
    root.execute("SELECT pg_reload_conf()")
    receiving = "SELECT count(*) > 0 FROM pg_stat_wal_receiver"
    eventually(
        lambda: root.execute(receiving).fetchone() == (bool(conninfo),), "it receives, or does so no more"
    )
