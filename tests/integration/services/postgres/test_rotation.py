"""Two passwords side by side while Odoo changes over; every step may be repeated."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from tests.integration.services.postgres.conftest import (
    OPERATOR,
    PASSWORD,
    address_of,
    difference_of,
    log_in,
    stand_up,
)
from tests.support.postgres import PostgresProcess
from tests.support.waiting import eventually
from tests.support.writes import Killed, Writes

from odoo_tenancy.services.postgres import PostgresServer, TenantDatabase, logins

Sql = psycopg.Connection[tuple[object, ...]]

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
NEW = "the new pässword"


async def slots(
    server: PostgresServer, tenant: TenantDatabase
) -> tuple[tuple[str, ...], dict[str, int | None]]:
    found = logins(await server.inventory_of(tenant.names), tenant)
    return found.open, dict(found.sessions)


async def test_a_rotation(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    await stand_up(server, tenant)
    old, new = tenant.login_roles
    assert await slots(server, tenant) == ((old,), {old: 0})
    rotating = replace(tenant, rotating=True)
    await server.open_login(rotating, NEW)
    assert (await slots(server, tenant))[0] == (old, new)
    assert await difference_of(server, rotating, rotating.swapped) == []
    assert any("LOGIN" in difference for difference in await difference_of(server, tenant))
    with log_in(postgres, tenant) as before, log_in(postgres, tenant.swapped, password=NEW) as after:
        for connection in (before, after):
            assert connection.execute("SELECT current_user").fetchone() == (tenant.owner_role,)
        assert await slots(server, tenant) == ((old, new), {old: 1, new: 1})
        # Odoo has the new password; whoever is still on the old one may finish.
        assert await server.close_login(rotating.swapped, LATER, NOW) == 1
        assert before.execute("SELECT 1").fetchone() == (1,)
        with log_in(postgres, tenant):
            pass
    eventually(
        lambda: not sql.execute("SELECT FROM pg_stat_activity WHERE usename = %s", [old]).fetchall(), "gone"
    )
    assert await server.close_login(rotating.swapped, LATER, NOW) == 0
    assert (await slots(server, tenant))[0] == (new,)
    assert logins(await server.inventory(), tenant).live == new
    assert await difference_of(server, tenant.swapped) == []
    with pytest.raises(psycopg.OperationalError):
        log_in(postgres, tenant)
    with pytest.raises(psycopg.OperationalError):
        log_in(postgres, tenant, password=NEW)


async def test_at_the_deadline_left_over_sessions_end(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    await stand_up(server, tenant)
    await server.open_login(tenant, NEW)
    with log_in(postgres, tenant) as stuck, log_in(postgres, tenant.swapped, password=NEW) as live:
        assert await server.close_login(tenant.swapped, NOW, NOW) == 0
        with pytest.raises(psycopg.OperationalError):
            stuck.execute("SELECT 1")
        assert live.execute("SELECT 1").fetchone() == (1,)
    assert await difference_of(server, tenant.swapped) == []


async def test_the_next_rotation_gives_the_first_slot_another_password(
    server: PostgresServer, writes: Writes, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    await stand_up(server, tenant)
    await server.open_login(tenant, NEW)
    writes.descriptions.clear()
    await server.open_login(tenant, NEW)
    assert writes.descriptions == [], "it lets that password in already"
    await server.open_login(tenant, "on second thought")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        log_in(postgres, tenant.swapped, password=NEW)
    await server.open_login(tenant, NEW)
    await server.close_login(tenant.swapped, NOW, NOW)
    await server.open_login(tenant.swapped, "a third")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        log_in(postgres, tenant)
    log_in(postgres, tenant, password="a third").close()
    log_in(postgres, tenant.swapped, password=NEW).close()


async def test_killed_at_every_write(postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql) -> None:
    """Whatever a kill leaves, the same call again goes on; at no moment is Odoo locked out."""
    calm = PostgresServer(address_of(postgres), OPERATOR)
    await stand_up(calm, tenant)
    wanted, passwords = replace(tenant, rotating=True), (PASSWORD, NEW)
    for operation in ("open", "close"):
        killed = 0
        for die_at in range(1, 20):
            operator = PostgresServer(address_of(postgres), OPERATOR, Writes(die_at=die_at))
            stuck = log_in(postgres, tenant) if operation == "close" and die_at == 1 else None
            try:
                if operation == "open":
                    await operator.open_login(wanted, NEW)
                else:
                    await operator.close_login(wanted.swapped, NOW, NOW)
                break
            except Killed:
                killed += 1
            finally:
                await operator.close()
                live = wanted if operation == "open" else wanted.swapped
                log_in(postgres, live, password=passwords[operation == "close"]).close()
            del stuck
        assert killed >= 2
    assert (await slots(calm, tenant)) == (
        (wanted.swapped.login_role,),
        dict.fromkeys(tenant.login_roles, 0),
    )
    assert await difference_of(calm, tenant.swapped) == []
    await calm.close()


async def test_both_slots_have_a_limit_of_their_own(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    """So the budget reserves one limit more while a tenant rotates."""
    one = replace(tenant, connection_limit=1)
    await stand_up(server, one)
    await server.open_login(one, NEW)
    with log_in(postgres, one), log_in(postgres, one.swapped, password=NEW):
        for slot, password in ((one, PASSWORD), (one.swapped, NEW)):
            with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
                log_in(postgres, slot, password=password)


async def test_closed_doors(
    server: PostgresServer, postgres: PostgresProcess, tenant: TenantDatabase, sql: Sql
) -> None:
    await stand_up(server, tenant)
    with log_in(postgres, tenant) as odoo:
        await server.close_logins(tenant)
        with pytest.raises(psycopg.OperationalError):
            odoo.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        log_in(postgres, tenant)
    await stand_up(server, tenant)
    log_in(postgres, tenant).close()


async def test_a_rotation_takes_two_slots(server: PostgresServer, tenant: TenantDatabase) -> None:
    with pytest.raises(ValueError, match="a rotation takes two"):
        await server.open_login(replace(tenant, idle_login_role=None), NEW)
