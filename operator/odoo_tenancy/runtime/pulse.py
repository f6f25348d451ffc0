"""What the event loop says about itself once a second. The health server reads only this, from its own
thread.

A pulse is immutable: no lock is needed, and its age is the proof that the loop is alive.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from odoo_tenancy.runtime.queue import QueueState

BEAT_SECONDS = 1.0

EMPTY = QueueState(depth=0, oldest=0.0, known=0, working=())


class Role(StrEnum):
    """What this replica is doing."""

    STARTING = "starting"
    STANDBY = "standby"
    LEADER = "leader"
    STOPPING = "stopping"
    LEASE_LOST = "lease lost"


@dataclass(frozen=True)
class Pulse:
    """The state of the operator at one moment."""

    at: float
    """Monotonic seconds."""

    role: Role = Role.STARTING
    queue: QueueState = EMPTY
    watches: tuple[tuple[str, float], ...] = ()
    """Each watch, and for how many seconds it has said nothing."""

    api_silence: float = 0.0
    """Seconds since the API server last answered about the Lease."""

    denied: tuple[str, ...] = ()
    """Watches that the operator has no right to."""

    missing: tuple[str, ...] = ()
    """Kinds of ours that the API server doesn't know yet."""


class Heart:
    """Beats in the event loop; keeps the latest pulse where any thread may read it."""

    def __init__(
        self, look: Callable[[float], Pulse], published: Callable[[Pulse], None] = lambda _: None
    ) -> None:
        self._look = look
        self._published = published
        self.pulse = Pulse(time.monotonic())

    def beat(self) -> None:
        """Look once."""
        self.pulse = self._look(time.monotonic())
        self._published(self.pulse)

    async def run(self) -> None:
        """Beat for ever."""
        while True:
            self.beat()
            await asyncio.sleep(BEAT_SECONDS)
