"""A watch against an API server of our own making: chunks, expiry, absence, refusal, silence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.runtime import stream as module
from odoo_tenancy.runtime.clock import RealClock
from odoo_tenancy.runtime.silence import Silences
from odoo_tenancy.runtime.stream import Stream, Watched

SECRETS = Watched("v1", "Secret", "app.kubernetes.io/managed-by=odoo-tenancy")


def secret(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}}


class Feed:
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.lists: list[frozenset[str]] = []
        self.bodies: list[Manifest] = []

    def saw(self, event_type: str, body: Manifest) -> None:
        self.events.append((event_type, body["metadata"]["name"]))
        self.bodies.append(body)

    def listed(self, watched: Watched, uids: frozenset[str]) -> None:
        self.lists.append(uids)


class FakeApi:
    """Answers by a script; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.lists: Callable[[dict[str, str]], tuple[int, Any]] = lambda _: (200, self.page([]))
        self.watches: list[Callable[[web.StreamResponse], Awaitable[None]]] = []

    @staticmethod
    def page(items: list[dict[str, Any]], version: str = "100", more: str = "") -> dict[str, Any]:
        return {"metadata": {"resourceVersion": version, "continue": more}, "items": items}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        self.asked.append(query)
        if "watch" not in query:
            status, body = self.lists(query)
            return web.json_response(body, status=status)
        response = web.StreamResponse()
        await response.prepare(request)
        if self.watches:
            await self.watches.pop(0)(response)
        else:
            await asyncio.Event().wait()
        return response

    def send(self, *events: tuple[str, dict[str, Any]], hang: bool = False) -> None:
        async def script(response: web.StreamResponse) -> None:
            for kind, body in events:
                await response.write(json.dumps({"type": kind, "object": body}).encode() + b"\n")
            if hang:
                await asyncio.Event().wait()

        self.watches.append(script)

    def watched_from(self) -> list[str]:
        return [query["resourceVersion"] for query in self.asked if "watch" in query]


class Rig:
    def __init__(self, api: FakeApi, session: aiohttp.ClientSession) -> None:
        self.api, self.feed, self.clock = api, Feed(), RealClock()
        self.silences = Silences(self.clock.now)
        self.stream = Stream(session, SECRETS, self.feed, self.silences, self.clock, idle=0.3)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Run the watch until something is so."""
        running = asyncio.create_task(self.stream.run())
        try:
            async with asyncio.timeout(10):
                while not condition():
                    await asyncio.sleep(0.005)
                    if running.done():
                        await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    api = FakeApi()
    app = web.Application()
    app.router.add_get("/api/v1/secrets", api.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession(base_url=f"http://{host}:{port}", read_bufsize=2**21) as session:
        yield Rig(api, session)
    await runner.cleanup()


async def test_it_lists_in_chunks_by_label_and_then_watches_from_there(rig: Rig) -> None:
    pages = {"": rig.api.page([secret("a", 1)], more="token"), "token": rig.api.page([secret("b", 2)], "77")}
    rig.api.lists = lambda query: (200, pages[query.get("continue", "")])
    rig.api.send(("MODIFIED", secret("a", 78)), ("DELETED", secret("b", 79)), hang=True)
    await rig.until(lambda: len(rig.feed.events) == 4)
    assert rig.feed.events == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]
    assert rig.feed.lists == [frozenset({"uid-a", "uid-b"})]
    assert rig.feed.bodies[0] | {"apiVersion": "v1", "kind": "Secret"} == rig.feed.bodies[0]
    assert {query["labelSelector"] for query in rig.api.asked} == {SECRETS.selector}
    assert rig.api.asked[0]["limit"] == str(module.CHUNK)
    assert rig.api.watched_from() == ["77"]


async def test_a_stream_that_ends_goes_on_from_its_last_event_and_bookmark(rig: Rig) -> None:
    rig.api.send(("ADDED", secret("a", 101)))
    rig.api.send(("BOOKMARK", secret("", 150)))
    await rig.until(lambda: len(rig.api.watched_from()) >= 3)
    assert rig.api.watched_from()[:3] == ["100", "101", "150"]
    assert len(rig.feed.lists) == 1
    assert rig.feed.events == [("ADDED", "a")]


async def test_what_expired_is_listed_anew(rig: Rig) -> None:
    rig.api.send(("ERROR", {"code": 410, "message": "too old"}))
    await rig.until(lambda: len(rig.feed.lists) == 2)


async def test_a_quiet_stream_is_connected_anew_without_a_list(rig: Rig) -> None:
    rig.api.send(hang=True)
    rig.api.send(("ADDED", secret("a", 101)), hang=True)
    await rig.until(lambda: len(rig.feed.events) == 1)
    assert rig.api.watched_from() == ["100", "100"]
    assert len(rig.feed.lists) == 1


async def test_an_event_longer_than_aiohttps_default_line_is_read(rig: Rig) -> None:
    long = secret("a", 101) | {"data": {"x": "y" * 1_500_000}}
    rig.api.send(("ADDED", long), hang=True)
    await rig.until(lambda: len(rig.feed.events) == 1)


async def test_a_line_cut_off_is_read_again(rig: Rig) -> None:
    async def cut(response: web.StreamResponse) -> None:
        await response.write(b'{"type": "ADDED", "obj')

    rig.api.watches.append(cut)
    rig.api.send(("ADDED", secret("a", 101)), hang=True)
    await rig.until(lambda: len(rig.feed.events) == 1)


async def test_errors_of_the_server_pass(rig: Rig) -> None:
    answers = iter([(500, {}), (429, {}), (200, rig.api.page([secret("a", 1)]))])
    rig.api.lists = lambda _: next(answers)
    await rig.until(lambda: len(rig.feed.events) == 1)


async def test_a_kind_that_is_not_served_is_no_dead_watch(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ASK_AGAIN", 0.01)
    rig.api.lists = lambda _: (404, {})
    await rig.until(lambda: len(rig.api.asked) > 2)
    assert rig.silences.seconds() == ()
    rig.api.lists = lambda _: (200, rig.api.page([secret("a", 1)]))
    await rig.until(lambda: len(rig.feed.events) == 1)
    assert [name for name, _ in rig.silences.seconds()] == ["secrets"]


async def test_a_missing_right_is_named(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ASK_AGAIN", 0.01)
    rig.api.lists = lambda _: (403, {})
    await rig.until(lambda: rig.silences.denied == ("secrets",))
    rig.api.lists = lambda _: (200, rig.api.page([]))
    await rig.until(lambda: rig.silences.denied == ())
