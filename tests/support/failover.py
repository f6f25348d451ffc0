"""The primary of a tenant's own PostgreSQL goes while its users go on."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from tests.support.load import Kubectl, Load, Request, Tenant, log_in
from tests.support.odoo_site import browse
from tests.support.tenants import until

CLUSTER = "clusters.postgresql.cnpg.io/postgres"
HEALTHY = "Cluster in healthy state"
SECONDS = 300.0
ENOUGH = 100
"""Requests that are written before, and after."""


@dataclass(frozen=True)
class FailedOver:
    """What became of the users."""

    began: float
    """When the primary was deleted: seconds of ``time.monotonic``."""
    requests: tuple[Request, ...]
    missing: int
    """Partners that Odoo had acknowledged and that are not there afterwards."""
    whole_again: float
    """Seconds until both instances were ready."""
    primaries: tuple[str, str]
    """Before and after."""

    @property
    def lost(self) -> tuple[Request, ...]:
        """Requests that failed."""
        return tuple(request for request in self.requests if request.problem)

    @property
    def seconds(self) -> float:
        """From the deletion until the last request began that failed: all that began later were answered."""
        return max((request.began - self.began for request in self.lost), default=0.0)

    @property
    def written_later(self) -> int:
        """Requests that wrote, began after that, and were answered."""
        return sum(
            1
            for request in self.requests
            if request.kind == "write" and not request.problem and request.began > self.began + self.seconds
        )


@dataclass(frozen=True)
class Server:
    """The Cluster in a tenant's data namespace."""

    kubectl: Kubectl
    namespace: str

    def ask(self, path: str) -> str:
        """A field of it."""
        return self.kubectl("-n", self.namespace, "get", CLUSTER, "-o", f"jsonpath={{{path}}}")

    @property
    def primary(self) -> str:
        """The pod that writes now."""
        return self.ask(".status.currentPrimary")

    @property
    def whole(self) -> bool:
        """Both instances are ready, and CloudNativePG says so."""
        return (self.ask(".status.phase"), self.ask(".status.readyInstances")) == (HEALTHY, "2")

    def delete_primary(self) -> None:
        """At once, and nobody waits for its end."""
        self.kubectl("-n", self.namespace, "delete", "pod", self.primary, "--now", "--wait=false")


async def fail_over_under_load(kubectl: Kubectl, namespace: str, name: str, password: str) -> FailedOver:
    """Delete the primary's pod while the tenant's users go on.

    Args:
        kubectl: runs it, and returns what it prints.
        password: of the tenant's administrator.
    """
    tenant = Tenant(kubectl, namespace, name)
    server = Server(kubectl, f"{tenant.ask('.status.namespace')}-data")
    async with browse(tenant.ask(".status.url")) as site:
        await until(f"{site.url} lets its administrator in", lambda: log_in(site, password))
        load = Load(site, None)
        users = asyncio.create_task(load.run())
        try:
            await until("users write", lambda: _more(load, ENOUGH), every=0.1)
            before, began = await asyncio.to_thread(lambda: server.primary), time.monotonic()
            await asyncio.to_thread(server.delete_primary)
            await until("another primary", lambda: _other(server, before), SECONDS)
            await until("both instances are ready", lambda: _whole(server), SECONDS)
            whole_again = time.monotonic() - began
            count = len(load.acknowledged)
            await until("users write again", lambda: _more(load, count + ENOUGH), SECONDS, every=0.1)
        finally:
            load.stop()
            await users
        found = await site.call("res.partner", "search_count", [["name", "in", load.acknowledged]])
    return FailedOver(
        began=began,
        requests=tuple(load.requests),
        missing=len(load.acknowledged) - found,
        whole_again=whole_again,
        primaries=(before, await asyncio.to_thread(lambda: server.primary)),
    )


async def _more(load: Load, count: int) -> bool:
    return len(load.acknowledged) > count


async def _other(server: Server, before: str) -> bool:
    return await asyncio.to_thread(lambda: server.primary) not in ("", before)


async def _whole(server: Server) -> bool:
    return await asyncio.to_thread(lambda: server.whole)
