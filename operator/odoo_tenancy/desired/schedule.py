"""When something is due: cron in a time zone, spread over the tenants, reckoned from what was last recorded.

Nothing ticks here. A *slot* is a moment that the expression names; a tenant's own turn is its slot and an offset that
its claim gives it, so that a thousand tenants of one policy don't start in the same minute. Turns are in the order of
their slots, at most one of them is due at a time, and that one is named by its slot: whoever writes the slot down, or
makes an object whose name has it, never does one twice and misses none, however often the operator starts anew.

Daylight saving time is as in Debian's cron (cronsim does it): what a spring night leaves out comes right after the gap,
what an autumn night repeats comes once; expressions with a ``*`` in their minutes or hours go by elapsed time.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from odoo_tenancy.api.errors import Refused

_NAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_BACK = tuple(timedelta(minutes=5) * 8**times for times in range(8))
_NOTHING = timedelta()
_FOREVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Cron:
    """An expression of five fields, or a name such as ``@daily``, in a time zone of the IANA database."""

    expression: str
    time_zone: str = "Etc/UTC"

    def check(self) -> None:
        """Whether it means anything, beyond what the schema can tell.

        Raises:
            Refused: ``InvalidSchedule``, ``UnknownTimeZone``.
        """
        zone = _zone(self.time_zone)
        try:
            CronSim(self._fields, datetime(2026, 1, 1, tzinfo=zone))
        except CronSimError as error:
            raise Refused(
                "InvalidSchedule",
                f"The schedule {self.expression!r} never comes or can't be read ({error}): five fields, minute hour day "
                "month weekday, each range from the lower to the higher end, and a date that exists.",
            ) from error

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The slots after a moment, in order, in UTC. Ends where none comes within fifty years.

        Raises:
            Refused: as :meth:`check` does.
        """
        self.check()
        last = moment
        for found in CronSim(self._fields, moment.astimezone(_zone(self.time_zone))):
            # In the night of an autumn change it begins with what is over, and of a spring one some come together.
            if (slot := found.astimezone(UTC)) > last:
                yield (last := slot)

    def until(self, moment: datetime) -> tuple[datetime, ...]:
        """The last two slots up to a moment, that moment included, the earlier first, in UTC; fewer, where there were
        fewer in twenty years.

        Raises:
            Refused: as :meth:`check` does.
        """
        # Forwards, from further and further back: cronsim's way backwards doesn't agree with it where clocks change.
        for back in _BACK:
            coming = self.after(moment - back)
            past = deque(takewhile(lambda slot: slot <= moment, coming), maxlen=2)
            if len(past) == 2:
                break
        return tuple(past)

    @property
    def _fields(self) -> str:
        return _NAMES.get(self.expression, self.expression)


@dataclass(frozen=True, slots=True)
class Turn:
    """One tenant's turn."""

    slot: datetime
    """The moment that the expression names: with the tenant it is the turn's identity."""
    at: datetime
    """When this tenant begins."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a policy spreads its slots, and what of a late turn is still worth having.

    Args:
        jitter: over how long turns of a slot are spread; ``None``: half the time to the next slot. Never longer than
            that time, so that a tenant's turns stay in order.
        starting_deadline: a turn that is later than this is left out.
    """

    cron: Cron
    jitter: timedelta | None
    starting_deadline: timedelta

    def due(self, claim: str, recorded: datetime, now: datetime) -> Turn | None:
        """The turn to be taken now.

        Args:
            recorded: the slot of the tenant's last turn that was taken; where there is none, since when it takes part.

        Raises:
            Refused: as :meth:`Cron.check` does.
        """
        turn = self._last(claim, now)
        if turn is None or turn.slot <= recorded or now - turn.at > self.starting_deadline:
            return None
        return turn

    def next(self, claim: str, now: datetime) -> Turn | None:
        """The turn that comes after this moment.

        Raises:
            Refused: as :meth:`Cron.check` does.
        """
        around = self._around(now)
        share = _share(claim)
        for slot, room in (around.now, around.coming):
            if slot is not None and (at := slot + share * self._spread(room)) > now:
                return Turn(slot, at)
        return None

    def longest_gap(self, claim: str, now: datetime, slots: int = 64) -> timedelta:
        """The longest time between two of a tenant's coming turns: at least so old does its newest backup get.

        Args:
            slots: how many of them are looked at.

        Raises:
            Refused: as :meth:`Cron.check` does.
        """
        coming = list(islice(self.cron.after(now), slots + 2))
        share = _share(claim)
        rooms = [later - slot for slot, later in pairwise(coming)]
        at = [slot + share * self._spread(room) for slot, room in zip(coming, rooms, strict=False)]
        return max((later - turn for turn, later in pairwise(at)), default=_NOTHING)

    def _last(self, claim: str, now: datetime) -> Turn | None:
        """The latest turn that has come, taken or not."""
        around = self._around(now)
        share = _share(claim)
        for slot, room in (around.now, around.before):
            if slot is not None and (at := slot + share * self._spread(room)) <= now:
                return Turn(slot, at)
        return None

    def _spread(self, room: timedelta) -> timedelta:
        """``room``: from a slot to the next one."""
        return room / 2 if self.jitter is None else min(self.jitter, room)

    def _around(self, now: datetime) -> _Around:
        """Cron expressions are slow to reckon with, so that is done once for a slot, and not for each tenant and look."""
        known = _known(self.cron)
        if not known or not known[0].since <= now < known[0].until:
            known[:] = [_look_around(self.cron, now)]
        return known[0]


_Slot = tuple[datetime | None, timedelta]
"""A slot, and the time from it to the next one."""


@dataclass(frozen=True, slots=True)
class _Around:
    """The slots about a moment: whose turns may be due, and whose come next. Holds from ``since`` until ``until``."""

    since: datetime
    until: datetime
    before: _Slot
    now: _Slot
    coming: _Slot


def _look_around(cron: Cron, now: datetime) -> _Around:
    past, coming = cron.until(now), tuple(islice(cron.after(now), 2))
    slots = (*past, *coming)
    rooms = (*(later - slot for slot, later in pairwise(slots)), _NOTHING)
    found: list[_Slot] = list(zip(slots, rooms, strict=True))
    none: _Slot = (None, _NOTHING)
    *_, before, last = (none, none, *found[: len(past)])
    return _Around(
        since=past[-1] if past else now,
        until=coming[0] if coming else _FOREVER,
        before=before,
        now=last,
        coming=found[len(past)] if coming else none,
    )


@lru_cache(maxsize=4096)
def _known(cron: Cron) -> list[_Around]:
    """What was last reckoned of an expression: a cell that is filled anew when its time has passed."""
    return []


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise Refused(
            "UnknownTimeZone",
            f"{name!r} is no time zone of the IANA database: use a name such as Etc/UTC or Europe/Zurich.",
        ) from error


@lru_cache(maxsize=16384)
def _share(claim: str) -> float:
    """Where in the spread a tenant stands: from 0 up to 1, evenly over all claims, and always the same."""
    digest = hashlib.blake2b(claim.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
