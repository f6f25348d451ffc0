"""A restored database in the place of the living one, and back: with sessions open, killed at each write, and beside an
Odoo that goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import psycopg
import pytest
from tests.integration.services.postgres.conftest import (
    OPERATOR,
    address_of,
    difference_of,
    log_in,
    stand_up,
)
from tests.support.postgres import PostgresProcess
from tests.support.writes import Killed, Writes

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.services.postgres import PostgresServer, TenantDatabase

Operation = Callable[[PostgresServer], Awaitable[None]]


async def say(process: PostgresProcess, tenant: TenantDatabase, database: str, said: str) -> None:
    with log_in(process, tenant, database) as connection:
        connection.execute("CREATE TABLE said (word text)")
        connection.execute("INSERT INTO said VALUES (%s)", [said])


def said(process: PostgresProcess, tenant: TenantDatabase) -> object:
    with log_in(process, tenant) as connection:
        row = connection.execute("SELECT word FROM said").fetchone()
    assert row is not None
    return row[0]


async def until_done(process: PostgresProcess, operation: Operation) -> int:
    """By operators that die, one after the other, each at one write more; how many died."""
    for die_at in range(1, 50):
        operator = PostgresServer(address_of(process), OPERATOR, Writes(die_at=die_at))
        try:
            await operation(operator)
            return die_at - 1
        except Killed:
            pass
        finally:
            await operator.close()
    raise AssertionError("it is never done")


async def test_there_and_back_by_operators_that_die(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase
) -> None:
    new, former = f"{tenant.database}_new_0", f"{tenant.database}_old_0"
    await stand_up(server, tenant)
    await say(postgres, tenant, tenant.database, "lived")
    await server.ensure_database(replace(tenant, database=new))
    await say(postgres, tenant, new, "restored")
    with log_in(postgres, tenant), log_in(postgres, tenant, new):  # who is connected is sent away
        died = await until_done(postgres, lambda s: s.swap_database(tenant, new, former))
    assert died >= 3
    assert said(postgres, tenant) == "restored"
    found = (await server.inventory_of((*tenant.names, new, former))).databases
    assert set(found) == {tenant.database, former}
    mark = found[tenant.database].mark
    assert mark is not None
    assert mark.stage == "ready"
    with pytest.raises(psycopg.OperationalError, match="not currently accepting"):
        log_in(postgres, tenant, former)
    assert await difference_of(server, tenant) == []

    with log_in(postgres, tenant):
        died = await until_done(postgres, lambda s: s.swap_database_back(tenant, new, former))
    assert died >= 2  # what one did, the next finds done
    assert said(postgres, tenant) == "lived"
    assert await difference_of(server, tenant) == []

    with log_in(postgres, tenant) as odoo:
        assert await until_done(postgres, lambda s: s.drop_beside(tenant, new)) >= 3
        assert odoo.execute("SELECT word FROM said").fetchone() == ("lived",)  # its session went on
    assert set((await server.inventory_of((*tenant.names, new, former))).databases) == {tenant.database}


async def test_what_was_closed_for_a_swap_that_never_came_is_opened_again(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: psycopg.Connection[object]
) -> None:
    new, former = f"{tenant.database}_new_0", f"{tenant.database}_old_0"
    await stand_up(server, tenant)
    await say(postgres, tenant, tenant.database, "lived")
    with pytest.raises(Refused, match="NothingToSwap"):
        await server.swap_database(tenant, new, former)
    sql.execute(f"ALTER DATABASE {tenant.database} ALLOW_CONNECTIONS false".encode())
    await server.swap_database_back(tenant, new, former)
    assert said(postgres, tenant) == "lived"


async def test_a_database_of_somebody_else_is_left_alone(
    server: PostgresServer, tenant: TenantDatabase, sql: psycopg.Connection[object]
) -> None:
    new, former = f"{tenant.database}_new_0", f"{tenant.database}_old_0"
    await stand_up(server, tenant)
    sql.execute(f"CREATE DATABASE {new}".encode())
    for operation in (
        server.swap_database(tenant, new, former),
        server.swap_database_back(tenant, new, former),
        server.drop_beside(tenant, new),
    ):
        with pytest.raises(Refused, match="DatabaseNotOurs"):
            await operation
