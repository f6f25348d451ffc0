"""The outside steps of a Job, counted by whoever stands between it and its servers; the Job dies before or after one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.life import When


class JobDeadError(Exception):
    """Who asks was killed: what it asked for is not passed on, nor what was answered."""


@dataclass(frozen=True)
class DeathAtStep:
    """Before the so many-th step (from 1) is passed on, or after its answer came and before the Job has it."""

    when: When
    number: int

    def __str__(self) -> str:
        return f"{self.when} step {self.number}"


@dataclass
class Steps:
    """Of one Job; told of by several threads.

    Args:
        kill: ends the Job with all that it started, and returns when nothing of it runs.
        death: where it is called; ``None``: nowhere.
    """

    kill: Callable[[], object]
    death: DeathAtStep | None = None
    taken: list[str] = field(default_factory=list)
    """What each was, in their order."""
    dead: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def before(self, description: str) -> int:
        """Its number.

        Raises:
            JobDeadError: it is not to be passed on.
        """
        with self._lock:
            if self.dead:
                raise JobDeadError
            self.taken.append(description)
            self._die("before", len(self.taken))
            return len(self.taken)

    def after(self, number: int) -> None:
        """Its answer is here.

        Raises:
            JobDeadError: there is nobody who would take it.
        """
        with self._lock:
            if self.dead:
                raise JobDeadError
            self._die("after", number)

    def _die(self, when: When, number: int) -> None:
        if self.death == DeathAtStep(when, number):
            self.dead = True
            self.kill()
            raise JobDeadError
