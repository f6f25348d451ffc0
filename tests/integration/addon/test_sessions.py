"""Sessions in Redis, as a browser sees them: two web processes, one site."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from tests.integration.addon.conftest import ADMINISTRATOR, Starter, Tenant, operator_of
from tests.support.odoo_process import OdooProcess
from tests.support.odoo_site import OdooSite, browse
from tests.support.postgres import PostgresProcess
from tests.support.redis import RedisProcess
from tests.support.waiting import eventually

SESSION = "/odoo"
"""Answers 200 to who is logged in, and sends anybody else to the login form."""
PATIENCE = 10
"""Seconds that a request may wait for a Redis that is silent: twice what the addon allows for one answer."""
NEW_PASSWORD = "an0ther-one"


def session_id(site: OdooSite) -> str:
    """The browser's cookie."""
    [cookie] = [each for each in site.session.cookie_jar if each.key == "session_id"]
    return cookie.value


async def with_cookie(url: str, value: str) -> int:
    """What somebody gets who kept an old cookie."""
    async with browse(url) as site:
        return await site.status(SESSION, headers={"Cookie": f"session_id={value}"})


def at(site: OdooSite, process: OdooProcess) -> OdooSite:
    """The same browser at another replica."""
    return OdooSite(site.session, process.url)


@contextmanager
def down(redis: RedisProcess) -> Iterator[None]:
    """A server that refuses connections."""
    redis.stop()
    try:
        yield
    finally:
        redis.start()


