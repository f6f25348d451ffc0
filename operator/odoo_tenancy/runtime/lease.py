"""One replica works at a time: the one that holds a Lease of coordination.k8s.io.

``kubernetes.aio.leaderelection`` is not used: it writes local time as if it were UTC, lets a renewal hang for
the client's five minutes (while somebody else already leads), stops at the first error that is not an API
answer, and has no way to give the Lease back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
import structlog

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.runtime.clock import Clock

log = structlog.get_logger("odoo_tenancy.lease")


class LeaseLost(Exception):
    """Another replica may lead from now on: stop at once, write nothing more."""


@dataclass(frozen=True)
class LeaseTerms:
    """Who asks for which Lease, and its times in seconds (as in ``Settings``)."""

    namespace: str
    name: str
    identity: str
    duration: float
    renew_deadline: float
    retry_period: float


class Lease:
    """Asks for the Lease, renews it, gives it back.

    Other replicas' clocks are not trusted: a Lease has expired when *we* have seen it unchanged for its
    duration.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        terms: LeaseTerms,
        clock: Clock,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._session = session
        self._terms = terms
        self._clock = clock
        self._wall = wall
        self._never = asyncio.Event()
        self._seen: tuple[str, float] = ("", 0.0)  # what somebody else's Lease looked like, and since when
        self._held_since: float | None = None
        self._ours: Manifest | None = None  # as we last wrote it: renewed without reading it first
        self.holder = ""
        self.last_answer = clock.now()
        """When the API server last answered about the Lease, whatever it said."""

    @property
    def _url(self) -> str:
        return f"/apis/coordination.k8s.io/v1/namespaces/{self._terms.namespace}/leases"

    @property
    def _named(self) -> str:
        return f"{self._url}/{self._terms.name}"

    def held(self) -> bool:
        """Whether the Lease is surely ours in this moment."""
        return self._held_since is not None and self.remaining() > 0

    def remaining(self) -> float:
        """Seconds until we have to give up unless a renewal succeeds."""
        if self._held_since is None:
            return 0
        return self._held_since + self._terms.renew_deadline - self._clock.now()

    async def acquire(self) -> None:
        """Wait until the Lease is ours."""
        while not await self._attempt(self._terms.renew_deadline):
            await self._clock.wait(self._never, self._terms.retry_period)
        log.info("lease acquired", lease=self._terms.name, identity=self._terms.identity)

    async def keep(self) -> None:
        """Renew for ever.

        Raises:
            LeaseLost: somebody else has it, or no renewal succeeded within the deadline.
        """
        while True:
            await self._clock.wait(self._never, self._terms.retry_period)
            renewed = self.held() and await self._attempt(self.remaining())
            if not renewed and (not self.held() or self.holder != self._terms.identity):
                self._held_since = None
                raise LeaseLost(
                    f"The Lease {self._terms.namespace}/{self._terms.name} is no longer ours "
                    f"(holder: {self.holder or 'nobody known'})."
                )

    async def release(self) -> None:
        """Give it back, so that the next replica need not wait. Failing to is harmless: it expires."""
        if not self.held():
            return
        self._held_since = None
        try:
            async with asyncio.timeout(self._terms.retry_period):
                lease = await self._read()
                if lease is not None and lease["spec"].get("holderIdentity") == self._terms.identity:
                    # As client-go does: no holder, and a duration of a second for those who look at that.
                    lease["spec"] |= {
                        "holderIdentity": "",
                        "leaseDurationSeconds": 1,
                        "renewTime": self._timestamp(),
                    }
                    await self._write("PUT", self._named, lease)
                    log.info("lease released", lease=self._terms.name)
        except (aiohttp.ClientError, TimeoutError) as error:
            log.warning(
                "lease not released", lease=self._terms.name, error=str(error) or type(error).__name__
            )

    async def _attempt(self, deadline: float) -> bool:
        """One try to take or renew it. The moment *before* the request counts as that of the renewal."""
        asked = self._clock.now()
        try:
            async with asyncio.timeout(deadline):
                ours = await self._take()
        except (aiohttp.ClientError, TimeoutError) as error:
            log.warning("lease not reached", lease=self._terms.name, error=str(error) or type(error).__name__)
            return False
        self.last_answer = self._clock.now()
        if ours:
            self._held_since = asked
            self.holder = self._terms.identity
        return ours

    async def _take(self) -> bool:
        if self._ours is not None and await self._write("PUT", self._named, self._renewed(self._ours)):
            return True
        lease = await self._read()
        if lease is None:
            body: Manifest = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self._terms.name},
                "spec": self._spec({}),
            }
            return await self._write("POST", self._url, body)
        spec = lease.get("spec") or {}
        self.holder = spec.get("holderIdentity") or ""
        if self.holder not in ("", self._terms.identity) and not self._expired(spec):
            return False
        return await self._write("PUT", self._named, self._renewed(lease))

    def _renewed(self, lease: Manifest) -> Manifest:
        return lease | {"spec": self._spec(lease.get("spec") or {})}

    def _expired(self, spec: dict[str, Any]) -> bool:
        mark = f"{spec.get('holderIdentity')} {spec.get('renewTime')}"
        if mark != self._seen[0]:
            self._seen = (mark, self._clock.now())
        duration = float(spec.get("leaseDurationSeconds") or self._terms.duration)
        return self._clock.now() - self._seen[1] > duration

    def _spec(self, before: dict[str, Any]) -> dict[str, Any]:
        now = self._timestamp()
        spec = before | {
            "holderIdentity": self._terms.identity,
            "leaseDurationSeconds": max(1, round(self._terms.duration)),
            "renewTime": now,
        }
        if before.get("holderIdentity") != self._terms.identity:
            spec |= {
                "acquireTime": now,
                "leaseTransitions": int(before.get("leaseTransitions") or 0) + bool(before),
            }
        return spec

    def _timestamp(self) -> str:
        return self._wall().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    async def _read(self) -> Manifest | None:
        async with self._session.get(self._named) as response:
            if response.status == 404:
                return None
            response.raise_for_status()
            lease: Manifest = await response.json()
            return lease

    async def _write(self, method: str, url: str, lease: Manifest) -> bool:
        """Whether it was written; not when somebody was faster (the resourceVersion in it is the guard), or when
        somebody deleted it."""
        async with self._session.request(method, url, json=lease) as response:
            self._ours = None
            if response.status == 409 or (response.status == 404 and method == "PUT"):
                return False
            response.raise_for_status()
            self._ours = await response.json()
            return True
