"""The life of one replica: start, wait for the Lease, work, stop.

A stop (SIGTERM) hands out nothing more, finishes what is worked on, gives the Lease back and ends with 0.
Anything that ends by itself is a fault and ends the process: Kubernetes starts it again, and the cluster is
the only memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import aiohttp
import structlog

from odoo_tenancy import __version__
from odoo_tenancy.api.meta import API_VERSION
from odoo_tenancy.api.observe import WriteHook
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.runtime.clock import Clock, RealClock
from odoo_tenancy.runtime.connection import Connection, connection
from odoo_tenancy.runtime.health import HealthServer, Limits
from odoo_tenancy.runtime.lease import Lease, LeaseLost, LeaseTerms
from odoo_tenancy.runtime.metrics import Metrics
from odoo_tenancy.runtime.pulse import Heart, Pulse, Role
from odoo_tenancy.runtime.queue import Backoff, WorkQueue
from odoo_tenancy.runtime.settings import Settings
from odoo_tenancy.runtime.silence import Silences
from odoo_tenancy.runtime.stream import Feed, Stream, Watched
from odoo_tenancy.runtime.watch import ChildFeed, OwnKinds, RecordFeed, children, missing
from odoo_tenancy.runtime.wiring import KINDS, Build, Context, Wiring, build_reconcilers
from odoo_tenancy.runtime.workers import Workers

log = structlog.get_logger("odoo_tenancy.operator")

EXIT_LEASE_LOST = 3
"""The process' exit status when somebody else may lead."""

T = TypeVar("T")

_KINDS_RETRY = 2.0
_KOPF_DEADLINE = 10.0


class _Stopped(Exception):
    """SIGTERM came while something was waited for."""


@dataclass
class Status:
    """What the heartbeat reports besides what it can look up itself."""

    role: Role = Role.STARTING
    missing: tuple[str, ...] = ()


