"""Workers under a clock that stands still: bounded, never two on a key, drained on a stop, one line each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import structlog
from tests.unit.runtime.clock import FakeClock, settle

from odoo_tenancy.api.errors import Refused, Unavailable, Waiting
from odoo_tenancy.api.meta import Key
from odoo_tenancy.reconcile.result import Result
from odoo_tenancy.runtime.metrics import Metrics
from odoo_tenancy.runtime.queue import Backoff, WorkQueue
from odoo_tenancy.runtime.workers import Workers


class Bench:
    """A reconciler that does as it is told, and remembers."""

    def __init__(self, count: int = 2) -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.queue = WorkQueue(self.clock.now, lambda _: 300.0, Backoff(1, 60, 0))
        self.workers = Workers(self.queue, {"OdooTenant": self.reconcile}, count, self.clock, self.metrics)
        self.outcome: Result | Exception = Result()
        self.gate: asyncio.Event | None = None
        self.running: set[Key] = set()
        self.most_at_once = 0
        self.seen: list[tuple[float, str]] = []

    async def reconcile(self, key: Key) -> Result:
        assert key not in self.running
        self.running.add(key)
        self.most_at_once = max(self.most_at_once, len(self.running))
        self.seen.append((self.clock.now() - 1000, key.name))
        try:
            if self.gate:
                await self.gate.wait()
            if isinstance(self.outcome, Exception):
                raise self.outcome
            return self.outcome
        finally:
            self.running.discard(key)

    def add(self, *names: str) -> None:
        for name in names:
            self.queue.add(Key("OdooTenant", "tenants", name))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    task = asyncio.create_task(bench.workers.run())
    yield bench
    await bench.workers.drain(0)
    await asyncio.wait_for(task, 1)


async def test_no_more_than_so_many_at_once(bench: Bench) -> None:
    bench.gate = asyncio.Event()
    bench.add(*"abcde")
    await settle()
    assert bench.most_at_once == 2
    assert bench.queue.state().depth == 3
    bench.gate.set()
    await settle()
    assert sorted(name for _, name in bench.seen) == list("abcde")
    assert bench.most_at_once == 2


async def test_an_event_during_the_work_asks_for_more_work(bench: Bench) -> None:
    bench.gate = asyncio.Event()
    bench.add("a")
    await settle()
    bench.add("a")
    await settle()
    assert len(bench.seen) == 1
    bench.gate.set()
    await settle()
    assert len(bench.seen) == 2


async def test_failures_come_back_by_backoff_and_heal(bench: Bench) -> None:
    bench.outcome = Unavailable("Down", "PostgreSQL does not answer.")
    bench.add("a")
    await bench.clock.advance(8)
    assert [at for at, _ in bench.seen] == [0, 1, 3, 7]
    bench.outcome = Result(requeue_after=2)
    await bench.clock.advance(11)
    assert [at for at, _ in bench.seen] == [0, 1, 3, 7, 15, 17, 19]


async def test_an_error_that_nobody_foresaw_hurts_only_its_key(bench: Bench) -> None:
    bench.outcome = ZeroDivisionError("oops")
    bench.add("a")
    await settle()
    bench.outcome = Result()
    bench.add("b")
    await settle()
    assert [name for _, name in bench.seen] == ["a", "b"]


async def test_a_stop_finishes_what_is_worked_on_and_starts_nothing(bench: Bench) -> None:
    bench.gate = asyncio.Event()
    bench.add(*"abc")
    await settle()
    draining = asyncio.create_task(bench.workers.drain(30))
    await settle()
    assert not draining.done()
    bench.gate.set()
    assert await draining == ()
    assert [name for _, name in bench.seen] == ["a", "b"]


async def test_a_stop_does_not_wait_for_ever(bench: Bench) -> None:
    bench.gate = asyncio.Event()
    bench.add("a")
    await settle()
    assert [key.name for key in await bench.workers.drain(0.01)] == ["a"]
    assert not bench.running


@pytest.mark.parametrize(
    ("outcome", "word", "level"),
    [
        (Result(changes=("applied Deployment odoo-acme/odoo-web",)), "ok", "info"),
        (Waiting("JobRunning", "The init Job runs."), "waiting", "info"),
        (Refused("PoolUnknown", "No such pool."), "refused", "warning"),
        (Unavailable("Down", "It does not answer."), "unavailable", "warning"),
        (KeyError("spec"), "error", "error"),
    ],
)
async def test_each_look_writes_one_line_and_counts(
    bench: Bench, outcome: Result | Exception, word: str, level: str
) -> None:
    bench.outcome = outcome
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        bench.add("acme")
        await settle()
    assert len(lines) == 1
    line = lines[0]
    assert (line["kind"], line["namespace"], line["name"]) == ("OdooTenant", "tenants", "acme")
    assert (line["outcome"], line["log_level"], line["duration"]) == (word, level, 0)
    assert line["changes"] == (outcome.changes if isinstance(outcome, Result) else ())
    count = bench.metrics.registry.get_sample_value(
        "odoo_tenancy_reconcile_duration_seconds_count", {"kind": "OdooTenant", "outcome": word}
    )
    assert count == 1
