"""Nothing is missed and nothing is doubled, whenever and however often somebody looks; and clocks that change."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.desired.schedule import Cron, Plan, Turn

HOUR = timedelta(hours=1)
ZURICH = "Europe/Zurich"
ALWAYS = timedelta(days=36500)

expressions = st.sampled_from(
    (
        *("0 */4 * * *", "30 2 * * *", "*/5 * * * *", "@hourly", "@daily", "15 3 * * mon-fri", "0 2,3 * * *"),
        *("0,30 2,3 * * *", "30 2 31 * *", "0 */2 * * *", "@weekly", "7 5 1,15 * *", "@monthly"),
    )
)
zones = st.sampled_from((*("Etc/UTC", ZURICH, "America/New_York"), "Australia/Lord_Howe", "Asia/Kathmandu"))
crons = st.builds(Cron, expressions, zones)
moments = st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1)).map(lambda m: m.replace(tzinfo=UTC))
claims = st.text("0123456789abcdef", min_size=32, max_size=32)
jitters = st.none() | st.integers(0, 3 * 86400).map(lambda seconds: timedelta(seconds=seconds))
plans = st.builds(Plan, crons, jitters, st.just(ALWAYS))


def plan(expression: str, zone: str = "Etc/UTC", jitter: timedelta | None = timedelta(), late=ALWAYS) -> Plan:
    return Plan(Cron(expression, zone), jitter, late)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def local(slots, zone: str, count: int) -> list[str]:
    return [slot.astimezone(ZoneInfo(zone)).strftime("%d %H:%M%z") for slot in islice(slots, count)]


@pytest.mark.parametrize(
    ("expression", "slots"),
    [
        ("0 */4 * * *", ["2026-11-22 12:00", "2026-11-22 16:00"]),
        ("@daily", ["2026-11-23 00:00", "2026-11-24 00:00"]),
        ("@weekly", ["2026-11-29 00:00", "2026-12-06 00:00"]),
        ("30 2 * * 7", ["2026-11-29 02:30", "2026-12-06 02:30"]),
        ("0 0 29 feb *", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("5/20 9 * * Mon", ["2026-11-23 09:05", "2026-11-23 09:25"]),
    ],
)
def test_what_an_expression_means(expression, slots):
    assert list(islice(Cron(expression).after(utc("2026-11-22 10:00")), 2)) == [utc(slot) for slot in slots]


def test_what_a_spring_night_leaves_out_comes_right_after_the_gap():
    """At 02:00 on 29 March 2026 it is 03:00."""
    assert local(Cron("30 2 * * *", ZURICH).after(utc("2026-03-28 00:00")), ZURICH, 3) == [
        "28 02:30+0100",
        "29 03:00+0200",
        "30 02:30+0200",
    ]


def test_what_an_autumn_night_repeats_comes_once():
    """At 03:00 on 25 October 2026 it is 02:00 again."""
    cron = Cron("30 2 * * *", ZURICH)
    assert local(cron.after(utc("2026-10-24 12:00")), ZURICH, 2) == ["25 02:30+0200", "26 02:30+0100"]
    between = utc("2026-10-25 01:15")  # 02:15 for the second time: the first 02:30 is over
    assert local(cron.after(between), ZURICH, 1) == ["26 02:30+0100"]
    assert local(cron.until(between), ZURICH, 2) == ["24 02:30+0200", "25 02:30+0200"]


def test_an_hourly_expression_goes_by_elapsed_time():
    slots = list(islice(Cron("30 * * * *", ZURICH).after(utc("2026-10-24 22:00")), 5))
    assert {later - slot for slot, later in pairwise(slots)} == {HOUR}


@pytest.mark.parametrize(
    ("expression", "zone", "reason"),
    [
        ("0 0 31 2 *", "Etc/UTC", "InvalidSchedule"),
        ("0 5-2 * * *", "Etc/UTC", "InvalidSchedule"),
        ("0 0 * *", "Etc/UTC", "InvalidSchedule"),
        ("@daily", "+01:00", "UnknownTimeZone"),
        ("@daily", "Europe/Zürich", "UnknownTimeZone"),
        ("@daily", "../../etc/passwd", "UnknownTimeZone"),
    ],
)
def test_what_means_nothing_is_refused(expression, zone, reason):
    with pytest.raises(Refused) as refused:
        Cron(expression, zone).check()
    assert refused.value.reason == reason


@given(crons, moments)
def test_forwards_and_backwards_name_the_same_slots(cron, moment):
    coming = list(islice(cron.after(moment), 4))
    assert coming == sorted(set(coming))
    assert all(slot > moment for slot in coming)
    for earlier, later in pairwise(coming):
        assert cron.until(later) == (earlier, later)
        assert cron.until(later - timedelta(microseconds=1))[-1] == earlier


@given(plans, claims, moments, st.lists(st.integers(1, 40 * 3600), min_size=1, max_size=12))
def test_whenever_one_looks_no_turn_is_doubled_and_none_missed_that_was_the_last(plan, claim, begin, pauses):
    """Each look is one of another process: all that goes from one to the next is the recorded slot."""
    recorded, now, taken = begin, begin, list[Turn]()
    everything = turns(plan, claim, begin, begin + timedelta(seconds=sum(pauses)))
    for pause in pauses:
        now += timedelta(seconds=pause)
        turn = plan.due(claim, recorded, now)
        expected = [t for t in everything if t.slot > recorded and t.at <= now]
        assert turn == (expected[-1] if expected else None)
        if turn is not None:
            taken.append(turn)
            recorded = turn.slot
        assert plan.due(claim, recorded, now) is None
    assert len({turn.slot for turn in taken}) == len(taken)


def turns(plan: Plan, claim: str, begin: datetime, end: datetime) -> list[Turn]:
    """All of the slots in between, one by one, as the slow way finds them."""
    slots = [*takewhile(lambda slot: slot <= end, plan.cron.after(begin))]
    slots.append(next(plan.cron.after(slots[-1] if slots else begin)))
    rooms = [later - slot for slot, later in pairwise(slots)]
    spreads = [room / 2 if plan.jitter is None else min(plan.jitter, room) for room in rooms]
    share = int.from_bytes(hashlib.blake2b(claim.encode(), digest_size=8).digest(), "big") / 2**64
    return [Turn(slot, slot + share * spread) for slot, spread in zip(slots, spreads, strict=False)]


@given(plans, claims, moments)
def test_turns_come_in_the_order_of_their_slots_and_within_the_jitter(plan, claim, now):
    for _ in range(5):
        turn = plan.next(claim, now)
        assert turn is not None
        room = next(plan.cron.after(turn.slot)) - turn.slot
        assert (
            timedelta()
            <= turn.at - turn.slot
            <= (room / 2 if plan.jitter is None else min(plan.jitter, room))
        )
        assert turn.at > now
        following = plan.next(claim, turn.at)
        assert following is not None
        assert following.slot > turn.slot
        assert plan.due(claim, turn.slot - timedelta(microseconds=1), turn.at) == turn
        now = turn.at


@given(plans, claims, moments, st.integers(0, 7 * 86400))
def test_what_is_later_than_the_deadline_is_left_out(plan, claim, now, seconds):
    strict = Plan(plan.cron, plan.jitter, timedelta(seconds=seconds))
    turn = plan.due(claim, datetime.min.replace(tzinfo=UTC), now)
    assume(turn is not None)
    late = now - turn.at > timedelta(seconds=seconds)
    assert strict.due(claim, datetime.min.replace(tzinfo=UTC), now) == (None if late else turn)


def test_after_a_week_of_silence_one_run_is_caught_up():
    hourly = plan("0 * * * *")
    turn = hourly.due("a", utc("2026-11-01 00:00"), utc("2026-11-08 10:20"))
    assert turn == Turn(utc("2026-11-08 10:00"), utc("2026-11-08 10:00"))
    assert turn is not None
    assert hourly.due("a", turn.slot, utc("2026-11-08 10:59")) is None


def test_a_clock_that_goes_back_repeats_nothing():
    hourly = plan("0 * * * *")
    assert hourly.due("a", utc("2026-11-08 10:00"), utc("2026-11-08 09:30")) is None


def test_by_default_turns_spread_evenly_over_half_the_interval():
    """Four hours: of a thousand tenants each quarter of the two hours that they have gets a quarter."""
    policy = plan("0 */4 * * *", jitter=None)
    now = utc("2026-11-08 08:00")
    turns = [policy.next(f"{n:032x}", now - timedelta(microseconds=1)) for n in range(1000)]
    offsets = [turn.at - now for turn in turns if turn is not None]
    quarters = [sum(1 for o in offsets if HOUR / 2 * q <= o < HOUR / 2 * (q + 1)) for q in range(4)]
    assert sum(quarters) == 1000
    assert all(200 < quarter < 300 for quarter in quarters)


def test_the_longest_gap_is_the_longest_pause_of_the_schedule():
    assert plan("0 */4 * * *").longest_gap("a", utc("2026-11-08 08:00")) == 4 * HOUR
    assert plan("0 8-18 * * *").longest_gap("a", utc("2026-11-08 08:00")) == 14 * HOUR


def test_a_thousand_tenants_cost_no_time():
    """Twenty policies of fifty tenants each: generous, for other tests run beside this one. docs/benchmarks.md has the
    figure of a machine at rest."""
    zones = ("Etc/UTC", ZURICH)
    policies = [plan(f"{minute} */4 * * *", zones[minute % 2], None) for minute in range(20)]
    everybody = [(policy, f"{n:032x}") for policy in policies for n in range(50)]
    recorded, now = utc("2026-11-08 04:00"), utc("2026-11-08 09:00")

    def look(now: datetime) -> int:
        return sum(1 for policy, claim in everybody if policy.due(claim, recorded, now) is not None)

    assert 0 < look(now) < 1000
    seconds = []
    for attempt in range(5):
        started = time.process_time()
        look(now + attempt * HOUR)
        seconds.append(time.process_time() - started)
    assert min(seconds) < 0.05
