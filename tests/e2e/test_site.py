"""The example tenants as their users meet them: through Traefik, over HTTPS."""

from __future__ import annotations

import pytest
from tests.support.odoo_site import browse
from tests.support.tenants import Tenants
from yarl import URL

BOTH = pytest.mark.parametrize("name", ["acme", "initech"])


@BOTH
async def test_the_password_of_the_secret_logs_in_and_reads(tenants: Tenants, name: str) -> None:
    tenant = await tenants.get(name)
    async with browse(tenant.status.url) as site:
        assert await site.log_in("admin", await tenants.password(name))
        users = await site.call("res.users", "search_read", [["login", "=", "admin"]], ["login"])
        assert [user["login"] for user in users] == ["admin"]


@BOTH
@pytest.mark.parametrize("password", ["admin", "demo", ""])
async def test_no_known_password_logs_in(tenants: Tenants, name: str, password: str) -> None:
    tenant = await tenants.get(name)
    async with browse(tenant.status.url) as site:
        assert not await site.log_in("admin", password)


async def test_one_tenants_password_is_no_key_to_another(tenants: Tenants) -> None:
    acme = await tenants.get("acme")
    async with browse(acme.status.url) as site:
        assert not await site.log_in("admin", await tenants.password("initech"))


@BOTH
async def test_the_bus_shakes_hands(tenants: Tenants, name: str) -> None:
    """With workers it listens on a port of its own, without it shares the site's."""
    tenant = await tenants.get(name)
    async with browse(tenant.status.url) as site:
        assert await site.log_in("admin", await tenants.password(name))
        async with site.websocket() as socket:
            assert not socket.closed


@BOTH
async def test_http_leads_to_https(tenants: Tenants, name: str) -> None:
    tenant = await tenants.get(name)
    async with browse(tenant.status.url.replace("https://", "http://")) as site:
        assert await site.status("/web/login") in (301, 308)


@BOTH
@pytest.mark.parametrize(
    "path",
    [
        "/web/database/manager",
        "/web/database/selector",
        "/web/database/backup",
        "/web//database/manager",
        "/web/./database/manager",
        "/WEB/database/manager",
        "/web%2Fdatabase%2Fmanager",
        "/xmlrpc/db",
        "/xmlrpc/2/db",
    ],
)
async def test_databases_are_not_managed_from_outside(tenants: Tenants, name: str, path: str) -> None:
    tenant = await tenants.get(name)
    async with (
        browse(tenant.status.url) as site,
        site.session.get(URL(tenant.status.url + path, encoded=True), allow_redirects=False) as answer,
    ):
        assert answer.status in (403, 404), await answer.text()


@BOTH
async def test_security_headers(tenants: Tenants, name: str) -> None:
    tenant = await tenants.get(name)
    async with (
        browse(tenant.status.url) as site,
        site.session.get(f"{tenant.status.url}/web/login") as answer,
    ):
        assert "max-age=" in answer.headers["Strict-Transport-Security"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
        assert answer.headers["Referrer-Policy"] == "strict-origin-when-cross-origin"
        assert "Server" not in answer.headers, "Werkzeug names itself and its version"
