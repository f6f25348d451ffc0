"""How a Job says how far it is, and how it ended."""

from __future__ import annotations

import asyncio
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from odoo_tenancy.api.errors import OperatorError, Refused
from odoo_tenancy.api.work import TERMINATION_MESSAGE, Outcome, Progress

EVERY_SECONDS = 10.0
"""Between two lines about one step: a little less than between two looks of the operator at them."""
LONGEST = 4096
"""Bytes that Kubernetes keeps of a termination message
(https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/)."""
UNFORESEEN = "JobFailed"
"""The reason of what no error of ours is."""
_CUT = "… "


class ProgressLines:
    """Lines of :class:`Progress` on standard output: at the beginning of each step, then a few times a minute."""

    def __init__(self, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out or sys.stdout
        self._clock = clock
        self._step = ""
        self._said = 0.0

    def say(self, step: str, done_bytes: int = 0, total_bytes: int = 0) -> None:
        """Tell it, unless the last line is too fresh and of the same step."""
        now = self._clock()
        if step == self._step and now - self._said < EVERY_SECONDS:
            return
        self._step, self._said = step, now
        line = Progress(step=step, done_bytes=done_bytes, total_bytes=total_bytes)
        print(line.model_dump_json(by_alias=True), file=self._out, flush=True)

    def of(self, step: str) -> Callable[[int, int], None]:
        """What takes bytes done and bytes in all, for a step that begins now."""
        self.say(step)
        return lambda done, total: self.say(step, done, total)


@contextmanager
def timed(step: str, progress: ProgressLines, seconds: dict[str, float]) -> Iterator[None]:
    """A step that is told when it begins, and whose seconds are noted when it ends, however it ends."""
    started = time.monotonic()
    progress.say(step)
    try:
        yield
    finally:
        seconds[step] = round(time.monotonic() - started, 2)


def failure(error: BaseException) -> tuple[str, str, bool]:
    """Reason, message, and whether the same attempt may succeed later by itself."""
    if isinstance(error, BaseExceptionGroup):
        return failure(_first(error))
    if isinstance(error, OperatorError):
        return error.reason, error.message, not isinstance(error, Refused)
    if isinstance(error, asyncio.CancelledError):
        return (
            "Interrupted",
            "The Job was told to stop: by its deadline, a node that is drained, or a person.",
            True,
        )
    return UNFORESEEN, f"{type(error).__name__}: {error}. Look at the Job's log.", True


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What was foreseen says more than what followed from it."""
    return next((each for each in group.exceptions if isinstance(each, OperatorError)), group.exceptions[0])


def leave(outcome: Outcome, path: Path = Path(TERMINATION_MESSAGE)) -> None:
    """Write the termination message, whose ``message`` loses its beginning where it is too long.

    Raises:
        Refused: ``OutcomeTooLong``.
    """
    path.write_bytes(encoded(outcome))


def encoded(outcome: Outcome) -> bytes:
    """At most ``LONGEST`` bytes of JSON: all of it but for the beginning of the message, in whose place there is a mark.

    Raises:
        Refused: ``OutcomeTooLong``: without its message it is too long still, and nothing else of it may be lost.
    """
    # What names a file may hold half characters, which JSON can't.
    message = outcome.message.encode(errors="backslashreplace").decode()
    text = _with_message(outcome, message)
    if len(text) <= LONGEST:
        return text
    bare = len(_with_message(outcome, _CUT))
    if bare > LONGEST:
        raise Refused(
            "OutcomeTooLong",
            f"What a {type(outcome).__name__} says besides its message has {bare} bytes, and a termination message"
            f" {LONGEST} at most: the message is in the Job's log. This is a fault of the operator: report it with that.",
        )
    kept = bisect_left(
        range(len(message)),
        True,
        key=lambda start: len(_with_message(outcome, _CUT + message[start:])) <= LONGEST,
    )
    return _with_message(outcome, _CUT + message[kept:])


def _with_message(outcome: Outcome, message: str) -> bytes:
    told = outcome.model_copy(update={"message": message})
    return told.model_dump_json(by_alias=True, exclude_defaults=True).encode()
