"""A database at its ``maxSize``, as who uses the real Odoo sees it."""

from __future__ import annotations

from typing import Any

from tests.e2e.test_sessions import log_in, who
from tests.support.odoo_site import OdooSite, browse
from tests.support.tenants import Tenants

PARTNER = "res.partner"


async def test_a_full_odoo_is_read_and_emptied_and_adds_nothing(tenants: Tenants) -> None:
    await tenants.create("gringotts")
    tenant = await tenants.ready("gringotts")
    async with browse(tenant.status.url) as site:
        await log_in(tenants, site, "gringotts")
        kept = await site.call(PARTNER, "create", {"name": "there before"})

    with tenants.operator_stopped():
        pass  # an operator that begins measures at once, else every five minutes
    await tenants.patch("gringotts", {"database": {"maxSize": "10Mi"}})
    message = await tenants.says("gringotts", "DatabaseReady", "DatabaseFull")
    assert "spec.database.maxSize 10Mi" in message

    async with browse(tenant.status.url) as site:
        await log_in(tenants, site, "gringotts")  # anew: the login itself writes
        assert await who(site) == "admin"
        assert await site.status("/odoo") == 200
        (found,) = await site.call(PARTNER, "read", [kept], ["name"])
        assert found["name"] == "there before"
        error = await _refused(site, "create", {"name": "one more"})
        assert "permission denied" in error["data"]["message"], error
        assert await site.call(PARTNER, "unlink", [kept])
        assert await site.call(PARTNER, "search", [["name", "in", ["there before", "one more"]]]) == []

        await tenants.patch("gringotts", {"database": {"maxSize": "10Gi"}})
        await tenants.ready("gringotts")
        await log_in(tenants, site, "gringotts")
        assert await site.call(PARTNER, "create", {"name": "room again"})
    await tenants.delete("gringotts")


async def _refused(site: OdooSite, method: str, *arguments: Any) -> dict[str, Any]:
    """The error that the web client shows in a dialog."""
    body = {
        "jsonrpc": "2.0",
        "method": "call",
        "params": {"model": PARTNER, "method": method, "args": arguments, "kwargs": {}},
    }
    async with site.session.post(f"{site.url}/web/dataset/call_kw/{PARTNER}/{method}", json=body) as answer:
        assert answer.status == 200, await answer.text()
        found = await answer.json(content_type=None)
    assert "error" in found, f"{method} was not refused: {found}"
    error: dict[str, Any] = found["error"]
    return error
