"""What people notice of a full database: Odoo itself, as the image has it, before, while and after."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from tests.integration.services.postgres.conftest import OPERATOR, address_of, new_tenant
from tests.support.odoo_process import Database, OdooProcess, odoo
from tests.support.odoo_site import HERE, OdooSite, OneAddress
from tests.support.postgres import PostgresProcess, majors, programs_of, running_postgres

from odoo_tenancy.services.postgres import PostgresServer, TenantDatabase

PASSWORD = "ascii-for-odoo-conf"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="Odoo out of our image needs root")


@pytest.fixture(scope="module")
def newest() -> Iterator[PostgresProcess]:
    """Elsewhere Odoo runs on the oldest."""
    with running_postgres(programs_of(majors()[-1])) as process:
        yield process


@pytest.fixture(scope="module")
async def operator(newest: PostgresProcess) -> AsyncIterator[PostgresServer]:
    server = PostgresServer(address_of(newest), OPERATOR)
    yield server
    await server.close()


@pytest.fixture(scope="module")
async def site_of(
    newest: PostgresProcess, operator: PostgresServer
) -> AsyncIterator[tuple[TenantDatabase, OdooProcess]]:
    tenant = new_tenant(connection_limit=40)
    await operator.ensure_roles(tenant, PASSWORD)
    await operator.ensure_database(tenant)
    database = Database(newest.host, newest.port, tenant.database, tenant.login_role, PASSWORD, newest.ca_pem)
    with odoo(database, "-i", "base,web,bus", "--stop-after-init", library=None, subcommand=()) as process:
        process.start()
        assert await asyncio.to_thread(process.wait, 400) == 0, process.log[-6000:]
    with odoo(database, library=None, subcommand=(), crons=1) as process:
        process.start()
        await asyncio.to_thread(process.wait_until_ready)
        yield tenant, process


async def browser(process: OdooProcess) -> OdooSite:
    connector = aiohttp.TCPConnector(resolver=OneAddress(HERE))
    return OdooSite(
        aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.CookieJar(unsafe=True)), process.url
    )


async def test_login_reading_changing_and_deleting_go_on_and_the_error_names_what_is_wrong(
    newest: PostgresProcess, operator: PostgresServer, site_of: tuple[TenantDatabase, OdooProcess]
) -> None:
    tenant, process = site_of
    before = await browser(process)
    assert await before.log_in("admin", "admin")
    partners = [await before.call("res.partner", "create", {"name": f"partner {n}"}) for n in range(3)]
    pages = [await before.status(path) for path in ("/odoo", "/web/login")]
    await operator.restrict(tenant, PASSWORD)
    started = len(process.log)

    during = await browser(process)
    assert await during.log_in("admin", "admin")
    assert await during.call("res.partner", "search_count", [("name", "like", "partner ")]) == 3
    assert await before.call("res.partner", "search_count", [("name", "like", "partner ")]) == 3
    assert await during.call("res.partner", "write", partners[:1], {"name": "changed"})
    assert await during.call("res.partner", "unlink", partners[1:2])
    assert [await before.status(path) for path in ("/odoo", "/web/login")] == pages
    cron = await during.call("ir.cron", "search", [("code", "like", "_run_vacuum_cleaner")])
    assert await during.call(
        "ir.cron", "method_direct_trigger", cron
    )  # what makes room must not be what fails
    with pytest.raises(AssertionError, match="permission denied for table res_partner"):
        await during.call("res.partner", "create", {"name": "one too many"})
    refused = set(re.findall(r"permission denied for \w+ (\w+)", process.log[started:]))
    assert refused == {"res_partner"}

    await operator.release(tenant, PASSWORD)
    assert await during.call("res.partner", "create", {"name": "there is room again"})
    for each in (before, during):
        await each.session.close()
