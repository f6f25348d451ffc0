"""The bus, cron triggers and readiness: within the tenant's own database, and nowhere else."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import closing
from typing import Any

import aiohttp
import psycopg
import pytest
from tests.integration.addon.conftest import ADMINISTRATOR, Starter, Tenant
from tests.support.odoo_site import OdooSite, browse
from tests.support.postgres import PostgresProcess
from tests.support.waiting import eventually

SOON = 30
"""Seconds; a cron process that nobody wakes looks again after 60."""


async def subscribe(socket: aiohttp.ClientWebSocketResponse, channel: str) -> None:
    await socket.send_str(json.dumps({"event_name": "subscribe", "data": {"channels": [channel], "last": 0}}))


async def heard(socket: aiohttp.ClientWebSocketResponse, kind: str) -> Any:
    """The payload of the next message of this kind."""
    async with asyncio.timeout(SOON):
        while True:
            for message in json.loads((await socket.receive()).data):
                if message["message"]["type"] == kind:
                    return message["message"]["payload"]


async def make_action(site: OdooSite, code: str) -> int:
    """A server action, as an administrator makes one."""
    [model] = await site.call("ir.model", "search", [["model", "=", "res.partner"]])
    values = {"name": "probe", "model_id": model, "state": "code", "code": code}
    made = await site.call("ir.actions.server", "create", [values])
    return int(made[0])


async def make_cron(site: OdooSite, code: str) -> int:
    """A scheduled action that is not due for a year."""
    [model] = await site.call("ir.model", "search", [["model", "=", "res.partner"]])
    values = {
        "name": "probe", "model_id": model, "state": "code", "code": code, "interval_type": "months",
        "interval_number": 12, "nextcall": "2099-01-01 00:00:00",
    }  # fmt: skip
    made = await site.call("ir.cron", "create", [values])
    return int(made[0])


def cron_is_listening(postgres: PostgresProcess, tenant: Tenant) -> bool:
    """It does before it sleeps for a minute."""
    return bool(
        re.search(rf"^{tenant.database.user}@\S+ LOG: +statement: LISTEN cron_trigger", postgres.log, re.M)
    )


def listen(postgres: PostgresProcess, tenant: Tenant, database: str) -> psycopg.Connection[tuple[Any, ...]]:
    """As a tenant, with its own password, on every channel that Odoo uses."""
    connection = psycopg.connect(
        host="127.0.0.1", port=postgres.port, user=tenant.database.user, password=tenant.database.password,
        dbname=database, sslmode="require", autocommit=True,
    )  # fmt: skip
    for channel in channels(postgres) | {"imbus", "cron_trigger"}:
        connection.execute(f'LISTEN "{channel}"'.encode())
    return connection


def channels(postgres: PostgresProcess) -> set[str]:
    """Of every LISTEN and NOTIFY that this server has seen."""
    found = re.findall(r"(?i)\b(?:listen|notify)\s+\"?(\w+)|pg_notify\"?\('(\w+)'", postgres.log)
    return {name for pair in found for name in pair if name}


def statements(postgres: PostgresProcess, tenant: Tenant, database: str) -> list[str]:
    """What a tenant said in a database."""
    return re.findall(rf"^{tenant.database.user}@{database} LOG:.*", postgres.log, re.M)


@pytest.mark.usefixtures("shared_database_open")
@pytest.mark.parametrize("workers", [0, 2])
async def test_a_cron_trigger_and_a_message_cross_from_web_to_cron_and_back(
    start: Starter, tenant: Tenant, other_tenant: Tenant, postgres: PostgresProcess, workers: int
) -> None:
    """A web process triggers, the cron process wakes and sends, the web's websocket hears. Nobody else does."""
    web = start.web(tenant, workers=workers)
    async with browse(web.url) as site:
        assert await site.log_in(*ADMINISTRATOR)
        cron = await make_cron(site, "env['bus.bus']._sendone('probe', 'woken', {'by': 'cron'})")
        trigger = await make_action(site, f"env['ir.cron'].browse({cron})._trigger()")
        process = start.prepare(tenant, "--no-http", crons=1, workers=workers)
        process.start()
        await asyncio.to_thread(
            eventually, lambda: cron_is_listening(postgres, tenant), "the cron process listens"
        )
        with (
            closing(listen(postgres, other_tenant, "postgres")) as shared,
            closing(listen(postgres, other_tenant, other_tenant.database.name)) as own,
        ):
            async with OdooSite(site.session, web.websocket_url).websocket() as socket:
                await subscribe(socket, "probe")
                await site.call("ir.actions.server", "run", [trigger])
                assert await heard(socket, "woken") == {"by": "cron"}
            assert [list(each.notifies(timeout=1)) for each in (shared, own)] == [[], []]
    assert {"imbus", "cron_trigger"} <= channels(postgres)
    assert statements(postgres, tenant, tenant.database.name)
    assert not statements(postgres, tenant, "postgres")


@pytest.mark.usefixtures("shared_database_open")
async def test_a_neighbour_would_hear_all_of_it_without_the_addon(
    start: Starter, tenant: Tenant, other_tenant: Tenant, postgres: PostgresProcess
) -> None:
    """What the test above protects from, by the same listener."""
    web = start.web(tenant, library=None, subcommand=())
    async with browse(web.url) as site:
        assert await site.log_in(*ADMINISTRATOR)
        action = await make_action(site, "env['bus.bus']._sendone('probe', 'secret', {})")
        with closing(listen(postgres, other_tenant, "postgres")) as shared:
            await site.call("ir.actions.server", "run", [action])
            [told] = await asyncio.to_thread(lambda: list(shared.notifies(timeout=SOON, stop_after=1)))
    assert tenant.database.name in told.payload
    assert statements(postgres, tenant, "postgres")


async def test_a_message_from_another_web_process_reaches_the_websocket(
    start: Starter, tenant: Tenant
) -> None:
    first, second = start.web(tenant), start.web(tenant)
    async with browse(first.url) as site:
        assert await site.log_in(*ADMINISTRATOR)
        action = await make_action(site, "env['bus.bus']._sendone('probe', 'said', {'n': 1})")
        async with OdooSite(site.session, first.websocket_url).websocket() as socket:
            await subscribe(socket, "probe")
            await OdooSite(site.session, second.url).call("ir.actions.server", "run", [action])
            assert await heard(socket, "said") == {"n": 1}


async def test_readiness_is_the_tenants_own_database(
    start: Starter, tenant: Tenant, other_tenant: Tenant, postgres: PostgresProcess
) -> None:
    web, neighbour = start.web(tenant), start.web(other_tenant, environment={})
    name = tenant.database.name
    with postgres.superuser() as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        eventually(lambda: web.readiness() == 500, lambda: f"not ready: {web.readiness()}")
        assert web.liveness() == 200
        assert neighbour.readiness() == 200
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
        eventually(lambda: web.readiness() == 200, lambda: f"ready: {web.readiness()}")
