"""Which keys want work, and when. No task, no sleep: ``workers.py`` turns it, and a test turns it by hand.

What it guarantees:

* a key is never handed out twice at once, and a key added while it is worked on is handed out again
  afterwards;
* keys that are ready are handed out in the order in which they became ready, so none starves;
* failures of a key wait exponentially longer, up to a cap; a success starts over;
* every key that was ever added comes back once per resync interval, at a moment of its own within the
  interval, until its reconciler says that the object is gone. Only a failed one waits for its back-off
  instead, which is never longer: what heals by itself is seen as soon as any other change.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from odoo_tenancy.api.meta import Key


@dataclass(frozen=True)
class Backoff:
    """How long a key waits after its n-th failure in a row: ``base * 2 ** (n - 1)`` seconds, at most
    ``cap``."""

    base: float = 1.0
    cap: float = 300.0
    jitter: float = 0.2
    """The part that chance may take off, so that a thousand tenants don't all come back in the same
    moment."""

    random: random.Random = field(default_factory=random.Random, repr=False, compare=False)

    def seconds(self, failures: int) -> float:
        """``failures`` counts from 1."""
        doublings = min(failures - 1, 64)
        return float(min(self.cap, self.base * 2**doublings) * (1 - self.jitter * self.random.random()))


@dataclass(frozen=True)
class QueueState:
    """The queue at one moment, for metrics and health."""

    depth: int
    """Keys that are ready and wait for a worker."""

    oldest: float
    """Seconds for which the first of them has waited; 0 when there is none."""

    known: int
    """Keys that the resync visits."""

    working: tuple[tuple[Key, float], ...]
    """What is worked on, and for how many seconds already."""


class WorkQueue:
    """The keys of all kinds. Not thread-safe: it belongs to the event loop.

    Args:
        now: monotonic seconds.
        resync: seconds between two visits of this key that nothing else asked for.
        changed: called after each addition, so that whoever hands out the keys looks again.
    """

    def __init__(
        self,
        now: Callable[[], float],
        resync: Callable[[Key], float],
        backoff: Backoff | None = None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._now = now
        self._resync = resync
        self._backoff = backoff or Backoff()
        self.changed = changed
        self._known: set[Key] = set()
        self._ready: dict[Key, float] = {}  # since when; in the order of becoming ready
        self._later: dict[Key, float] = {}  # when they become ready
        self._heap: list[tuple[float, int, Key]] = []  # of _later; an entry that _later contradicts is stale
        self._serial = itertools.count()
        self._working: dict[Key, float] = {}  # since when
        self._again: dict[Key, float] = {}  # asked for while worked on: when it is wanted again
        self._failures: dict[Key, int] = {}

    def add(self, key: Key) -> None:
        """Something may have changed: look at it as soon as a worker is free."""
        self.add_after(key, 0)

    def add_after(self, key: Key, seconds: float) -> None:
        """Look at it in so many seconds, or sooner where something else asks for that."""
        self._known.add(key)
        self._schedule(key, self._now() + max(seconds, 0))
        self.changed()

    def take(self) -> Key | None:
        """The key that has been ready for longest, now worked on; ``None`` when nothing is ready.

        Whoever takes a key calls :meth:`done` or :meth:`failed` for it, whatever happens.
        """
        self._ripen()
        key = next(iter(self._ready), None)
        if key is not None:
            del self._ready[key]
            self._working[key] = self._now()
        return key

    def done(self, key: Key, requeue_after: float | None = None, gone: bool = False) -> None:
        """The look succeeded. ``gone``: don't come back unless somebody added it meanwhile."""
        self._failures.pop(key, None)
        if gone and key not in self._again:
            self._known.discard(key)
            del self._working[key]
            return
        wait = self._seconds_to_resync(key)
        self._release(key, wait if requeue_after is None else min(wait, max(requeue_after, 0)))

    def failed(self, key: Key, retry_after: float | None = None) -> float:
        """The look failed. ``retry_after`` replaces the back-off. Returns the seconds until the next look."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        backoff = min(self._backoff.seconds(failures), self._resync(key))
        seconds = retry_after if retry_after is not None else backoff
        return self._release(key, max(seconds, 0))

    def seconds_to_next(self) -> float | None:
        """Seconds until something is ready: 0 when something is, ``None`` when nothing is planned."""
        self._ripen()
        if self._ready:
            return 0
        return max(self._heap[0][0] - self._now(), 0) if self._heap else None

    def state(self) -> QueueState:
        """A snapshot that any thread may keep."""
        self._ripen()
        now = self._now()
        oldest = next(iter(self._ready.values()), now)
        working = tuple((key, now - since) for key, since in self._working.items())
        return QueueState(len(self._ready), now - oldest, len(self._known), working)

    def known(self) -> Iterator[Key]:
        """Every key that the resync visits."""
        return iter(tuple(self._known))

    def _release(self, key: Key, seconds: float) -> float:
        del self._working[key]
        now = self._now()
        when = min(now + seconds, self._again.pop(key, now + seconds))
        self._schedule(key, when)
        self.changed()
        return max(when - now, 0)

    def _schedule(self, key: Key, when: float) -> None:
        self._ripen()  # first, so that what was due earlier also stands earlier
        if key in self._working:
            self._again[key] = min(when, self._again.get(key, when))
        elif key in self._ready or self._later.get(key, when + 1) <= when:
            return
        elif when <= self._now():
            self._later.pop(key, None)
            self._ready[key] = self._now()
        else:
            self._later[key] = when
            heapq.heappush(self._heap, (when, next(self._serial), key))

    def _ripen(self) -> None:
        """Move what is due from later to ready, and drop stale entries."""
        now = self._now()
        if len(self._heap) > 2 * len(self._later) + 64:
            self._heap = [(when, next(self._serial), key) for key, when in self._later.items()]
            heapq.heapify(self._heap)
        while self._heap:
            when, _, key = self._heap[0]
            stale = self._later.get(key) != when
            if not stale and when > now:
                return
            heapq.heappop(self._heap)
            if not stale:
                del self._later[key]
                self._ready[key] = when

    def _seconds_to_resync(self, key: Key) -> float:
        """To the key's own moment in the interval: visits spread evenly and don't drift into one another."""
        interval = self._resync(key)
        digest = hashlib.blake2b(f"{key.kind}/{key.namespace}/{key.name}".encode(), digest_size=8).digest()
        phase = int.from_bytes(digest, "big") / 2**64 * interval
        wait = (phase - self._now()) % interval
        return wait if wait > interval * 1e-9 else interval  # it has just been there, but for rounding
