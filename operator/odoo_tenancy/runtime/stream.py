"""List, then watch, objects of one kind, for ever: what the children of all tenants are followed by."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Protocol

import aiohttp
import structlog

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.kinds import path
from odoo_tenancy.runtime.clock import Clock
from odoo_tenancy.runtime.silence import Silences, stream_name

log = structlog.get_logger("odoo_tenancy.watch")

CHUNK = 250
"""Objects per request of a list."""

_BREATH = 50
"""Objects after which a long list lets others run."""

ASK_AGAIN = 30.0
"""Seconds until a kind that isn't served, or may not be watched, is asked for again."""

RETRY_CAP = 10.0
"""Longest pause in seconds between two attempts to connect."""


@dataclass(frozen=True)
class Watched:
    """Objects of one kind in all namespaces, by label."""

    api_version: str
    kind: str
    selector: str = ""

    @property
    def path(self) -> str:
        """Of the collection."""
        return path(self.api_version, self.kind)

    @property
    def name(self) -> str:
        """For people and metrics."""
        return stream_name(self.path)


class _Expired(Exception):
    """The API server no longer knows the changes since then: list again."""


class _Absent(Exception):
    """The kind is not served: its CRD is not installed."""


class _Denied(Exception):
    """The operator may not list or watch that kind."""


class Feed(Protocol):
    """Who wants to know."""

    def saw(self, event_type: str, body: Manifest) -> None:
        """``ADDED`` (also for what was listed), ``MODIFIED`` or ``DELETED``, and the object."""
        ...

    def listed(self, watched: Watched, uids: frozenset[str]) -> None:
        """A list is complete: these exist. Nobody says what was deleted while no watch ran."""
        ...


class Stream:
    """One watch. Keeps no object and no task per object.

    Args:
        session: of ``Connection``.
        idle: seconds without a sign after which it connects anew.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        watched: Watched,
        feed: Feed,
        silences: Silences,
        clock: Clock,
        idle: float,
    ) -> None:
        self.watched = watched
        self._session = session
        self._feed = feed
        self._silences = silences
        self._clock = clock
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=idle)
        self._never = asyncio.Event()
        self._version: str | None = None
        self._failures = 0
        self.caught_up = asyncio.Event()
        """All that exists was seen once; or there is nothing to see, as the kind isn't served or isn't allowed."""

    async def run(self) -> None:
        """Follow for ever, whatever the network does. A kind that isn't served is asked for again now and
        then."""
        while True:
            try:
                self._silences.expect(self.watched.name)
                if self._version is None:
                    self._version = await self._list()
                    self.caught_up.set()
                await self._follow()
            except _Expired:
                self._version = None
            except _Absent:
                self._version = None
                self._silences.forget(self.watched.name)
                self.caught_up.set()
                await self._clock.wait(self._never, ASK_AGAIN)
            except _Denied:
                self._silences.deny(self.watched.name)
                self.caught_up.set()
                await self._clock.wait(self._never, ASK_AGAIN)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                await self._pause(error)

    async def _pause(self, error: Exception) -> None:
        """An idle stream connects anew at once; one that fails again and again waits longer and longer."""
        self._failures += 1
        if self._failures > 1:
            text = str(error) or type(error).__name__
            log.warning("watch failed", watch=self.watched.name, error=text, failures=self._failures)
        await self._clock.wait(self._never, min(RETRY_CAP, 0.1 * 2 ** min(self._failures, 10)))

    def _sign(self) -> None:
        self._failures = 0
        self._silences.heard(self.watched.name)

    async def _list(self) -> str:
        uids: set[str] = set()
        query = self._query() | {"limit": str(CHUNK)}
        while True:
            async with self._session.get(self.watched.path, params=query, timeout=self._timeout) as response:
                self._check(response)
                page = await response.json()
            self._sign()
            for number, item in enumerate(page["items"], 1):
                # The items of a list leave out what the list says for all of them.
                self._feed.saw(
                    "ADDED", {"apiVersion": self.watched.api_version, "kind": self.watched.kind} | item
                )
                uids.add(item["metadata"]["uid"])
                if number % _BREATH == 0:
                    await asyncio.sleep(0)
            if not page["metadata"].get("continue"):
                self._feed.listed(self.watched, frozenset(uids))
                return str(page["metadata"]["resourceVersion"])
            query["continue"] = page["metadata"]["continue"]

    async def _follow(self) -> None:
        """Read events until the server ends the stream; the next call goes on from the last one."""
        query = self._query() | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version or "",
        }
        async with self._session.get(self.watched.path, params=query, timeout=self._timeout) as response:
            self._check(response)
            self._sign()
            async for line in response.content:
                self._event(json.loads(line))

    def _event(self, event: Manifest) -> None:
        kind, body = event["type"], event["object"]
        if kind == "ERROR":
            if body.get("code") == 410:
                raise _Expired
            raise aiohttp.ClientPayloadError(f"the API server ended the watch: {body.get('message')}")
        self._sign()
        self._version = body["metadata"]["resourceVersion"]
        if kind != "BOOKMARK":
            self._feed.saw(kind, body)

    def _query(self) -> dict[str, str]:
        return {"labelSelector": self.watched.selector} if self.watched.selector else {}

    @staticmethod
    def _check(response: aiohttp.ClientResponse) -> None:
        if response.status == 404:
            raise _Absent
        if response.status == 403:
            raise _Denied
        if response.status == 410:
            raise _Expired
        response.raise_for_status()
