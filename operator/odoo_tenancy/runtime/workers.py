"""Takes keys from the queue and reconciles them, so many at once; writes one log line and the metrics of
each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from odoo_tenancy.api.errors import OperatorError, Refused, Waiting
from odoo_tenancy.api.meta import Key
from odoo_tenancy.reconcile.result import Reconciler
from odoo_tenancy.runtime.clock import Clock
from odoo_tenancy.runtime.metrics import Metrics
from odoo_tenancy.runtime.queue import WorkQueue

log = structlog.get_logger("odoo_tenancy.reconcile")


class Workers:
    """Works on up to ``count`` keys at once.

    A worker is a task that lives as long as one key is worked on; their number is bounded here and not by a
    semaphore inside the tasks, so that what waits stays in the queue, where its age is seen.
    """

    def __init__(
        self,
        queue: WorkQueue,
        reconcilers: Mapping[str, Reconciler],
        count: int,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._queue = queue
        self._reconcilers = reconcilers
        self._count = count
        self._clock = clock
        self._metrics = metrics
        self._tasks: dict[asyncio.Task[None], Key] = {}
        self._stopping = False
        self._wake = asyncio.Event()
        queue.changed = self._wake.set

    async def run(self) -> None:
        """Hand out keys until :meth:`drain` is called."""
        while not self._stopping:
            self._wake.clear()
            while len(self._tasks) < self._count and (key := self._queue.take()) is not None:
                task = asyncio.create_task(self._work(key), name=f"reconcile {key}")
                self._tasks[task] = key
                task.add_done_callback(self._finished)
            full = len(self._tasks) >= self._count
            await self._clock.wait(self._wake, None if full else self._queue.seconds_to_next())

    async def drain(self, deadline: float) -> tuple[Key, ...]:
        """Hand out nothing more and wait for what is worked on, at most ``deadline`` seconds.

        Returns the keys that did not finish: they were cancelled where they stood, and the next leader, which
        reads the cluster and not our memory, goes on from there.
        """
        self._stopping = True
        self._wake.set()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=deadline)
        unfinished = dict(self._tasks)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        return tuple(unfinished.values())

    def _finished(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        self._wake.set()

    async def _work(self, key: Key) -> None:
        with structlog.contextvars.bound_contextvars(kind=key.kind, namespace=key.namespace, name=key.name):
            started = self._clock.now()
            outcome = _Outcome("cancelled")
            try:
                outcome = await self._look(key)
            finally:
                seconds = self._clock.now() - started
                self._metrics.reconciled(key.kind, outcome.word, seconds, outcome.reason)
                _report(outcome, seconds)

    async def _look(self, key: Key) -> _Outcome:
        try:
            result = await self._reconcilers[key.kind](key)
        except OperatorError as problem:
            seconds = self._queue.failed(key, problem.retry_after)
            return _Outcome(_word(problem), problem.reason, problem.message, retry_in=seconds)
        except Exception as problem:
            seconds = self._queue.failed(key)
            return _Outcome("error", type(problem).__name__, str(problem), retry_in=seconds, fault=problem)
        self._queue.done(key, result.requeue_after, result.gone)
        return _Outcome("ok", changes=result.changes)


@dataclass(frozen=True)
class _Outcome:
    word: str
    reason: str | None = None
    message: str | None = None
    changes: tuple[str, ...] = ()
    retry_in: float | None = None
    fault: Exception | None = None
    """What nobody foresaw: logged with its traceback."""


def _word(problem: OperatorError) -> str:
    if isinstance(problem, Refused):
        return "refused"
    return "waiting" if isinstance(problem, Waiting) else "unavailable"


_LEVELS = {"ok": logging.INFO, "waiting": logging.INFO, "error": logging.ERROR}


def _report(outcome: _Outcome, seconds: float) -> None:
    """The one line of each reconcile."""
    fields: dict[str, object] = {
        "outcome": outcome.word,
        "duration": round(seconds, 3),
        "changes": outcome.changes,
    }
    if outcome.retry_in is not None:
        fields |= {
            "reason": outcome.reason,
            "message": outcome.message,
            "retry_in": round(outcome.retry_in, 1),
        }
    log.log(_LEVELS.get(outcome.word, logging.WARNING), "reconciled", exc_info=outcome.fault, **fields)
