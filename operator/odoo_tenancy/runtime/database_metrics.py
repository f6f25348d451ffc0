"""Per tenant what ``pg_stat_*`` says, as metrics: built at each scrape from what was last measured, so that measuring
costs no formatting and a tenant that is gone leaves no series behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from odoo_tenancy.api.meta import Key
from odoo_tenancy.reconcile.figures import PoolFigures, TenantFigures
from odoo_tenancy.services.postgres import DatabaseActivity

_LABELS = ("namespace", "name", "pool")


class _Figure(NamedTuple):
    name: str
    text: str
    kind: type[GaugeMetricFamily] | type[CounterMetricFamily]
    of: Callable[[DatabaseActivity], float]


_G, _C = GaugeMetricFamily, CounterMetricFamily
_FIGURES = (
    _Figure("connections", "Open connections to a tenant's database", _G, lambda a: a.connections),
    _Figure(
        "longest_transaction_seconds",
        "Age of the oldest transaction that is open in it",
        _G,
        lambda a: a.longest_transaction_seconds,
    ),
    _Figure("lock_waits", "Sessions in it that wait for a lock", _G, lambda a: a.lock_waits),
    _Figure("deadlocks", "Deadlocks in it", _C, lambda a: a.deadlocks),
    _Figure("temp_bytes", "Bytes that it wrote to temporary files", _C, lambda a: a.temp_bytes),
    _Figure("cache_hit_blocks", "Blocks that it found in the server's memory", _C, lambda a: a.blocks_hit),
    _Figure("cache_read_blocks", "Blocks that it had to ask the kernel for", _C, lambda a: a.blocks_read),
)


class DatabaseMetrics(Collector):
    """A ``reconcile.figures.DatabaseObserver`` that Prometheus collects from."""

    def __init__(self) -> None:
        self._servers: dict[Key, tuple[str, PoolFigures]] = {}
        """With the name of the pool."""
        self._gone: dict[Key, set[Key]] = {}

    def measured(self, server: Key, pool: str, figures: PoolFigures | None) -> None:
        """All of a server's anew; ``None``: it is gone. ``server``: the HostingPool, or the OdooTenant whose own it is."""
        self._gone.pop(server, None)
        if figures is None:
            self._servers.pop(server, None)
        else:
            self._servers[server] = (pool, figures)

    def gone(self, tenant: Key) -> None:
        """Of this one nothing is shown any more."""
        self._servers.pop(tenant, None)
        for server, (_, figures) in self._servers.items():
            if tenant in figures.tenants:
                self._gone.setdefault(server, set()).add(tenant)

    def collect(self) -> Iterator[Metric]:
        """What a scrape shows."""
        tenants = list(self._tenants())
        size = GaugeMetricFamily(
            "odoo_tenancy_database_size_bytes",
            "Bytes of a tenant's database, as last measured",
            labels=_LABELS,
        )
        for labels, found in tenants:
            if found.size_bytes is not None:
                size.add_metric(labels, found.size_bytes)
        yield size
        for figure in _FIGURES:
            family = figure.kind(f"odoo_tenancy_database_{figure.name}", figure.text, labels=_LABELS)
            for labels, found in tenants:
                if found.activity is not None:
                    family.add_metric(labels, figure.of(found.activity))
            yield family
        yield from self._replication()

    def _tenants(self) -> Iterator[tuple[tuple[str, str, str], TenantFigures]]:
        for server, (pool, figures) in self._servers.items():
            gone = self._gone.get(server, set())
            for key, found in figures.tenants.items():
                if key not in gone:
                    yield (key.namespace, key.name, pool), found

    def _replication(self) -> Iterator[Metric]:
        lag = GaugeMetricFamily(
            "odoo_tenancy_postgres_replay_lag_seconds",
            "Of a pool's readReplica, or of its host where that is a standby: age of the newest transaction that it shows",
            labels=("pool",),
        )
        standbys = GaugeMetricFamily(
            "odoo_tenancy_postgres_standbys", "Standbys connected to a pool's server", labels=("pool",)
        )
        slots = GaugeMetricFamily(
            "odoo_tenancy_postgres_slot_lag_bytes",
            "Bytes of WAL that a replication slot of a pool's server has still to fetch",
            labels=("pool", "slot"),
        )
        shared = (found for server, found in self._servers.items() if server.kind == "HostingPool")
        for pool, figures in shared:
            if figures.replay_lag_seconds is not None:
                lag.add_metric((pool,), figures.replay_lag_seconds)
            standbys.add_metric((pool,), figures.standbys)
            for slot, behind in figures.slot_lag_bytes.items():
                slots.add_metric((pool, slot), behind)
        yield from (lag, standbys, slots)
