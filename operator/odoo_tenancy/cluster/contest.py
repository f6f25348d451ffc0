"""Somebody who undoes our work as fast as we do it: after some rounds we say so, instead of writing for ever."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from odoo_tenancy.api.errors import Unavailable
from odoo_tenancy.cluster.objects import ObjectRef

ROUNDS = 10
"""So often an object is brought back ..."""
WINDOW_SECONDS = 60.0
"""... within this time, before we rest."""


class Contests:
    """Counts how often each object had to be brought back lately.

    Args:
        now: seconds of a monotonic clock.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._rounds: dict[ObjectRef, deque[float]] = {}
        self._opponents: dict[ObjectRef, str] = {}

    def repaired(self, ref: ObjectRef, opponents: tuple[str, ...]) -> None:
        """One more round."""
        self._rounds.setdefault(ref, deque(maxlen=ROUNDS)).append(self._now())
        self._opponents[ref] = ", ".join(opponents) or "somebody who leaves no trace"

    def check(self, ref: ObjectRef) -> None:
        """Whether another round is worthwhile.

        Raises:
            Unavailable: ``Contested``, until the window has passed.
        """
        rounds = self._rounds.get(ref)
        if rounds is None:
            return
        rest = rounds[0] + WINDOW_SECONDS - self._now()
        if rounds[-1] + WINDOW_SECONDS < self._now():
            del self._rounds[ref], self._opponents[ref]
        elif len(rounds) == ROUNDS and rest > 0:
            raise Unavailable(
                "Contested",
                f"{ref} was brought back {ROUNDS} times within {WINDOW_SECONDS:.0f} s and is changed again each time, "
                f"by {self._opponents[ref]}: stop that, or let the operator tolerate that field manager.",
                rest,
            )
