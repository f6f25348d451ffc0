"""What a tenant's tier, tenancy and volume make of what its spec leaves open. Published in
``status.effective``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.pool import HostingPool
from odoo_tenancy.api.shared import ResourceRequirements
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.api.types import duration_seconds, parse_quantity
from odoo_tenancy.desired import names
from odoo_tenancy.desired.connections import Connections, connections

Spread = Literal["None", "Preferred", "Required"]


@dataclass(frozen=True)
class Tier:
    """Defaults of one tier. Objectives are durations as in a spec."""

    replicas: int
    spread: Spread
    rto: str
    rpo: str
    drill_every: str
    severity: str


TIERS = {
    "Sandbox": Tier(1, "None", "24h", "24h", "180d", "info"),
    "Standard": Tier(1, "None", "4h", "24h", "180d", "warning"),
    "Business": Tier(2, "Preferred", "1h", "4h", "90d", "warning"),
    "Critical": Tier(3, "Required", "30m", "1h", "30d", "critical"),
}


@dataclass(frozen=True)
class Resources:
    """Requests and limits of one container, as Kubernetes quantities."""

    cpu_request: str
    memory_request: str
    cpu_limit: str
    memory_limit: str

    def manifest(self) -> dict[str, dict[str, str]]:
        return {
            "requests": {"cpu": self.cpu_request, "memory": self.memory_request},
            "limits": {"cpu": self.cpu_limit, "memory": self.memory_limit},
        }


JOB_RESOURCES = Resources("100m", "512Mi", "1", "2Gi")
"""Of the Jobs that initialise a database and install modules: one process that loads every module's data."""


BACKUP_RESOURCES = Resources("100m", "512Mi", "2", "2Gi")
"""Of the Jobs that back up and verify: they compress, encrypt and hash, and a repository's index is in memory."""


@dataclass(frozen=True)
class Effective:
    """One tenant with nothing left open."""

    replicas: int
    """Web replicas, the minimum where there is autoscaling."""
    max_replicas: int
    """The same, at most."""
    autoscaled: bool
    disruption_budget: bool
    spread: Spread
    single_node: bool
    """The filestore can be mounted by one node only: everything that mounts it runs there, and nothing
    overlaps."""
    storage_class_name: str
    """Empty: the cluster's default class."""
    access_modes: tuple[str, ...]
    web: Resources
    cron: Resources
    job: Resources
    connections: Connections
    read_only_connections: int
    """CONNECTION LIMIT of the role of ``readOnlyAccess``; 0 where there is none."""
    rto_seconds: int
    rpo_seconds: int
    drill_every_seconds: int
    alert_severity: str
    database_placement: str
    redis_placement: str
    redis_max_bytes: int
    """Of the pool's Redis; 0 where the tenant has none of it."""

    @property
    def rolling_pods(self) -> int:
        """Web pods that may exist at once: the replicas at their maximum, and one more while a change rolls
        out."""
        return self.max_replicas + (0 if self.single_node else 1)

    def status(self) -> dict[str, Any]:
        """``status.effective``."""
        status = {
            "replicas": self.replicas,
            "maxReplicas": self.max_replicas,
            "connectionLimit": self.connections.limit,
            "dbMaxconn": self.connections.per_worker,
            "rtoSeconds": self.rto_seconds,
            "rpoSeconds": self.rpo_seconds,
            "drillEverySeconds": self.drill_every_seconds,
            "alertSeverity": self.alert_severity,
            "databasePlacement": self.database_placement,
            "redisPlacement": self.redis_placement,
            "redisMaxBytes": self.redis_max_bytes,
            "storageClassName": self.storage_class_name,
            "accessModes": list(self.access_modes),
        }
        if self.read_only_connections:
            status["readOnlyConnections"] = self.read_only_connections
        return status


def effective(tenant: OdooTenant, pool: HostingPool) -> Effective:
    """Fill in what the spec leaves open.

    Raises:
        Refused: ``AccessModeAllowsOneReplica``: more web replicas than the volume lets run;
            ``AccessModeNotSupported``: ReadWriteOncePod;
            ``DedicatedNeedsOwnNamespace``, ``DataNamespaceTooLong``: no place for a Redis of its own;
            ``ConnectionLimitTooLow``: the role's limit cannot feed the processes that may run at once.
    """
    spec = tenant.spec
    tier = TIERS[spec.tier]
    modes = tuple(spec.filestore.access_modes or pool.spec.storage.access_modes)
    single_node = _single_node(modes)
    replicas, max_replicas = _replicas(tenant, tier, single_node)
    redis = _redis_placement(tenant, pool)
    if spec.database.placement == "Dedicated":
        _check_data_namespace(tenant, pool, "database")
    return Effective(
        replicas=replicas,
        max_replicas=max_replicas,
        autoscaled=max_replicas > replicas,
        disruption_budget=replicas > 1,
        spread=tier.spread if max_replicas > 1 else "None",
        single_node=single_node,
        storage_class_name=spec.filestore.storage_class_name or pool.spec.storage.storage_class_name or "",
        access_modes=modes,
        web=_overlay(_web_default(spec.web.workers), spec.web.resources),
        cron=_overlay(Resources("50m", "256Mi", "500m", "1Gi"), spec.cron.resources),
        job=JOB_RESOURCES,
        connections=connections(
            limit=spec.database.connection_limit,
            web_pods=max_replicas if single_node else max_replicas + 1,
            workers=spec.web.workers,
            cron_threads=spec.cron.threads,
        ),
        read_only_connections=_read_only_connections(tenant),
        rto_seconds=int(duration_seconds(spec.objectives.rto or tier.rto)),
        rpo_seconds=int(duration_seconds(spec.objectives.rpo or tier.rpo)),
        drill_every_seconds=int(duration_seconds(spec.objectives.drill_every or tier.drill_every)),
        alert_severity=tier.severity,
        database_placement=tenant.spec.database.placement or "Pool",
        redis_placement=redis,
        redis_max_bytes=int(parse_quantity(spec.redis.max_memory)) if redis == "Pool" else 0,
    )


