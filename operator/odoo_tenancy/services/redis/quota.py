"""The quota that Redis doesn't have: when to measure whom, and what a measurement means. Pure; the clock is an
argument.

A pass over the keys walks all of them, whose ever they are, so the art is not to make one. A tenant can only have
grown past its limit if the server's memory grew by what the tenant had left: until then nothing is measured but the
server's own figure (:data:`LOOK_EVERY`). Then only those tenants are measured that may have overrun.

Two promises are at odds. With a million keys of others a pass over one tenant costs the server 1.2 s, over all 6 s:

* *scanning takes at most 2 % of the server's time in any hour*: always, by a budget of seconds that fills slowly
  (:data:`EARNED`, :data:`SAVED_AT_MOST`) and is spent by passes;
* *writes stop at most 60 s after the overrun*: as long as there is budget, which is 20 passes at once and 34 more in
  an hour. Only where a tenant stays within a few percent of its limit while others keep growing, so that it is
  suspected all the time, the budget runs dry after seven minutes, and then it takes up to two minutes.

What hides from the server's figure (a tenant grows while others shrink) is found by the pass over all, every
:data:`ALL_EVERY`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from odoo_tenancy.services.redis.usage import Measurement, Usage

Level = Literal["Free", "Warned", "Full"]
"""``Full``: the tenant's user is without the commands that add data."""

WARN_AT, RESUME_BELOW = 0.8, 0.9
"""Of the limit."""
LOOK_EVERY = 10.0
"""Seconds between two looks at the server's memory; the caller's clock keeps it."""
SPACING = 10.0
"""Seconds between passes: who becomes suspect meanwhile is measured by the same one."""
ALL_EVERY = 1800.0
"""Seconds between passes over all tenants, where memory grew."""
DOUBT_AFTER = 300.0
"""Seconds between passes that nothing urges: for a warning, or because others may hide that a tenant shrank."""
RESERVE = 12.0
"""Seconds of the budget that only suspects may take."""
EARNED, SAVED_AT_MOST = 0.0115, 24.0
"""Seconds of passes for each second, and at most at once: 65 s an hour, and one more pass fits into 2 % (72 s)."""
MANY = 32
"""Suspects, above which all are measured: no pattern tells so many from the others."""
NOISE = 64 * 1024
"""Bytes by which a server's figure moves without anybody writing."""


@dataclass(frozen=True, slots=True)
class Known:
    """Of one tenant."""

    usage: Usage | None = None
    """``None``: not measured yet."""
    level: Level = "Free"
    lowest: int = 0
    """Bytes of the server's memory: the least since the measurement began. What it grew from there may be this
    tenant's."""
    highest: int = 0
    """The most since then. What it shrank from there may be this tenant's."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A measurement that is due."""

    claims: tuple[str, ...]
    """None: all tenants."""
    memory: int
    """Of the server when it was decided."""


@dataclass(frozen=True, slots=True)
class QuotaState:
    """One server's; kept in memory. An operator that was started anew begins with a pass over all."""

    tenants: Mapping[str, Known] = field(default_factory=dict)
    """By claim."""
    budget: float = SAVED_AT_MOST
    """Seconds of passes that may be spent."""
    looked_at: float | None = None
    all_measured_at: float | None = None
    all_lowest: int = 0
    passed_at: float | None = None
    """When the last pass ended."""
    seconds_for_all: float = 0.0
    seconds_for_some: float = 0.0
    """What the last pass of the kind cost."""

    def level(self, claim: str) -> Level:
        known = self.tenants.get(claim)
        return "Free" if known is None else known.level


def next_level(level: Level, used: int, limit: int) -> Level:
    """Full from the limit on and until below 90 % of it; warned from 80 %."""
    if used >= limit or (level == "Full" and used >= RESUME_BELOW * limit):
        return "Full"
    return "Warned" if used >= WARN_AT * limit else "Free"


def look(
    state: QuotaState, limits: Mapping[str, int], memory: int, now: float, found_full: Collection[str] = ()
) -> tuple[QuotaState, Pass | None]:
    """What the server's memory means.

    Args:
        state: as it was.
        limits: bytes by claim, of all tenants of the server.
        memory: bytes, of :meth:`RedisServer.data_memory`.
        now: seconds of a clock that never goes back.
        found_full: claims whose users the inventory shows without the commands that add data: levels of tenants that
            this state doesn't know yet.

    Returns:
        The new state, and the pass to make now, if any; its result goes to :func:`measured`.
    """
    tenants = {
        claim: _watched(state.tenants.get(claim), claim in found_full, limit, memory)
        for claim, limit in limits.items()
    }
    elapsed = 0.0 if state.looked_at is None else now - state.looked_at
    state = replace(
        state,
        tenants=tenants,
        budget=min(state.budget + elapsed * EARNED, SAVED_AT_MOST),
        looked_at=now,
        all_lowest=min(state.all_lowest, memory),
    )
    return state, _due(state, limits, memory, now)


