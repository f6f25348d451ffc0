"""Who is loud: by one query for all tenants, as an admin without pg_monitor."""

from __future__ import annotations

import threading

import psycopg
from tests.integration.services.postgres.conftest import PASSWORD, log_in, new_tenant, stand_up
from tests.support.postgres import ADMIN, PostgresProcess
from tests.support.waiting import eventually

from odoo_tenancy.services.postgres import PostgresServer, TenantDatabase

Sql = psycopg.Connection[tuple[object, ...]]


async def test_every_figure_of_the_loud_and_none_of_it_at_the_quiet(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    quiet = new_tenant()
    await stand_up(server, tenant)
    await stand_up(server, quiet)
    assert sql.execute(
        f"SELECT pg_has_role('{ADMIN}', 'pg_read_all_stats', 'USAGE')".encode()
    ).fetchone() == (False,)
    with log_in(postgres, tenant) as holds, log_in(postgres, tenant) as waits:
        holds.execute("CREATE TABLE a (x int); INSERT INTO a VALUES (1), (2)")
        holds.execute("SET work_mem = '64kB'")
        holds.execute(
            "SELECT count(*) FROM (SELECT i FROM generate_series(1, 200000) i ORDER BY random()) AS s"
        )
        holds.execute("BEGIN")
        holds.execute("UPDATE a SET x = 3 WHERE x = 1")
        waiting = threading.Thread(target=waits.execute, args=["UPDATE a SET x = 4 WHERE x = 1"])
        waiting.start()
        try:
            query = "SELECT FROM pg_locks WHERE NOT granted"
            eventually(lambda: sql.execute(query).fetchall(), "somebody waits for a lock")
            eventually(
                lambda: sql.execute(
                    "SELECT FROM pg_stat_activity WHERE usename = %s AND now() - xact_start > interval '0.3 s'",
                    [tenant.login_role],
                ).fetchall(),
                "the transaction is old",
            )
            found = (await server.activity()).databases
            loud, still = found[tenant.database], found[quiet.database]
            assert (loud.connections, loud.lock_waits) == (2, 1)
            assert loud.longest_transaction_seconds > 0.3
            assert (still.connections, still.lock_waits, still.longest_transaction_seconds) == (0, 0, 0)
        finally:
            holds.execute("ROLLBACK")
            waiting.join()
        assert (await server.activity()).databases[tenant.database].lock_waits == 0
    eventually(
        lambda: sql.execute(
            "SELECT FROM pg_stat_database WHERE datname = %s AND temp_bytes > 0 AND blks_hit > 0",
            [tenant.database],
        ).fetchall(),
        "the sessions have reported their statistics",
    )
    found = (await server.activity()).databases
    assert found[tenant.database].temp_bytes > 1_000_000
    assert found[tenant.database].blocks_hit > found[quiet.database].blocks_hit
    assert (found[quiet.database].temp_bytes, found[quiet.database].deadlocks) == (0, 0)


async def test_a_deadlock_is_counted(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    await stand_up(server, tenant)
    with log_in(postgres, tenant) as one, log_in(postgres, tenant) as other:
        one.execute("CREATE TABLE a (x int); INSERT INTO a VALUES (1), (2)")
        for connection, row in ((one, 1), (other, 2)):
            connection.execute("BEGIN")
            connection.execute("UPDATE a SET x = x WHERE x = %s", [row])
        victims: list[int] = []

        def update(connection: psycopg.Connection[tuple[object, ...]], row: int) -> None:
            try:
                connection.execute("UPDATE a SET x = x WHERE x = %s", [row])
            except psycopg.errors.DeadlockDetected:
                victims.append(row)
            connection.execute("ROLLBACK")

        waiting = threading.Thread(target=update, args=[one, 2])
        waiting.start()
        update(other, 1)
        waiting.join()
        assert len(victims) == 1
    query = "SELECT FROM pg_stat_database WHERE datname = %s AND deadlocks > 0"
    eventually(lambda: sql.execute(query, [tenant.database]).fetchall(), "the session has reported it")
    assert (await server.activity()).databases[tenant.database].deadlocks == 1


async def test_readers_and_both_slots_are_seen_too(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    """The admin is a member of each; of a stranger in the tenant's database it sees that it is there."""
    await stand_up(server, tenant)
    await server.open_login(tenant, "new")
    await server.restrict(tenant, PASSWORD)
    await server.open_login(tenant, "new")
    gone = "SELECT FROM pg_stat_activity WHERE datname = %s"
    for role in (*tenant.login_roles, *tenant.readers):
        password = "new" if role == tenant.idle_login_role else PASSWORD
        with log_in(postgres, tenant, role=role, password=password) as connection:
            connection.execute("BEGIN; SELECT 1")
            found = (await server.activity()).databases[tenant.database]
            assert found.connections == 1
            assert found.longest_transaction_seconds > 0, role
        eventually(lambda: not sql.execute(gone, [tenant.database]).fetchall(), "it is gone")
    with postgres.superuser(tenant.database) as stranger:
        stranger.execute("BEGIN; SELECT 1")
        found = (await server.activity()).databases[tenant.database]
        assert (found.connections, found.longest_transaction_seconds) == (1, 0)


async def test_it_is_one_query_however_many_tenants(
    server: PostgresServer, postgres: PostgresProcess, sql: Sql
) -> None:
    for _ in range(3):
        await stand_up(server, new_tenant())
    before = len(postgres.log)
    found = await server.activity()
    since = postgres.log[before:]
    assert len(found.databases) == 3
    assert since.count("LOG:  execute ") + since.count("LOG:  statement: ") == 1


async def test_replication_by_slots_as_far_as_the_admin_may_know(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    sql.execute("SELECT pg_create_physical_replication_slot('x_standby', true)")
    try:
        await stand_up(server, tenant)
        found = await server.activity()
    finally:
        sql.execute("SELECT pg_drop_replication_slot('x_standby')")
    assert (found.is_replica, found.replay_lag_seconds, found.standbys) == (False, None, 0)
    assert found.slot_lag_bytes["x_standby"] > 0
    assert (await server.activity()).slot_lag_bytes == {}
