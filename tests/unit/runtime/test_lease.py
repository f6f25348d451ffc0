"""Who gets the Lease and who loses it, under clocks that stand still and an API server in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Any, cast

import aiohttp
import pytest
from tests.unit.runtime.clock import FakeClock, settle

from odoo_tenancy.runtime.lease import Lease, LeaseLost, LeaseTerms


class Response:
    def __init__(self, status: int, body: Any = None) -> None:
        self.status, self._body = status, body

    def raise_for_status(self) -> None:
        if self.status >= 400:
            raise aiohttp.ClientError(f"HTTP {self.status}")

    async def json(self) -> Any:
        return deepcopy(self._body)


class Api:
    """One Lease, with optimistic locking; counts what it is asked."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.asked: list[str] = []
        self.down = False
        self.namespace_exists = True

    def get(self, url: str) -> Any:
        return self.request("GET", url)

    @asynccontextmanager
    async def request(self, method: str, url: str, json: Any = None) -> AsyncIterator[Response]:
        self.asked.append(method)
        if self.down:
            raise aiohttp.ClientConnectionError("down")
        yield self._answer(method, json)

    def _answer(self, method: str, body: Any) -> Response:
        if not self.namespace_exists:
            return Response(404)
        if method == "GET":
            return Response(200, self.lease) if self.lease else Response(404)
        if method == "POST":
            return self._store(body, 0) if self.lease is None else Response(409)
        if self.lease is None:
            return Response(404)
        version = self.lease["metadata"]["resourceVersion"]
        return self._store(body, version) if body["metadata"]["resourceVersion"] == version else Response(409)

    def _store(self, body: Any, version: int) -> Response:
        self.lease = deepcopy(body)
        self.lease["metadata"]["resourceVersion"] = version + 1
        return Response(201, self.lease)

    @property
    def spec(self) -> dict[str, Any]:
        assert self.lease is not None
        return cast(dict[str, Any], self.lease["spec"])


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def lease(api: Api, clock: FakeClock, identity: str) -> Lease:
    terms = LeaseTerms("odoo-tenancy-system", "odoo-tenancy", identity, 15, 10, 2)
    return Lease(cast(aiohttp.ClientSession, api), terms, clock)


async def test_the_first_gets_it_and_renews_it_with_one_request(api: Api, clock: FakeClock) -> None:
    first = lease(api, clock, "first")
    await first.acquire()
    assert first.held()
    assert api.spec["holderIdentity"] == "first"
    assert (api.spec["leaseDurationSeconds"], api.spec["leaseTransitions"]) == (15, 0)
    api.asked.clear()
    keeping = asyncio.create_task(first.keep())
    await clock.advance(60)
    assert first.held()
    assert set(api.asked) == {"PUT"}
    assert len(api.asked) == 30
    keeping.cancel()


async def test_another_waits_while_it_is_renewed_and_takes_it_when_it_is_not(
    api: Api, clock: FakeClock
) -> None:
    first, second = lease(api, clock, "first"), lease(api, clock, "second")
    await first.acquire()
    keeping = asyncio.create_task(first.keep())
    waiting = asyncio.create_task(second.acquire())
    await clock.advance(100)
    assert not waiting.done()
    keeping.cancel()
    await clock.advance(14)
    assert not waiting.done()
    await clock.advance(6)
    assert waiting.done()
    assert second.held()
    assert (api.spec["holderIdentity"], api.spec["leaseTransitions"]) == ("second", 1)


async def test_the_holder_gives_up_before_another_may_take_it(api: Api, clock: FakeClock) -> None:
    first, second = lease(api, clock, "first"), lease(api, clock, "second")
    await first.acquire()
    keeping = asyncio.create_task(first.keep())
    await clock.advance(20)
    api.down = True
    await clock.advance(12)
    assert not first.held()
    with pytest.raises(LeaseLost):
        await asyncio.wait_for(keeping, 5)
    api.down = False
    waiting = asyncio.create_task(second.acquire())
    await settle()
    assert not waiting.done(), "what expired elsewhere has not expired until we saw it unchanged for so long"
    waiting.cancel()


async def test_an_outage_shorter_than_the_deadline_is_survived(api: Api, clock: FakeClock) -> None:
    first = lease(api, clock, "first")
    await first.acquire()
    keeping = asyncio.create_task(first.keep())
    api.down = True
    await clock.advance(7)
    api.down = False
    await clock.advance(20)
    assert first.held()
    keeping.cancel()


async def test_one_that_was_asleep_does_not_lead_on(api: Api, clock: FakeClock) -> None:
    first = lease(api, clock, "first")
    await first.acquire()
    keeping = asyncio.create_task(first.keep())
    await settle()
    clock.time += 30  # the loop was frozen
    assert not first.held()
    api.asked.clear()
    await clock.advance(0)
    with pytest.raises(LeaseLost):
        await asyncio.wait_for(keeping, 5)
    assert api.asked == [], "it may be somebody else's by now: not even asked for"


async def test_a_thief_is_noticed(api: Api, clock: FakeClock) -> None:
    first = lease(api, clock, "first")
    await first.acquire()
    keeping = asyncio.create_task(first.keep())
    await settle()
    assert api.lease is not None
    api.lease["spec"]["holderIdentity"] = "thief"
    api.lease["metadata"]["resourceVersion"] += 1
    await clock.advance(2)
    with pytest.raises(LeaseLost, match="thief"):
        await asyncio.wait_for(keeping, 5)
    await first.release()
    assert api.spec["holderIdentity"] == "thief"


async def test_somebody_elses_label_on_it_does_not_cost_it(api: Api, clock: FakeClock) -> None:
    first = lease(api, clock, "first")
    await first.acquire()
    keeping = asyncio.create_task(first.keep())
    await settle()
    assert api.lease is not None
    api.lease["metadata"] |= {"labels": {"team": "a"}, "resourceVersion": 99}
    await clock.advance(4)
    assert first.held()
    assert api.lease["metadata"]["labels"] == {"team": "a"}
    keeping.cancel()


async def test_a_deleted_lease_is_made_anew(api: Api, clock: FakeClock) -> None:
    first = lease(api, clock, "first")
    await first.acquire()
    keeping = asyncio.create_task(first.keep())
    await settle()
    api.lease = None
    await clock.advance(2)
    assert first.held()
    assert api.spec["holderIdentity"] == "first"
    keeping.cancel()


async def test_what_is_given_back_is_taken_at_once(api: Api, clock: FakeClock) -> None:
    first, second = lease(api, clock, "first"), lease(api, clock, "second")
    await first.acquire()
    await first.release()
    assert not first.held()
    await asyncio.wait_for(second.acquire(), 1)
    assert second.held()


async def test_a_missing_namespace_is_an_error_and_not_a_wait(api: Api, clock: FakeClock) -> None:
    api.namespace_exists = False
    first = lease(api, clock, "first")
    before = first.last_answer
    waiting = asyncio.create_task(first.acquire())
    await clock.advance(10)
    assert not waiting.done()
    assert first.last_answer == before, "readiness must turn red for it"
    waiting.cancel()
