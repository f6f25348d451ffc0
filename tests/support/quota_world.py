"""A model of a server's hour, for the rules that say when to measure whom."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from odoo_tenancy.services.redis.quota import LOOK_EVERY, QuotaState, look, measured
from odoo_tenancy.services.redis.usage import SHARE, Measurement, Usage

MIB = 1024 * 1024
LIMIT = 64 * MIB
COST_ALL, COST_SOME = 6.0, 1.2
"""Seconds of a server with a million keys; tests/bench/redis_quota_scan.py measures them."""
Grow = Callable[[float], None]
"""What happens to the tenants in so many seconds."""


@dataclass
class World:
    """Tenants that grow, a server that adds them up, and the operator that looks at it."""

    used: dict[str, int]
    limit: int = LIMIT
    cost_all: float = COST_ALL
    cost_some: float = COST_SOME
    now: float = 0.0
    busy: float = 0.0
    passes: list[tuple[str, ...]] = field(default_factory=list)
    state: QuotaState = field(default_factory=QuotaState)

    @property
    def limits(self) -> dict[str, int]:
        return dict.fromkeys(self.used, self.limit)

    def step(self, grow: Grow = lambda seconds: None) -> None:
        """One look, with the pass that comes of it. ``grow`` goes on while it runs."""
        self.now += LOOK_EVERY
        grow(LOOK_EVERY)
        self.state, due = look(self.state, self.limits, sum(self.used.values()), self.now)
        if due is None:
            return
        # Whoever was passed by early is counted with what it had then.
        counted = {c: Usage(self.used[c], 1) for c in due.claims or self.used}
        cost = self.cost_some if due.claims else self.cost_all
        self.now += cost / SHARE
        grow(cost / SHARE)
        self.busy += cost
        self.passes.append(due.claims)
        self.state = measured(self.state, due, Measurement(counted, cost), self.limits, self.now)


def tenants(count: int, used: int) -> dict[str, int]:
    """So many, each with these bytes."""
    return {f"{number:032x}": used for number in range(count)}


def grower(world: World, rates: Mapping[str, float], chance: random.Random) -> Grow:
    """Bytes a second by claim, more or less."""

    def grow(seconds: float) -> None:
        for claim, rate in rates.items():
            world.used[claim] += int(rate * seconds * chance.uniform(0, 2))

    return grow