def _read_only_connections(tenant: OdooTenant) -> int:
    access = tenant.spec.database.read_only_access
    return access.connection_limit if access.enabled else 0


def _single_node(modes: tuple[str, ...]) -> bool:
    if "ReadWriteOncePod" in modes:
        raise Refused(
            "AccessModeNotSupported",
            "spec.filestore.accessModes is ReadWriteOncePod, but web, cron and Jobs mount the filestore at "
            "once: use ReadWriteMany, or ReadWriteOnce with one web replica.",
        )
    return "ReadWriteMany" not in modes


def _replicas(tenant: OdooTenant, tier: Tier, single_node: bool) -> tuple[int, int]:
    """Least and most web replicas. A tier's own wish for more gives way to the volume; a spec's is
    refused."""
    web = tenant.spec.web
    asked = web.replicas
    most = web.autoscaling.max_replicas if web.autoscaling else 0
    if single_node:
        if max(asked or 1, most) > 1:
            raise Refused(
                "AccessModeAllowsOneReplica",
                f"{max(asked or 1, most)} web replicas are asked for, but the filestore is ReadWriteOnce, "
                "which only one node can mount: give it accessModes [ReadWriteMany] and a storage class that "
                "has it, or set spec.web.replicas to 1 and leave out spec.web.autoscaling.",
            )
        return 1, 1
    least = asked or tier.replicas
    return least, max(least, most)


def _web_default(workers: int) -> Resources:
    """One core for every two workers, and memory for the parent and each worker."""
    return Resources("100m", "512Mi", str(max(1, math.ceil(workers / 2))), f"{1024 + 512 * workers}Mi")


def _overlay(default: Resources, asked: ResourceRequirements) -> Resources:
    """The default with what the spec names over it; a request never exceeds its limit."""
    limits, requests = dict(asked.limits), dict(asked.requests)
    cpu_limit = limits.get("cpu", _larger(default.cpu_limit, requests.get("cpu")))
    memory_limit = limits.get("memory", _larger(default.memory_limit, requests.get("memory")))
    return Resources(
        cpu_request=requests.get("cpu", _smaller(default.cpu_request, cpu_limit)),
        memory_request=requests.get("memory", _smaller(default.memory_request, memory_limit)),
        cpu_limit=cpu_limit,
        memory_limit=memory_limit,
    )


def _larger(one: str, other: str | None) -> str:
    return one if other is None or parse_quantity(one) >= parse_quantity(other) else other


def _smaller(one: str, other: str) -> str:
    return one if parse_quantity(one) <= parse_quantity(other) else other


def _redis_placement(tenant: OdooTenant, pool: HostingPool) -> str:
    """``Pool`` is the default of every tenant; a pool without a Redis leaves its sessions in files."""
    placement = tenant.spec.redis.placement
    if placement == "Dedicated":
        _check_data_namespace(tenant, pool, "redis")
    return "None" if placement == "Pool" and pool.spec.redis is None else placement


def _check_data_namespace(tenant: OdooTenant, pool: HostingPool, part: str) -> None:
    if tenant.spec.tenancy == "Shared":  # the schema says so too; this is for objects from before it did
        raise Refused(
            "DedicatedNeedsOwnNamespace",
            f"A Shared tenant can't have a {part} server of its own: its pool's namespace has no data namespace beside it. "
            f"Choose another spec.{part}.placement.",
        )
    name = names.data_namespace(tenant, pool.spec.namespace)
    if len(name) > _NAMESPACE_LIMIT:
        raise Refused(
            "DataNamespaceTooLong",
            f"spec.{part}.placement is Dedicated, which needs a namespace {name}, but that has {len(name)} characters of "
            f"{_NAMESPACE_LIMIT}: choose a shorter spec.namespace (in a new OdooTenant), or placement Pool.",
        )


_NAMESPACE_LIMIT = 63