@dataclass
class Operator:
    """One replica. What it shares between its parts, and nothing else."""

    settings: Settings
    build: Build = build_reconcilers
    kinds: tuple[str, ...] = KINDS
    """Of ours: those that ``build`` makes reconcilers for. Nothing begins before they are installed."""

    hook: WriteHook | None = None
    """Told before and after each write to anything outside."""

    clock: Clock = field(default_factory=RealClock)
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        settings = self.settings
        self.status = Status()
        self.stopping = asyncio.Event()
        self.silences = Silences(self.clock.now)
        backoff = Backoff(settings.backoff_base, settings.backoff_cap)
        self.queue = WorkQueue(self.clock.now, lambda key: settings.resync_of(key.kind), backoff)
        self.lease: Lease | None = None
        self.heart = Heart(self._look, self._publish)

    async def run(self) -> None:
        """Live until SIGTERM, then return.

        Raises:
            Exception: whatever ended by itself. A lost Lease doesn't raise: the process ends on the spot.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._health())
            cluster = await self._connect(stack)
            api = connection(cluster.api_client, self.metrics.trace())
            session = await stack.enter_async_context(api.session())
            self.lease = lease = Lease(session, _terms(self.settings), self.clock)
            self._listen_to_signals()
            await stack.enter_async_context(_background(self.heart.run()))
            self._become(Role.STANDBY)
            with contextlib.suppress(_Stopped):
                await self._unless_stopped(lease.acquire())
                await self._lead(cluster, api, session, lease)
            self._become(Role.STOPPING)
        log.info("stopped")

    async def _lead(
        self, cluster: Cluster, api: Connection, session: aiohttp.ClientSession, lease: Lease
    ) -> None:
        """From the moment the Lease is ours until we gave it back."""
        self._become(Role.LEADER)
        # Before Kopf starts: at its end it cancels every task that is younger than it is.
        keeper = asyncio.create_task(self._keep(lease), name="lease")
        try:
            await self._unless_stopped(self._wait_for_kinds(session))
            context = Context(self.settings, cluster, self.queue, self.metrics, self.clock, self.hook)
            wiring = await self._unless_stopped(self.build(context))
            try:
                await self._work(api, session, wiring, lease, keeper)
            finally:
                await wiring.close()
        finally:
            await _cancel([keeper])
            await lease.release()

    async def _work(
        self,
        api: Connection,
        session: aiohttp.ClientSession,
        wiring: Wiring,
        lease: Lease,
        keeper: asyncio.Task[None],
    ) -> None:
        """Watch and reconcile until SIGTERM; then finish what is worked on, and give the Lease back first of all."""
        workers = Workers(self.queue, wiring.reconcilers, self.settings.workers, self.clock, self.metrics)
        by_kopf = tuple(kind for kind in self.kinds if kind not in wiring.records)
        kopf = OwnKinds(self.settings, api, self.silences, by_kopf, wiring.seen, self.queue.add)
        streams = self._streams(session, wiring)
        tasks = [
            asyncio.create_task(_work_when_caught_up(workers, streams, wiring), name="workers"),
            *(asyncio.create_task(s.run(), name=s.watched.name) for s in streams),
            asyncio.create_task(self._watch_own_kinds(kopf), name="kopf"),
        ]
        try:
            await self._until_stopped([keeper, *tasks])
            self._become(Role.STOPPING)
            unfinished = await workers.drain(self.settings.stop_deadline)
            log.info("drained", unfinished=[str(key) for key in unfinished])
        finally:
            await workers.drain(0)
            await _cancel([keeper])
            await lease.release()
            kopf.stop.set()
            await asyncio.wait(tasks[-1:], timeout=_KOPF_DEADLINE)
            await _cancel(tasks)

    async def _keep(self, lease: Lease) -> None:
        """Renew. When that fails, end before anything else can be written: no cleaning up, no waiting."""
        try:
            await lease.keep()
        except LeaseLost as lost:
            self._become(Role.LEASE_LOST)
            log.critical("lease lost", error=str(lost))
            os._exit(EXIT_LEASE_LOST)

    async def _watch_own_kinds(self, kopf: OwnKinds) -> None:
        async with _background(self._after_kopf(kopf)):
            await kopf.run()

    async def _after_kopf(self, kopf: OwnKinds) -> None:
        """Kopf takes the signals for itself; take them back: what is worked on is finished before Kopf stops."""
        await kopf.ready.wait()
        self._listen_to_signals()

    async def _wait_for_kinds(self, session: aiohttp.ClientSession) -> None:
        while True:
            try:
                self.status.missing = await missing(session, self.kinds)
                if not self.status.missing:
                    return
                log.warning("kinds not installed: apply crds/", kinds=self.status.missing)
            except (aiohttp.ClientError, TimeoutError) as error:
                log.warning("kinds not looked up", error=str(error) or type(error).__name__)
            await asyncio.sleep(_KINDS_RETRY)

    def _streams(self, session: aiohttp.ClientSession, wiring: Wiring) -> list[Stream]:
        feed = ChildFeed(wiring.children, self.queue.add)
        feeds: list[tuple[Watched, Feed]] = [(watched, feed) for watched in children(self.settings)]
        namespaces = self.settings.watch_namespaces
        feeds += [
            (Watched(API_VERSION, kind), RecordFeed(records, namespaces, self.queue.add))
            for kind, records in wiring.records.items()
        ]
        idle = self.settings.watch_idle
        return [Stream(session, watched, feed, self.silences, self.clock, idle) for watched, feed in feeds]

    async def _until_stopped(self, tasks: Sequence[asyncio.Future[Any]]) -> None:
        """Wait for SIGTERM. Raises what ended one of the tasks; Kopf alone may end well, when the signal was
        its."""
        stop = asyncio.create_task(self.stopping.wait(), name="stop")
        try:
            done, _ = await asyncio.wait([stop, *tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
        for task in done - {stop}:
            await task

    async def _unless_stopped(self, work: Awaitable[T]) -> T:
        """What the work returns.

        Raises:
            _Stopped: SIGTERM came first. And whatever the work raises.
        """
        task = asyncio.ensure_future(work)
        try:
            await self._until_stopped([task])
            if not task.done():
                raise _Stopped
            return task.result()
        finally:
            await _cancel([task])

    async def _connect(self, stack: AsyncExitStack) -> Cluster:
        path = self.settings.kubeconfig
        cluster = await Cluster.connect(
            str(path) if path else None, observe=self.metrics.api_request, hook=self.hook
        )
        stack.push_async_callback(cluster.close)
        return cluster

    @asynccontextmanager
    async def _health(self) -> AsyncIterator[None]:
        settings = self.settings
        limits = Limits(settings.loop_stall, settings.stuck_after, settings.watch_silence)
        server = HealthServer(lambda: self.heart.pulse, limits, self.metrics.registry)
        port = server.start(settings.http_host, settings.http_port)
        log.info("started", version=__version__, identity=settings.identity, http_port=port)
        try:
            yield
        finally:
            server.stop()

    def _listen_to_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stopping.set)

    def _become(self, role: Role) -> None:
        self.status.role = role
        self.heart.beat()

    def _look(self, at: float) -> Pulse:
        silence = self.clock.now() - self.lease.last_answer if self.lease else 0.0
        pulse = Pulse(
            at, self.status.role, self.queue.state(), api_silence=silence, missing=self.status.missing
        )
        return replace(pulse, watches=self.silences.seconds(), denied=self.silences.denied)

    def _publish(self, pulse: Pulse) -> None:
        self.metrics.queue(pulse.queue)
        self.metrics.watches(dict(pulse.watches))
        self.metrics.leading(pulse.role is Role.LEADER)


async def _work_when_caught_up(workers: Workers, streams: Sequence[Stream], wiring: Wiring) -> None:
    """What exists is known before anything is decided: else each child would be read, drift not noticed, and what a
    stranger put into a namespace overlooked."""
    for stream in streams:
        await stream.caught_up.wait()
    log.info("caught up", watches=len(streams))
    await wiring.begin()
    await workers.run()


def _terms(settings: Settings) -> LeaseTerms:
    return LeaseTerms(
        settings.namespace,
        settings.lease_name,
        settings.identity,
        settings.lease_duration,
        settings.lease_renew_deadline,
        settings.lease_retry_period,
    )


async def _cancel(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        await _cancel([task])
