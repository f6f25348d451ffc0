"""The queue's guarantees, turned by hand: no task, no sleep."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from odoo_tenancy.api.meta import Key
from odoo_tenancy.runtime.queue import Backoff, WorkQueue

RESYNC = 300.0
CAP = 60.0


def key(name: object) -> Key:
    return Key("OdooTenant", "tenants", str(name))


class Time:
    def __init__(self) -> None:
        self.now = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def queue(time: Time) -> WorkQueue:
    return WorkQueue(time, lambda _: RESYNC, Backoff(base=1, cap=CAP, jitter=0))


def test_a_key_added_twice_is_worked_on_once(queue: WorkQueue) -> None:
    queue.add(key("a"))
    queue.add(key("a"))
    assert queue.take() == key("a")
    assert queue.take() is None


def test_a_key_added_while_it_is_worked_on_comes_back_only_after_that(queue: WorkQueue) -> None:
    queue.add(key("a"))
    queue.take()
    queue.add(key("a"))
    assert queue.take() is None
    queue.done(key("a"))
    assert queue.take() == key("a")


def test_ready_keys_are_handed_out_in_the_order_of_becoming_ready(queue: WorkQueue, time: Time) -> None:
    queue.add_after(key("later"), 5)
    queue.add(key("first"))
    time.now += 10
    queue.add(key("last"))
    assert [queue.take() for _ in range(3)] == [key("first"), key("later"), key("last")]


def test_a_busy_key_does_not_starve_the_others(queue: WorkQueue) -> None:
    for name in ("busy", "a", "b"):
        queue.add(key(name))
    order = []
    for _ in range(6):
        taken = queue.take()
        assert taken is not None
        order.append(taken.name)
        queue.add(key("busy"))
        queue.done(taken)
    assert order[:3] == ["busy", "a", "b"]


def test_an_earlier_wish_wins_over_a_later_one(queue: WorkQueue, time: Time) -> None:
    queue.add_after(key("a"), 100)
    queue.add_after(key("a"), 10)
    queue.add_after(key("a"), 50)
    assert queue.seconds_to_next() == 10
    time.now += 10
    assert queue.take() == key("a")
    queue.done(key("a"))
    assert (queue.seconds_to_next() or 0) <= RESYNC


def test_failures_wait_longer_and_longer_up_to_the_cap_and_success_starts_over(
    queue: WorkQueue, time: Time
) -> None:
    queue.add(key("a"))
    waits = []
    for _ in range(9):
        queue.take()
        waits.append(queue.failed(key("a")))
        time.now += waits[-1]
    assert waits == pytest.approx([1, 2, 4, 8, 16, 32, CAP, CAP, CAP])
    queue.take()
    queue.done(key("a"), requeue_after=0)
    queue.take()
    assert queue.failed(key("a")) == pytest.approx(1)


def test_a_failure_waits_no_longer_than_until_the_resync(time: Time) -> None:
    """A pool whose server was away for an hour is looked at as soon after as one whose server was not."""
    queue = WorkQueue(time, lambda _: 15.0, Backoff(base=1, cap=CAP, jitter=0))
    queue.add(key("a"))
    for _ in range(9):
        queue.take()
        waited = queue.failed(key("a"))
        time.now += waited
    assert waited == 15


def test_an_error_may_say_itself_when_to_try_again(queue: WorkQueue) -> None:
    queue.add(key("a"))
    queue.take()
    assert queue.failed(key("a"), retry_after=7) == 7
    assert queue.seconds_to_next() == 7


def test_an_event_ends_the_wait_after_a_failure(queue: WorkQueue) -> None:
    queue.add(key("a"))
    queue.take()
    queue.failed(key("a"))
    queue.add(key("a"))
    assert queue.take() == key("a")


def test_jitter_only_ever_shortens() -> None:
    backoff = Backoff(base=1, cap=CAP, jitter=0.2, random=random.Random(1))
    for failures in range(1, 200):
        full = min(CAP, 2.0 ** (failures - 1))
        assert 0.8 * full <= backoff.seconds(failures) <= full


def test_a_key_whose_object_is_gone_is_forgotten(queue: WorkQueue) -> None:
    queue.add(key("a"))
    queue.take()
    queue.done(key("a"), gone=True)
    assert queue.seconds_to_next() is None
    assert queue.state().known == 0


def test_an_object_made_anew_while_its_predecessor_is_buried_is_not_lost(queue: WorkQueue) -> None:
    queue.add(key("a"))
    queue.take()
    queue.add(key("a"))
    queue.done(key("a"), gone=True)
    assert queue.take() == key("a")


def test_the_resync_visits_every_key_once_an_interval_spread_evenly(queue: WorkQueue, time: Time) -> None:
    keys = [key(n) for n in range(1000)]
    for each in keys:
        queue.add(each)
    while (taken := queue.take()) is not None:
        queue.done(taken)
    visits: Counter[Key] = Counter()
    per_tenth = []
    for _ in range(10):
        time.now += RESYNC / 10
        before = visits.total()
        while (taken := queue.take()) is not None:
            visits[taken] += 1
            queue.done(taken)
        per_tenth.append(visits.total() - before)
    assert visits == Counter(keys)
    assert min(per_tenth) > 60
    assert max(per_tenth) < 140


def test_each_kind_has_its_own_interval(time: Time) -> None:
    queue = WorkQueue(time, lambda k: 15.0 if k.kind == "HostingPool" else RESYNC)
    pool = Key("HostingPool", "", "eu")
    queue.add(pool)
    queue.take()
    queue.done(pool)
    assert (queue.seconds_to_next() or 99) <= 15


def test_what_is_planned_again_and_again_takes_no_more_memory(queue: WorkQueue) -> None:
    for _ in range(10_000):
        queue.add(key("a"))
        queue.take()
        queue.done(key("a"))
    assert len(queue._heap) < 200


def test_the_state_shows_depth_age_and_work(queue: WorkQueue, time: Time) -> None:
    queue.add(key("a"))
    time.now += 3
    queue.add(key("b"))
    queue.take()
    time.now += 4
    state = queue.state()
    assert (state.depth, state.oldest, state.known, state.working) == (1, 4, 2, ((key("a"), 4),))


class QueueMachine(RuleBasedStateMachine):
    """Any order of events, work, failures and time keeps the promises."""

    keys = st.integers(0, 4).map(key)

    @initialize()
    def start(self) -> None:
        self.time = Time()
        self.queue = WorkQueue(self.time, lambda _: RESYNC, Backoff(base=1, cap=CAP))
        self.working: set[Key] = set()
        self.owed: set[Key] = set()  # asked for since they were last taken: must be handed out again
        self.added: set[Key] = set()

    @rule(key=keys)
    def add(self, key: Key) -> None:
        self.queue.add(key)
        self.owed.add(key)
        self.added.add(key)

    @rule(key=keys, seconds=st.floats(0, 1000))
    def add_after(self, key: Key, seconds: float) -> None:
        self.queue.add_after(key, seconds)
        self.added.add(key)

    @rule(seconds=st.floats(0, 400))
    def pass_time(self, seconds: float) -> None:
        self.time.now += seconds

    @rule()
    def take(self) -> None:
        key = self.queue.take()
        if key is None:
            assert not self.owed - self.working, "asked for, not worked on, and yet not handed out"
            return
        assert key not in self.working, "handed out twice at once"
        self.working.add(key)
        self.owed.discard(key)

    @precondition(lambda self: self.working)
    @rule(data=st.data(), after=st.none() | st.floats(0, 1000))
    def done(self, data: st.DataObject, after: float | None) -> None:
        key = data.draw(st.sampled_from(sorted(self.working, key=str)))
        self.working.discard(key)
        self.queue.done(key, after)
        assert self._wait() <= RESYNC, "a known key comes back within the resync interval"

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def failed(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.working, key=str)))
        self.working.discard(key)
        assert 0 <= self.queue.failed(key) <= CAP

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def gone(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.working, key=str)))
        self.working.discard(key)
        self.queue.done(key, gone=True)
        if key not in set(self.queue.known()):
            assert key not in self.owed, "forgotten although somebody asked for it"
            self.added.discard(key)

    def _wait(self) -> float:
        seconds = self.queue.seconds_to_next()
        assert seconds is not None
        return seconds

    @invariant()
    def every_key_is_in_one_place(self) -> None:
        if not hasattr(self, "queue"):
            return
        ready, later, working = set(self.queue._ready), set(self.queue._later), set(self.queue._working)
        assert not ready & later
        assert not (ready | later) & working
        assert ready | later | working == set(self.queue.known()) == self.added
        assert working == self.working


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