def measured(
    state: QuotaState, done: Pass, measurement: Measurement, limits: Mapping[str, int], now: float
) -> QuotaState:
    """What a pass found out; :meth:`QuotaState.level` says it. ``limits`` and ``now`` as for :func:`look`."""
    tenants = dict(state.tenants)
    for claim in done.claims or tuple(tenants):
        known, limit = tenants.get(claim), limits.get(claim)
        if known is None or limit is None:
            continue
        usage = measurement.usage.get(claim, Usage(0, 0))
        level = next_level(known.level, usage.used_bytes, limit)
        tenants[claim] = Known(usage, level, lowest=done.memory, highest=done.memory)
    state = replace(state, tenants=tenants, budget=state.budget - measurement.busy_seconds, passed_at=now)
    if done.claims:
        return replace(state, seconds_for_some=measurement.busy_seconds)
    return replace(
        state, seconds_for_all=measurement.busy_seconds, all_measured_at=now, all_lowest=done.memory
    )


def _watched(known: Known | None, found_full: bool, limit: int, memory: int) -> Known:
    if known is None:
        return Known(level="Full" if found_full else "Free", lowest=memory, highest=memory)
    # A limit that was changed counts at once.
    level = known.level if known.usage is None else next_level(known.level, known.usage.used_bytes, limit)
    return replace(known, level=level, lowest=min(known.lowest, memory), highest=max(known.highest, memory))


def _due(state: QuotaState, limits: Mapping[str, int], memory: int, now: float) -> Pass | None:
    since_pass = float("inf") if state.passed_at is None else now - state.passed_at
    since_all = float("inf") if state.all_measured_at is None else now - state.all_measured_at
    if not limits or since_pass < SPACING:
        return None
    if state.all_measured_at is None:
        return Pass((), memory) if _affords(state, state.seconds_for_all) else None
    known = {claim: (state.tenants[claim], limit, memory) for claim, limit in sorted(limits.items())}
    suspects = tuple(claim for claim, facts in known.items() if _suspect(*facts))
    doubtful = tuple(claim for claim, facts in known.items() if _doubtful(*facts))
    grew = memory - state.all_lowest > NOISE
    if len(suspects) > MANY or (suspects and grew and since_all >= 2 * ALL_EVERY):
        return Pass((), memory) if _affords(state, state.seconds_for_all) else None
    if suspects:
        # The others come along: a pass costs the same for a few more.
        claims = (*suspects, *doubtful)[:MANY]
        return Pass(claims, memory) if _affords(state, state.seconds_for_some) else None
    if grew and since_all >= ALL_EVERY:
        return Pass((), memory) if _affords(state, RESERVE + state.seconds_for_all) else None
    if doubtful and since_pass >= DOUBT_AFTER:
        return Pass(doubtful[:MANY], memory) if _affords(state, RESERVE + state.seconds_for_some) else None
    return None


def _suspect(known: Known, limit: int, memory: int) -> bool:
    """May be over its limit, or may write again, as far as the server's memory tells."""
    if known.usage is None:
        return True
    grown, shrunk = memory - known.lowest, known.highest - memory
    if known.level == "Full":
        return known.usage.used_bytes - shrunk < RESUME_BELOW * limit
    return grown > NOISE and known.usage.used_bytes + grown >= limit


def _doubtful(known: Known, limit: int, memory: int) -> bool:
    """The same of what nothing urges: a warning; a full tenant that shrank while others grew."""
    if known.usage is None or _suspect(known, limit, memory):
        return False
    grown, shrunk = memory - known.lowest, known.highest - memory
    if known.level == "Full":
        return max(grown, shrunk) > NOISE
    return known.level == "Free" and grown > NOISE and known.usage.used_bytes + grown >= WARN_AT * limit


def _affords(state: QuotaState, seconds: float) -> bool:
    return state.budget >= min(seconds, SAVED_AT_MOST)
