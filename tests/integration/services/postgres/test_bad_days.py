"""A server that is silent, frozen, restarted or full: bounded, named, and gone on with afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest
from tests.integration.services.postgres.conftest import (
    OPERATOR,
    PASSWORD,
    address_of,
    difference_of,
    log_in,
    new_tenant,
    stand_up,
    sweep,
)
from tests.support.postgres import PostgresProcess, majors, programs_of, running_postgres
from tests.support.proxy import Proxy
from tests.support.waiting import eventually
from tests.support.writes import Writes

from odoo_tenancy.api.errors import Unavailable
from odoo_tenancy.services.postgres import (
    PostgresPasswordRejected,
    PostgresServer,
    PostgresUnreachable,
    TenantDatabase,
)

Sql = psycopg.Connection[tuple[object, ...]]


@contextmanager
def fake_that_accepts_and_says_nothing() -> Iterator[int]:
    """A listening socket alone: the kernel accepts, nobody ever reads. Its port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield int(listener.getsockname()[1])


async def test_a_server_that_accepts_and_never_answers_holds_nobody_up(
    server: PostgresServer, postgres: PostgresProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More callers than connections: each has its answer, and another server's tenants don't notice."""
    monkeypatch.setattr("odoo_tenancy.services.postgres.address.CONNECT_TIMEOUT", 2)
    with fake_that_accepts_and_says_nothing() as port:
        silent = PostgresServer(replace(address_of(postgres), port=port), OPERATOR, connections=4)
        started = time.monotonic()
        stuck = [asyncio.create_task(silent.inventory()) for _ in range(8)]
        for _ in range(5):
            await server.inventory()
        assert not any(task.done() for task in stuck)
        answers = await asyncio.gather(*stuck, return_exceptions=True)
        assert all(isinstance(answer, PostgresUnreachable) for answer in answers), answers
        assert 2 <= time.monotonic() - started < 12
        await silent.close()


async def test_a_server_that_freezes_is_hung_up_on(
    postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real server's process is stopped: its kernel goes on answering, it never does. What was begun is done
    once it can be."""
    monkeypatch.setattr("odoo_tenancy.services.postgres.connections.GRACE", 0.5)
    server = PostgresServer(address_of(postgres), OPERATOR, connections=1, statement_timeout=1)
    await server.inventory()
    query = (
        "SELECT pid FROM pg_stat_activity WHERE usename = 'odoo_admin' AND backend_type = 'client backend'"
    )
    ((pid,),) = sql.execute(query).fetchall()
    os.kill(int(str(pid)), signal.SIGSTOP)
    try:
        started = time.monotonic()
        with pytest.raises(PostgresUnreachable, match="no answer came in time"):
            await server.ensure_roles(tenant, PASSWORD)
        assert time.monotonic() - started < 5
        await stand_up(server, tenant)  # by a new connection: the one that it may hold at once is free again
    finally:
        os.kill(int(str(pid)), signal.SIGCONT)
    assert await difference_of(server, tenant) == []
    await server.close()


async def test_whoever_is_cancelled_while_a_server_is_frozen_is_free_in_time(
    postgres: PostgresProcess, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odoo_tenancy.services.postgres.connections.GRACE", 0.5)
    server = PostgresServer(address_of(postgres), OPERATOR, connections=1, statement_timeout=1)
    await server.inventory()
    query = (
        "SELECT pid FROM pg_stat_activity WHERE usename = 'odoo_admin' AND backend_type = 'client backend'"
    )
    ((pid,),) = sql.execute(query).fetchall()
    os.kill(int(str(pid)), signal.SIGSTOP)
    try:
        task = asyncio.create_task(server.inventory())
        for _ in range(3):  # far enough to have sent its query
            await asyncio.sleep(0)
        task.cancel()
        started = time.monotonic()
        await asyncio.gather(task, return_exceptions=True)
        assert time.monotonic() - started < 8
        await server.inventory()
    finally:
        os.kill(int(str(pid)), signal.SIGCONT)
    await server.close()


async def test_what_takes_long_stands_in_nobodys_way_and_is_given_up_with_a_server_that_falls_silent(
    postgres: PostgresProcess, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Making a database may take half an hour. More of them than connections are asked for, and none can be made now."""
    monkeypatch.setattr("odoo_tenancy.services.postgres.connections.GRACE", 0.5)
    monkeypatch.setattr("odoo_tenancy.services.postgres.address.CONNECT_TIMEOUT", 2)
    wire = Proxy(postgres.port)
    address = replace(address_of(postgres), port=wire.port)
    server = PostgresServer(address, OPERATOR, connections=3, statement_timeout=1)
    newcomers = [new_tenant() for _ in range(4)]
    for each in newcomers:
        await server.ensure_roles(each, PASSWORD)
    creating = "SELECT FROM pg_stat_activity WHERE usename = 'odoo_admin' AND state = 'active' AND query ~ '^CREATE DATA'"
    waiting = f"{creating} AND wait_event_type = 'Lock'"
    with postgres.superuser() as root:
        root.execute("BEGIN; LOCK TABLE pg_database IN EXCLUSIVE MODE")
        making = [asyncio.create_task(server.ensure_database(each)) for each in newcomers]
        await asyncio.to_thread(
            eventually, lambda: len(sql.execute(waiting.encode()).fetchall()) > 1, "two are being made"
        )
        async with asyncio.timeout(10):
            await server.inventory(sizes=False)  # who only looks is let in beside them
        assert not any(task.done() for task in making)

        wire.silence()
        async with asyncio.timeout(20):
            answers = await asyncio.gather(*making, return_exceptions=True)
        assert {type(answer) for answer in answers} == {PostgresUnreachable}, answers
        wire.flow()
        root.execute("ROLLBACK")
    await asyncio.to_thread(
        eventually, lambda: not sql.execute(creating.encode()).fetchall(), "nobody works on"
    )
    for each in newcomers:
        await stand_up(server, each)
    assert await difference_of(server, *newcomers) == []
    await server.close()
    wire.close()


class Restarts(Writes):
    """Stops the server at one call of the hook; the test starts it again."""

    def __init__(self, process: PostgresProcess, at: int) -> None:
        super().__init__()
        self._process, self.at = process, at

    def _call(self) -> None:
        self.calls += 1
        if self.calls == self.at:
            self._process.stop()


async def test_a_restart_at_any_write_is_survived(
    postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    sql.close()
    for at in range(1, 100, 3):  # before and after, so the step must be odd
        hook = Restarts(postgres, at)
        operator = PostgresServer(address_of(postgres), OPERATOR, hook)
        each = new_tenant()
        try:
            await full_of(operator, each)
        except Unavailable:
            assert hook.calls >= at
        hook.at = 0
        if postgres.running:
            break  # it has fewer writes than that
        postgres.start()
        await full_of(operator, each)
        await operator.release(each, PASSWORD)
        assert await difference_of(operator, each) == []
        await operator.drop(each)
        await operator.close()
    assert at > 20
    await operator.drop(each)
    await operator.close()


async def full_of(server: PostgresServer, tenant: TenantDatabase) -> None:
    await stand_up(server, tenant)
    await server.restrict(tenant, PASSWORD)


async def test_a_wrong_admin_password_that_is_mended(
    server: PostgresServer, postgres: PostgresProcess, sql: Sql
) -> None:
    await server.inventory()
    sql.execute("ALTER ROLE odoo_admin PASSWORD 'changed'")
    try:
        newcomer = PostgresServer(address_of(postgres), OPERATOR)
        with pytest.raises(PostgresPasswordRejected):
            await newcomer.inventory()
        mended = PostgresServer(replace(address_of(postgres), password="changed"), OPERATOR)
        await mended.inventory()
        await mended.close()
    finally:
        sql.execute(f"ALTER ROLE odoo_admin PASSWORD '{postgres.admin_password}'".encode())
    await newcomer.inventory()
    await newcomer.close()


async def test_a_deletion_while_the_server_is_away_goes_on_when_it_returns(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    await stand_up(server, tenant)
    sql.close()
    postgres.stop()
    with pytest.raises(Unavailable, match="PostgresUnreachable"):
        await server.drop(tenant)
    postgres.start()
    assert await server.drop(tenant) == ()
    found = await server.inventory_of(tenant.names)
    assert (dict(found.roles), dict(found.databases)) == ({}, {})


@pytest.fixture(scope="module", params=majors(), ids=lambda major: f"pg{major}")
def small(request: pytest.FixtureRequest) -> Iterator[PostgresProcess]:
    """On a disk of 160 MiB."""
    with running_postgres(programs_of(request.param), disk_mib=160) as process:
        yield process


def fill_up(odoo: Sql) -> None:
    """In small steps, until there is no room for even one more; past the write-ahead log, for which a server that
    can't write it restarts."""
    while True:
        odoo.execute("INSERT INTO a SELECT repeat('x', 7000) FROM generate_series(1, 100)")


async def test_a_full_disk_is_named_and_what_was_half_made_is_made_when_there_is_room(
    small: PostgresProcess,
) -> None:
    server = PostgresServer(address_of(small), OPERATOR)
    tenant, newcomer = new_tenant(), new_tenant()
    await stand_up(server, tenant)
    with log_in(small, tenant) as odoo:
        odoo.execute("CREATE UNLOGGED TABLE a (x text); ALTER TABLE a ALTER x SET STORAGE PLAIN")
        with pytest.raises(psycopg.errors.DiskFull):
            fill_up(odoo)
        with pytest.raises(Unavailable, match="PostgresOutOfResources"):
            await stand_up(server, newcomer)
        found = await server.inventory()  # what only reads goes on
        assert (found.databases[tenant.database].size_bytes or 0) > 50_000_000
        odoo.execute("DROP TABLE a")
    await stand_up(server, newcomer)
    assert await difference_of(server, tenant, newcomer) == []
    await server.close()
    with small.superuser() as connection:
        sweep(connection)
