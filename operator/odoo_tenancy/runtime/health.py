"""``/healthz``, ``/readyz`` and ``/metrics``, served by a thread of their own, so that they answer when the
loop hangs.

``/healthz`` (liveness) fails for what a restart mends: an event loop that stands still, a Lease that was
lost, a worker stuck on one object, a watch that stayed dead although it was connected anew again and again.
``/readyz`` fails for all of these and for what a restart does not mend: a watch that has just gone silent, an
API server that doesn't answer, kinds or rights that are not installed. A replica that waits for the Lease is
ready (a rolling update counts on it); the body says ``standby``.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from odoo_tenancy.runtime.pulse import Pulse, Role


@dataclass(frozen=True)
class Limits:
    """Seconds; see ``Settings``."""

    loop_stall: float
    stuck_after: float
    watch_silence: float


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    mended_by_restart: bool = True
    message: str = ""
    seconds: float = 0.0
    """For how long it has been as it is."""


def checks(pulse: Pulse, now: float, limits: Limits) -> tuple[Check, ...]:
    """Everything that is looked at. ``now``: monotonic seconds, as the pulse's."""
    if pulse.role is Role.STARTING:
        return (_loop(pulse, now, limits),)
    found = [_loop(pulse, now, limits), _lease(pulse, limits)]
    if pulse.role is Role.LEADER:
        found += [_worker(pulse, limits), _kinds(pulse), _rights(pulse)]
        found += [_watch(name, silence, limits) for name, silence in pulse.watches]
    return tuple(found)


def _loop(pulse: Pulse, now: float, limits: Limits) -> Check:
    age = now - pulse.at
    ok = age <= limits.loop_stall
    return Check("loop", ok, True, "" if ok else f"The event loop has not run for {age:.0f} s.", age)


def _lease(pulse: Pulse, limits: Limits) -> Check:
    if pulse.role is Role.LEASE_LOST:
        return Check("lease", False, True, "The Lease was lost; the process is about to exit.")
    silent = pulse.api_silence > limits.watch_silence
    message = (
        f"The API server has not answered about the Lease for {pulse.api_silence:.0f} s." if silent else ""
    )
    return Check("lease", not silent, False, message, pulse.api_silence)


def _worker(pulse: Pulse, limits: Limits) -> Check:
    key, seconds = max(pulse.queue.working, key=lambda item: item[1], default=("", 0.0))
    ok = seconds <= limits.stuck_after
    return Check("worker", ok, True, "" if ok else f"{key} has been worked on for {seconds:.0f} s.", seconds)


def _kinds(pulse: Pulse) -> Check:
    text = f"Not installed: {', '.join(pulse.missing)}. Apply crds/." if pulse.missing else ""
    return Check("kinds", not pulse.missing, False, text)


def _rights(pulse: Pulse) -> Check:
    text = f"Not allowed to list and watch: {', '.join(pulse.denied)}. Apply the roles in manifests/."
    return Check("rights", not pulse.denied, False, text if pulse.denied else "")


def _watch(name: str, silence: float, limits: Limits) -> Check:
    ok = silence <= limits.watch_silence
    message = "" if ok else f"The watch of {name} has said nothing for {silence:.0f} s, not even a bookmark."
    return Check(f"watch/{name}", ok, silence > 2 * limits.watch_silence, message, silence)


@dataclass(frozen=True)
class Answer:
    """What a probe gets."""

    status: int
    body: dict[str, object]


def answer(pulse: Pulse, now: float, wall: datetime, limits: Limits, liveness: bool) -> Answer:
    """The answer of ``/healthz`` (``liveness``) or ``/readyz``. What fails comes first in the body."""
    found = checks(pulse, now, limits)
    failing = [c for c in found if not c.ok and (c.mended_by_restart or not liveness)]
    ready = not failing and (liveness or pulse.role in (Role.LEADER, Role.STANDBY))
    body: dict[str, object] = {
        "status": "ok" if ready else "failing",
        "role": str(pulse.role),
        "failing": [
            {
                "check": c.name,
                "since": (wall - timedelta(seconds=c.seconds)).isoformat(),
                "message": c.message,
            }
            for c in failing
        ],
        "queue": {k: v for k, v in asdict(pulse.queue).items() if k != "working"},
        "checks": [c.name for c in found],
    }
    return Answer(200 if ready else 503, body)


class HealthServer:
    """The HTTP server, in a daemon thread with an event loop of its own."""

    def __init__(self, pulse: Callable[[], Pulse], limits: Limits, registry: CollectorRegistry) -> None:
        self._pulse = pulse
        self._limits = limits
        self._registry = registry
        self._loop = asyncio.new_event_loop()
        self._runner = web.AppRunner(self._app(), access_log=None, handle_signals=False, shutdown_timeout=1)
        self._thread = threading.Thread(target=self._loop.run_forever, name="health", daemon=True)

    def start(self, host: str, port: int) -> int:
        """Listen. Returns the port (another than asked for where that was 0).

        Raises:
            OSError: the address cannot be listened on.
        """
        self._thread.start()
        return asyncio.run_coroutine_threadsafe(self._listen(host, port), self._loop).result(timeout=10)

    def stop(self) -> None:
        """Close the port and end the thread."""
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    async def _listen(self, host: str, port: int) -> int:
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        return int(self._runner.addresses[0][1])

    def _app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        return app

    async def _healthz(self, _: web.Request) -> web.Response:
        return self._respond(liveness=True)

    async def _readyz(self, _: web.Request) -> web.Response:
        return self._respond(liveness=False)

    def _respond(self, liveness: bool) -> web.Response:
        found = answer(self._pulse(), time.monotonic(), datetime.now(UTC), self._limits, liveness)
        return web.json_response(found.body, status=found.status)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )
