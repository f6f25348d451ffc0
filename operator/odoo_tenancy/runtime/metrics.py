"""What ``/metrics`` shows. Labels are bounded: kinds, reasons, verbs, codes; an object's name only where each tenant has
a figure of its own, gone with the tenant."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from types import SimpleNamespace

import aiohttp
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from yarl import URL

from odoo_tenancy.api.meta import Key
from odoo_tenancy.cluster.kinds import RESOURCES
from odoo_tenancy.runtime.database_metrics import DatabaseMetrics
from odoo_tenancy.runtime.queue import QueueState

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """All metrics of one operator, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._reconcile_seconds = Histogram(
            "odoo_tenancy_reconcile_duration_seconds",
            "Seconds that one look at one object took",
            ("kind", "outcome"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._errors = self._counter("reconcile_errors", "Looks that ended in an error", ("kind", "reason"))
        self._requests = self._counter(
            "api_requests", "Requests to the Kubernetes API; code 0: no answer", ("verb", "kind", "code")
        )
        self._repairs = self._counter(
            "drift_repairs", "Objects put back, once for each who had changed them", ("kind", "manager")
        )
        self._depth = self._gauge("queue_depth", "Keys that are ready and wait for a worker")
        self._oldest = self._gauge("queue_oldest_seconds", "Seconds for which the first of them has waited")
        self._known = self._gauge("queue_known_keys", "Keys that the resync visits")
        self._working = self._gauge("queue_working", "Keys that are worked on")
        self._longest = self._gauge(
            "queue_longest_work_seconds", "Seconds for which the longest has been worked on"
        )
        self._leader = self._gauge("leader", "1 where this replica holds the Lease")
        self._silence = self._gauge(
            "watch_silence_seconds", "Seconds since a watch last said anything", ("watch",)
        )
        self._redis_used = self._gauge(
            "redis_used_bytes", "Bytes of a tenant's keys in Redis, as last measured", ("namespace", "tenant")
        )
        self.databases = DatabaseMetrics()
        """Told of each measurement of a pool's databases."""
        self.registry.register(self.databases)
        self.build = Info("odoo_tenancy_build", "What runs", registry=self.registry)

    def reconciled(self, kind: str, outcome: str, seconds: float, reason: str | None = None) -> None:
        """One look at one object is over."""
        self._reconcile_seconds.labels(kind, outcome).observe(seconds)
        if outcome not in ("ok", "waiting", "cancelled"):
            self._errors.labels(kind, reason or outcome).inc()

    def drift_repaired(self, kind: str, manager: str) -> None:
        """An object was put back. ``manager``: a field manager that had changed it, or ``unknown``."""
        self._repairs.labels(kind, manager).inc()

    def redis_used(self, tenant: Key, used: int | None) -> None:
        """What a tenant uses of Redis, in bytes; ``None``: it is gone."""
        if used is not None:
            self._redis_used.labels(tenant.namespace, tenant.name).set(used)
        else:
            with contextlib.suppress(KeyError):
                self._redis_used.remove(tenant.namespace, tenant.name)

    def api_request(self, verb: str, kind: str, seconds: float, code: int) -> None:
        """One request to the Kubernetes API: an ``api.observe.RequestObserver``."""
        del seconds  # how long it took is in the reconcile's own duration
        self._requests.labels(verb, kind, str(code)).inc()

    def queue(self, state: QueueState) -> None:
        """The queue as the heartbeat just saw it."""
        self._depth.set(state.depth)
        self._oldest.set(state.oldest)
        self._known.set(state.known)
        self._working.set(len(state.working))
        self._longest.set(max((seconds for _, seconds in state.working), default=0))

    def watches(self, silence: Mapping[str, float]) -> None:
        """Seconds of silence by watch."""
        self._silence.clear()
        for name, seconds in silence.items():
            self._silence.labels(name).set(seconds)

    def leading(self, leading: bool) -> None:
        """Whether this replica holds the Lease."""
        self._leader.set(leading)

    def trace(self) -> aiohttp.TraceConfig:
        """Counts every request of an aiohttp session, whoever makes it."""
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._request_ended)
        trace.on_request_exception.append(self._request_failed)
        return trace

    async def _request_ended(
        self, _: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestEndParams
    ) -> None:
        self.api_request(*_verb_and_kind(params.method, params.url), 0, params.response.status)

    async def _request_failed(
        self, _: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestExceptionParams
    ) -> None:
        self.api_request(*_verb_and_kind(params.method, params.url), 0, 0)

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"odoo_tenancy_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(f"odoo_tenancy_{name}", text, labels, registry=self.registry)


_PATH = re.compile(
    r"^/(?:api|apis/[^/]+)/[^/]+(?:/namespaces/[^/]+(?=/))?/(?P<plural>[^/]+)(?P<name>/[^/]+)?(?:/[^/]+)?$"
)
_KINDS = {resource.plural: kind for (_, kind), resource in RESOURCES.items()}
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def _verb_and_kind(method: str, url: URL) -> tuple[str, str]:
    """The audit log's verb, and the kind; "other" for what is no object of a kind that we know."""
    match = _PATH.match(url.path)
    kind = _KINDS.get(match["plural"], "other") if match else "other"
    if method != "GET" or match is None:
        return _VERBS.get(method, method.lower()), kind
    if match["name"]:
        return "get", kind
    return ("watch" if url.query.get("watch") == "true" else "list"), kind