@contextmanager
def silent(redis: RedisProcess) -> Iterator[None]:
    """A server that accepts connections and never answers."""
    os.kill(redis.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(redis.pid, signal.SIGCONT)


@pytest.mark.parametrize("workers", [0, 2])
async def test_a_session_outlives_the_replica_that_began_it(
    start: Starter, tenant: Tenant, workers: int
) -> None:
    first, second = start.web(tenant, workers=workers), start.web(tenant, workers=workers)
    async with browse(first.url) as site:
        assert await site.log_in(*ADMINISTRATOR)
        before = session_id(site)
        first.kill()
        other = at(site, second)
        for _ in range(4):  # every worker
            assert await other.status(SESSION) == 200
        assert await other.call("res.users", "search_count", [["login", "=", "admin"]]) == 1
        assert session_id(site) == before


async def test_without_the_addon_it_does_not(start: Starter, tenant: Tenant) -> None:
    """What the test above protects from, and that it looks at the right thing."""
    first, second = start.web(tenant, environment={}), start.web(tenant, environment={})
    async with browse(first.url) as site:
        assert await site.log_in(*ADMINISTRATOR)
        assert await site.status(SESSION) == 200
        assert await at(site, second).status(SESSION) == 303


async def test_a_logout_ends_the_session_everywhere(start: Starter, tenant: Tenant) -> None:
    first, second = start.web(tenant), start.web(tenant)
    async with browse(first.url) as site:
        assert await site.log_in(*ADMINISTRATOR)
        kept = session_id(site)
        assert [await with_cookie(each.url, kept) for each in (first, second)] == [200, 200]
        await at(site, second).status("/web/session/logout")
        assert [await with_cookie(each.url, kept) for each in (first, second)] == [303, 303]


async def test_a_new_password_ends_the_sessions_everywhere(start: Starter, tenant: Tenant) -> None:
    first, second = start.web(tenant), start.web(tenant)
    async with browse(first.url) as one, browse(second.url) as two:
        assert await one.log_in(*ADMINISTRATOR)
        assert await two.log_in(*ADMINISTRATOR)
        assert await at(two, first).status(SESSION) == 200
        await one.call("res.users", "change_password", ADMINISTRATOR[1], NEW_PASSWORD)
        kept = session_id(two)
        assert [await with_cookie(each.url, kept) for each in (first, second)] == [303, 303]
    async with browse(second.url) as site:
        assert await site.log_in(ADMINISTRATOR[0], NEW_PASSWORD)


@pytest.mark.parametrize("fault", [down, silent])
async def test_without_redis_odoo_says_so_and_recovers_by_itself(
    start: Starter, tenant: Tenant, redis: RedisProcess, fault: Any
) -> None:
    """A 503 with a reason, for people and for programs; no session elsewhere; the same one afterwards."""
    web = start.web(tenant)
    async with browse(web.url) as site:
        assert await site.log_in(*ADMINISTRATOR)
        before = session_id(site)
        with fault(redis):
            begun = time.monotonic()
            async with site.session.get(f"{web.url}{SESSION}", allow_redirects=False) as page:
                assert page.status == 503
                assert time.monotonic() - begun < PATIENCE
                assert page.headers["Retry-After"] == "5"
                assert "Redis" in await page.text()
                assert "Set-Cookie" not in page.headers
            body = {"jsonrpc": "2.0", "method": "call", "id": 7, "params": {}}
            async with site.session.post(f"{web.url}/web/session/get_session_info", json=body) as answer:
                assert answer.status == 503
                told = await answer.json()
            assert (told["id"], told["error"]["code"]) == (7, 503)
            assert "Redis" in told["error"]["data"]["message"]
            async with browse(web.url) as stranger:
                assert not await stranger.log_in(*ADMINISTRATOR)
            assert (web.liveness(), web.readiness()) == (200, 200)
        await remake(redis, tenant)
        assert await site.status(SESSION) == 200
        assert session_id(site) == before
    assert not [path for path in (web.directory / "data").rglob("*") if before[:2] == path.parent.name]
    assert "sessions are not available" in web.log
    assert "Traceback" not in web.log


@pytest.mark.parametrize("files", [False, True])
async def test_a_database_that_is_away_logs_nobody_out(
    start: Starter, tenant: Tenant, postgres: PostgresProcess, files: bool
) -> None:
    """Odoo itself ends each session that asks for a page meanwhile."""
    web, name = start.web(tenant, environment={} if files else tenant.redis), tenant.database.name
    async with browse(web.url) as site:
        assert await site.log_in(*ADMINISTRATOR)
        before = session_id(site)
        with postgres.superuser() as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            eventually(lambda: web.readiness() == 500, lambda: f"not ready: {web.readiness()}")
            assert [await site.status(path) for path in (SESSION, "/web/login")] == [503, 503]
            url, body = (
                f"{web.url}/web/dataset/call_kw/res.users/read",
                {"jsonrpc": "2.0", "id": 3, "params": {}},
            )
            async with site.session.post(url, json=body) as answer:
                assert (answer.status, (await answer.json())["error"]["code"]) == (503, 503)
            assert web.liveness() == 200
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
        eventually(lambda: web.readiness() == 200, lambda: f"ready: {web.readiness()}")
        assert await site.status(SESSION) == 200
        assert session_id(site) == before
    assert "the database is not available, requests get status 503" in web.log


async def test_a_request_whose_session_cannot_be_saved_changes_nothing(
    start: Starter, tenant: Tenant, redis: RedisProcess
) -> None:
    """A tenant over its quota: who is in goes on, nobody comes in, who leaves is out."""
    web = start.web(tenant)
    async with browse(web.url) as site, browse(web.url) as late:
        assert await site.log_in(*ADMINISTRATOR)
        assert await site.status(SESSION) == 200  # notes the device in the session
        await remake(redis, tenant, full=True)
        assert await site.status(SESSION) == 200
        assert await site.call("res.partner", "search_count", []) > 0
        assert not await late.log_in(*ADMINISTRATOR)
        kept = session_id(site)
        assert await with_cookie(web.url, kept) == 200
        assert await site.status("/web/session/logout") == 503  # it wants to begin another session
        assert await with_cookie(web.url, kept) == 303
        await remake(redis, tenant)
        assert await late.log_in(*ADMINISTRATOR)
    assert "NoPermissionError" in web.log


async def test_a_restart_of_redis_is_survived_by_idle_connections(
    start: Starter, tenant: Tenant, redis: RedisProcess
) -> None:
    """Those that the server closed are found dead when they are next used; no request pays for it."""
    web = start.web(tenant, workers=2)
    async with browse(web.url) as site:
        assert await site.log_in(*ADMINISTRATOR)
        await asyncio.gather(*(site.status(SESSION) for _ in range(8)))
        redis.restart()
        await remake(redis, tenant)
        assert [await site.status(SESSION) for _ in range(8)] == [200] * 8
    assert "sessions are not available" not in web.log


async def test_a_new_password_of_the_redis_user_needs_no_restart(
    start: Starter, tenant: Tenant, redis: RedisProcess
) -> None:
    """Read from its file at each new connection."""
    variables = dict(tenant.redis)
    password = variables.pop("ODOO_TENANCY_REDIS_PASSWORD")
    web = start.prepare(tenant, environment=variables)
    file = web.directory / "redis-password"
    file.write_text(password)
    web.environment["ODOO_TENANCY_REDIS_PASSWORD_FILE"] = str(file)
    web.start()
    web.wait_until_ready()
    async with browse(web.url) as site:
        assert await site.log_in(*ADMINISTRATOR)
        with redis.client() as root:
            name = f"t_{tenant.claim}"
            root.execute_command("ACL", "SETUSER", name, "resetpass", ">renewed")
            file.write_text("renewed\n")
            root.execute_command("CLIENT", "KILL", "USER", name)
        assert await site.status(SESSION) == 200


async def test_a_certificate_that_nobody_signed_is_refused(start: Starter, tenant: Tenant) -> None:
    web = start.prepare(tenant)
    del web.environment["ODOO_TENANCY_REDIS_CA_FILE"]
    web.start()
    web.wait_until_ready()
    async with browse(web.url) as site:
        assert not await site.log_in(*ADMINISTRATOR)
    assert "certificate verify failed" in web.log


async def test_sessions_expire_by_odoos_own_parameter(
    start: Starter, tenant: Tenant, redis: RedisProcess
) -> None:
    web = start.web(tenant)
    async with browse(web.url) as site:
        assert await site.log_in(*ADMINISTRATOR)
        assert 600 < min(lifetimes(redis, tenant)) <= 7 * 24 * 3600
        await site.call("ir.config_parameter", "set_param", "sessions.max_inactivity_seconds", "600")
    async with browse(web.url) as site:
        assert await site.log_in(*ADMINISTRATOR)
    assert 0 < min(lifetimes(redis, tenant)) <= 600


def lifetimes(redis: RedisProcess, tenant: Tenant) -> list[int]:
    """Seconds that each session has left."""
    with redis.client() as root:
        return [root.ttl(key) for key in root.scan_iter(f"{tenant.redis['ODOO_TENANCY_REDIS_PREFIX']}*")]


async def test_no_log_line_tells_a_session_id(start: Starter, tenant: Tenant, redis: RedisProcess) -> None:
    """Of Odoo at its most talkative, whatever happens. (The first half, by which nobody gets in, names the device
    in the database, and Odoo logs it.)"""
    web = start.web(tenant, "--log-level=debug", "--log-handler=:DEBUG")
    seen = []
    async with browse(web.url) as site:
        await site.status("/web/login")
        seen.append(session_id(site))
        assert await site.log_in(*ADMINISTRATOR)
        seen.append(session_id(site))
        with down(redis):
            assert await site.status(SESSION) == 503
        await remake(redis, tenant)
        assert await site.status(SESSION) == 200
        await site.status("/web/session/logout")
        seen.append(session_id(site))
    assert len(set(seen)) == 3
    assert "DEBUG" in web.log
    assert not [each for each in seen if each[42:] in web.log]
    assert tenant.redis["ODOO_TENANCY_REDIS_PASSWORD"] not in web.log


async def remake(redis: RedisProcess, tenant: Tenant, *, full: bool = False) -> None:
    """As the operator does within a resync after a server without an aclfile was restarted."""
    assert tenant.redis_user is not None
    server = operator_of(redis)
    await server.ensure_user(replace(tenant.redis_user, full=full))
    await server.close()
