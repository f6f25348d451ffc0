"""What every reconciler is given: the cluster, the memory, and what would otherwise be global."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from odoo_tenancy.api.meta import Condition, Key, Manifest
from odoo_tenancy.cluster.apply import Applier, Change
from odoo_tenancy.cluster.children import Children
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.events import Events
from odoo_tenancy.reconcile.active_backup import ActiveBackup
from odoo_tenancy.reconcile.backup_memory import Backups, Buckets, CataloguePass, Policies
from odoo_tenancy.reconcile.credentials import CredentialStore
from odoo_tenancy.reconcile.erasing_memory import ErasingBackups
from odoo_tenancy.reconcile.figures import DatabaseObserver
from odoo_tenancy.reconcile.memory import OwnRedis, Pools, Tenants
from odoo_tenancy.reconcile.report import is_problem
from odoo_tenancy.reconcile.restore_memory import Restores
from odoo_tenancy.reconcile.server_state import OwnServers
from odoo_tenancy.reconcile.upkeep_memory import Upkeep
from odoo_tenancy.services.object_store import Credentials
from odoo_tenancy.services.postgres import PostgresAddress, PostgresServer
from odoo_tenancy.services.redis import DedicatedServer, RedisAddress, RedisServer


class Enqueue(Protocol):
    """Asks for a look at another object."""

    def __call__(self, key: Key, seconds: float = 0.0) -> None: ...


class DriftObserver(Protocol):
    """Counts what was changed by others and brought back."""

    def __call__(self, kind: str, manager: str, /) -> None: ...


class RedisObserver(Protocol):
    """Told how many bytes of Redis a tenant uses; ``None``: it is gone."""

    def __call__(self, tenant: Key, used: int | None, /) -> None: ...


class ConnectPostgres(Protocol):
    """Makes the client of a server; nothing is connected before it is first used."""

    def __call__(self, address: PostgresAddress) -> PostgresServer: ...


class ConnectRedis(Protocol):
    """The same of a Redis."""

    def __call__(self, address: RedisAddress) -> RedisServer: ...


class ConnectDedicatedRedis(Protocol):
    """The same of a Redis of a tenant's own."""

    def __call__(self, address: RedisAddress) -> DedicatedServer: ...


@dataclass(frozen=True)
class Options:
    """What the settings say to the reconcilers."""

    namespace: str = "odoo-tenancy-system"
    """The operator's own: pools' Secrets are read from it, generated values are kept in it."""
    look_again: float = 2.0
    """Seconds between two looks at what starts, where no watch tells."""
    addon_image: str = ""
    """The operator's own image: Odoo's pods take the addon from it."""
    sizes_every: float = 300.0
    """Seconds between two measurements of all databases of a pool."""
    activity_every: float = 60.0
    """The same of what goes on in them."""
    redis_image: str = ""
    """Of the Redis of a tenant's own."""
    postgres_image: str = ""
    """Of the PostgreSQL of a tenant's own; empty: CloudNativePG's default."""
    cloudnative_pg_namespace: str = "cnpg-system"
    cluster_id: str = ""
    """On everything made outside of Kubernetes: two clusters may share a PostgreSQL server."""
    serves: Callable[[str], bool] = lambda _: True
    """Whether a pool, with its tenants, is this operator's: others may serve the rest."""


@dataclass(frozen=True)
class World:
    """The outside and the memory, for all reconcilers alike."""

    cluster: Cluster
    children: Children
    applier: Applier
    events: Events
    credentials: CredentialStore
    tenants: Tenants
    pools: Pools
    enqueue: Enqueue
    connect_postgres: ConnectPostgres
    connect_redis: ConnectRedis
    connect_dedicated_redis: ConnectDedicatedRedis
    drifted: DriftObserver
    redis_used: RedisObserver
    databases: DatabaseObserver
    now: Callable[[], datetime]
    seconds: Callable[[], float]
    """Of a clock that never goes back."""
    token: Callable[[int], str]
    options: Options
    buckets: Buckets
    """Of the policies."""
    policies: Policies = field(default_factory=Policies)
    backups: Backups = field(default_factory=Backups)
    restores: Restores = field(default_factory=Restores)
    upkeep: Upkeep = field(default_factory=Upkeep)
    """Of the tenants' repositories."""
    prepared: dict[str, str] = field(default_factory=dict)
    """By claim: which repository was made with which keys, until the tenant's vault has it."""
    last_backups: dict[str, ActiveBackup] = field(default_factory=dict)
    """By claim: of tenants that are being deleted, as their vaults have them."""
    erasing: dict[str, ErasingBackups] = field(default_factory=dict)
    """By claim: how far what is stored of tenants that are being deleted was erased."""
    catalogues: dict[Key, CataloguePass] = field(default_factory=dict)
    """By policy: how far its store was gone through."""
    own_redis: dict[Key, OwnRedis] = field(default_factory=dict)
    """By tenant."""
    logins: dict[str, Credentials] = field(default_factory=dict)
    """By claim: by what a tenant's Jobs last got at the store, where it has a login of its own."""
    sweeping: set[str] = field(default_factory=set)
    """Claims whose scratch database is being dropped, as no verification uses it."""
    own_servers: OwnServers = field(default_factory=OwnServers)
    """PostgreSQL servers of single tenants."""


def written(changes: Sequence[Change]) -> tuple[str, ...]:
    """The changes as words for the log line: what was left as it was is not among them."""
    return tuple(f"{c.action} {c.ref}" for c in changes if c.action != "unchanged")


async def report_drift(world: World, regarding: Manifest, changes: Sequence[Change]) -> None:
    """Say what was brought back: one event each, which names object, fields and writers, and a count by each writer."""
    for change in changes:
        drift = change.drift
        if drift is None:
            continue
        writers = drift.writers or ("unknown",)
        fields = f" ({', '.join(drift.fields)})" if drift.fields else ""
        for writer in writers:
            world.drifted(change.ref.kind, writer)
        await world.events.publish(
            regarding,
            "Warning",
            "DriftRepaired",
            f"{change.ref} was {drift.kind} by {', '.join(writers)}{fields}; brought back",
        )


async def announce(world: World, manifest: Manifest, condition: Condition) -> None:
    """One event for a condition whose status or reason has changed."""
    message = f"{condition.type} is {condition.status}: {condition.message}"
    await world.events.publish(
        manifest, "Warning" if is_problem(condition) else "Normal", condition.reason, message
    )
