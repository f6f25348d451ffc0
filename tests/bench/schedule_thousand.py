"""What it costs to find out whose backup is due, of a thousand tenants."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from statistics import median

from tests.bench.figures import Figure

from odoo_tenancy.desired.schedule import Cron, Plan

TENANTS = 1000
POLICIES = 20
LIMIT = 50.0
"""Milliseconds of CPU."""
_NOW = datetime(2026, 11, 23, 9, 17, tzinfo=UTC)


def run() -> list[Figure]:
    """The first look after a turn of every policy, when all expressions are reckoned anew, and one in between."""
    repeats = int(os.environ.get("BENCH_REPEATS", "3"))
    plans = [
        Plan(Cron(f"{minute} */4 * * *", zone), None, timedelta(hours=1))
        for minute in range(POLICIES // 2)
        for zone in ("Europe/Zurich", "America/New_York")
    ]
    everybody = [(plans[number % POLICIES], f"{number:032x}") for number in range(TENANTS)]
    first, again, due = list[float](), list[float](), 0
    for repeat in range(max(3, repeats)):
        now = _NOW + repeat * timedelta(hours=4)
        seconds, due = _look(everybody, now)
        first.append(seconds)
        again.append(_look(everybody, now + timedelta(seconds=7))[0])
    details = {"tenants": TENANTS, "policies": POLICIES, "due": due, "time zones": 2}
    return [
        Figure("schedule-thousand/cpu", median(first) * 1000, "ms", LIMIT, details),
        Figure("schedule-thousand/cpu-again", median(again) * 1000, "ms", LIMIT, details),
    ]


def _look(everybody: list[tuple[Plan, str]], now: datetime) -> tuple[float, int]:
    """CPU seconds, and how many are due: each was last backed up a turn ago."""
    recorded = now - timedelta(hours=5)
    started, due = time.process_time(), 0
    for plan, claim in everybody:
        due += plan.due(claim, recorded, now) is not None
        plan.next(claim, now)
    return time.process_time() - started, due
