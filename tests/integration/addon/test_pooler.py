"""The real Odoo through a real PgBouncer in session mode: initialisation, bus, crons, readiness."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.addon.conftest import ADMINISTRATOR, Starter, Tenant, make_tenant
from tests.integration.addon.test_bus import cron_is_listening, heard, make_action, make_cron, subscribe
from tests.support.odoo_process import odoo
from tests.support.odoo_site import OdooSite, browse
from tests.support.pgbouncer import PgBouncerProcess, running_pgbouncer
from tests.support.postgres import PostgresProcess
from tests.support.waiting import eventually

from odoo_tenancy.services.postgres import PostgresServer


@pytest.fixture(scope="module")
def pooler(postgres: PostgresProcess) -> Iterator[PgBouncerProcess]:
    with running_pgbouncer(postgres) as process:
        yield process


def pooled(tenant: Tenant, pooler: PgBouncerProcess) -> Tenant:
    """With the address that its odoo.conf then has."""
    return replace(tenant, database=replace(tenant.database, port=pooler.port))


async def test_an_initialisation_and_a_template_of_it(
    postgres: PostgresProcess, server: PostgresServer, pooler: PgBouncerProcess, library: Path
) -> None:
    tenant = pooled(await make_tenant(postgres, server, secrets.token_hex(16), {}, None), pooler)
    with odoo(tenant.database, "-i", "base", "--stop-after-init", library=library) as process:
        process.start()
        status = await asyncio.to_thread(process.wait, 300)
        assert status == 0, process.log[-6000:]
    with postgres.superuser() as sql:
        left = sql.execute("SELECT FROM pg_stat_activity WHERE datname = %s", [tenant.database.name])
        assert left.fetchall(), "PgBouncer keeps what Odoo has left"
    with postgres.superuser(tenant.database.name) as sql:
        owners = sql.execute(
            "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
    assert owners == [(tenant.wanted.owner_role,)]
    await server.make_template(tenant.wanted, "tpl_through_a_pooler")
    await server.drop_template("tpl_through_a_pooler")
    await server.drop(tenant.wanted)


async def test_bus_and_cron_triggers_cross_through_it(
    start: Starter, tenant: Tenant, postgres: PostgresProcess, pooler: PgBouncerProcess
) -> None:
    tenant = pooled(tenant, pooler)
    web = start.web(tenant, workers=2)
    async with browse(web.url) as site:
        assert await site.log_in(*ADMINISTRATOR)
        cron = await make_cron(site, "env['bus.bus']._sendone('probe', 'woken', {'by': 'cron'})")
        trigger = await make_action(site, f"env['ir.cron'].browse({cron})._trigger()")
        process = start.prepare(tenant, "--no-http", crons=1, workers=2)
        process.start()
        await asyncio.to_thread(
            eventually, lambda: cron_is_listening(postgres, tenant), "the cron process listens"
        )
        async with OdooSite(site.session, web.websocket_url).websocket() as socket:
            await subscribe(socket, "probe")
            await site.call("ir.actions.server", "run", [trigger])
            assert await heard(socket, "woken") == {"by": "cron"}
    assert f"{tenant.database.name}/{tenant.database.user}@" in pooler.log


async def test_readiness_and_a_pgbouncer_that_restarts(
    start: Starter, tenant: Tenant, pooler: PgBouncerProcess
) -> None:
    web = start.web(pooled(tenant, pooler))
    pooler.stop()
    try:
        eventually(lambda: web.readiness() != 200, "not ready")
        assert web.liveness() == 200
    finally:
        pooler.start()
    eventually(lambda: web.readiness() == 200, lambda: f"ready: {web.readiness()}")
    async with browse(web.url) as site:
        assert await site.log_in(*ADMINISTRATOR)
