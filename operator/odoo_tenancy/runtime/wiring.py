"""Which reconciler works on which kind, and who remembers what of an event. The one place where they meet."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from odoo_tenancy.api.errors import OperatorError
from odoo_tenancy.api.meta import API_VERSION, Key
from odoo_tenancy.api.observe import WriteHook
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.cluster.apply import Applier
from odoo_tenancy.cluster.children import Children
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.events import Events
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.reconcile import backup_policy, pool_redis
from odoo_tenancy.reconcile.backup_memory import Buckets
from odoo_tenancy.reconcile.backup_policy import PolicyReconciler
from odoo_tenancy.reconcile.credentials import CredentialStore
from odoo_tenancy.reconcile.memory import Pools, Tenants, record_of
from odoo_tenancy.reconcile.pool import PoolReconciler
from odoo_tenancy.reconcile.result import Reconciler
from odoo_tenancy.reconcile.tenant import TenantReconciler
from odoo_tenancy.reconcile.tenant_backup import BackupReconciler
from odoo_tenancy.reconcile.tenant_restore import RestoreReconciler
from odoo_tenancy.reconcile.upkeep import UpkeepReconciler
from odoo_tenancy.reconcile.upkeep_memory import UPKEEP
from odoo_tenancy.reconcile.world import Options, World
from odoo_tenancy.runtime.clock import Clock
from odoo_tenancy.runtime.metrics import Metrics
from odoo_tenancy.runtime.queue import WorkQueue
from odoo_tenancy.runtime.settings import Settings
from odoo_tenancy.runtime.watch import Records, Seen
from odoo_tenancy.services.object_store import Bucket, BucketAddress
from odoo_tenancy.services.postgres import PostgresAddress, PostgresServer
from odoo_tenancy.services.redis import DedicatedServer, RedisAddress, RedisServer

log = structlog.get_logger("odoo_tenancy.wiring")


@dataclass(frozen=True)
class Context:
    """What the runtime gives to the reconcilers."""

    settings: Settings
    cluster: Cluster
    queue: WorkQueue
    metrics: Metrics
    clock: Clock
    hook: WriteHook | None = None
    """Told before and after each write to anything outside."""

    def enqueue(self, key: Key, seconds: float = 0.0) -> None:
        """Ask for a look at an object, at once or in so many seconds."""
        self.queue.add_after(key, seconds)


async def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Wiring:
    """What the reconcilers give to the runtime."""

    reconcilers: Mapping[str, Reconciler] = field(default_factory=dict)
    """By kind: one for each of ``KINDS``."""

    children: Children = field(default_factory=Children)
    """Told of each event of a child, and of a stranger's object that may open a namespace."""

    seen: Mapping[str, Seen] = field(default_factory=dict)
    """By kind of ours: told of each event of it, before its key is queued."""

    records: Mapping[str, Records] = field(default_factory=dict)
    """By kind of ours: those that are watched past Kopf, and who remembers them."""

    begin: Callable[[], Awaitable[None]] = _nothing
    """Called once, when all children that exist are known, and before anything is worked on."""

    close: Callable[[], Awaitable[None]] = _nothing
    """Called at the end, when nothing is worked on any more."""


Build = Callable[[Context], Awaitable[Wiring]]

KINDS = ("OdooTenant", "HostingPool", "BackupPolicy", "TenantBackup", "TenantRestore")
"""The kinds that have a reconciler."""
_OWN_JOBS = frozenset({"TenantBackup", UPKEEP, "TenantRestore"})
"""Owners whose Jobs are looked at when the operator begins: they may be finished, or gone, and something of it be left."""


async def build_reconcilers(context: Context) -> Wiring:
    """The reconcilers of this version. Called once, when the Lease is ours."""
    settings = context.settings
    children = Children(frozenset(settings.tolerated_managers))
    image = settings.addon_image or await _own_image(context)
    world = _world(context, children, await _cluster_id(context.cluster), image)
    pools = PoolReconciler(world)

    async def begin() -> None:
        await _read_all(context, world, pools)

    async def close() -> None:
        for state in world.pools:
            await pool_redis.forget(state)
            await state.postgres.disconnect()
        await world.own_servers.close()
        world.buckets.close()

    return Wiring(
        reconcilers={
            "OdooTenant": TenantReconciler(world),
            "HostingPool": pools,
            "BackupPolicy": PolicyReconciler(world),
            "TenantBackup": BackupReconciler(world),
            UPKEEP: UpkeepReconciler(world),
            "TenantRestore": RestoreReconciler(world),
        },
        children=children,
        records={"TenantBackup": world.backups, "TenantRestore": world.restores},
        begin=begin,
        close=close,
    )


async def _read_all(context: Context, world: World, pools: PoolReconciler) -> None:
    """Tenants and pools are read before the first is worked on: whose is a host name, how many connections are reserved,
    and whether a pool exists can't be told from half of them."""
    for body in await context.cluster.list(API_VERSION, "OdooTenant"):
        world.tenants.remember(record_of(OdooTenant.parse(body), world.options.cluster_id))
    for owner in tuple(world.children.owners()):
        if owner.kind in _OWN_JOBS:
            context.enqueue(owner.key)
    for body in await context.cluster.list(API_VERSION, "BackupPolicy"):
        backup_policy.expect(world, body)
    for body in await context.cluster.list(API_VERSION, "HostingPool"):
        if context.settings.serves(body["metadata"]["name"]):
            await _first_look(pools, Key("HostingPool", "", body["metadata"]["name"]))


async def _first_look(pools: PoolReconciler, key: Key) -> None:
    """What is wrong with the pool stands in its conditions by then, and the queue comes back to it."""
    try:
        await pools(key)
    except OperatorError as error:
        log.warning("pool not ready", pool=key.name, reason=error.reason, message=error.message)


async def _cluster_id(cluster: Cluster) -> str:
    """On everything made outside of Kubernetes: two clusters may share a PostgreSQL server."""
    body = await cluster.get(ObjectRef("v1", "Namespace", "", "kube-system"))
    if body is None:
        raise OperatorError(
            "NoClusterId", "Namespace kube-system, whose UID tells clusters apart, does not exist."
        )
    return str(body["metadata"]["uid"])


async def _own_image(context: Context) -> str:
    """That of the pod that this is: tenants' pods take the addon from it.

    Raises:
        OperatorError: ``NoAddonImage``.
    """
    settings = context.settings
    body = await context.cluster.get(ObjectRef("v1", "Pod", settings.namespace, settings.identity))
    if body is None:
        raise OperatorError(
            "NoAddonImage",
            f"There is no Pod {settings.namespace}/{settings.identity}, so it can't be told from which image tenants get "
            "Odoo's addon: outside of a cluster set ODOO_TENANCY_ADDON_IMAGE.",
        )
    return str(body["spec"]["containers"][0]["image"])


def _world(context: Context, children: Children, cluster_id: str, addon_image: str) -> World:
    settings, cluster = context.settings, context.cluster

    def now() -> datetime:
        return datetime.now(UTC)

    def connect(address: PostgresAddress) -> PostgresServer:
        return PostgresServer(address, operator=cluster_id, hook=context.hook)

    def connect_redis(address: RedisAddress) -> RedisServer:
        return RedisServer(address, operator=cluster_id, hook=context.hook)

    def connect_dedicated_redis(address: RedisAddress) -> DedicatedServer:
        return DedicatedServer(address, hook=context.hook)

    def connect_bucket(address: BucketAddress) -> Bucket:
        return Bucket(address, context.hook)

    return World(
        cluster=cluster,
        children=children,
        applier=Applier(cluster, children),
        events=Events(cluster, settings.identity, now),
        credentials=CredentialStore(cluster, settings.namespace, secrets.token_hex),
        tenants=Tenants(),
        pools=Pools(),
        enqueue=context.enqueue,
        connect_postgres=connect,
        connect_redis=connect_redis,
        connect_dedicated_redis=connect_dedicated_redis,
        drifted=context.metrics.drift_repaired,
        redis_used=context.metrics.redis_used,
        databases=context.metrics.databases,
        now=now,
        seconds=context.clock.now,
        token=secrets.token_hex,
        buckets=Buckets(connect_bucket),
        options=_options(settings, cluster_id, addon_image),
    )


def _options(settings: Settings, cluster_id: str, addon_image: str) -> Options:
    """What reconcilers need to know of the settings."""
    return Options(
        namespace=settings.namespace,
        addon_image=addon_image,
        redis_image=settings.redis_image,
        postgres_image=settings.postgres_image,
        cloudnative_pg_namespace=settings.cloudnative_pg_namespace,
        sizes_every=settings.sizes_every,
        activity_every=settings.activity_every,
        cluster_id=cluster_id,
        serves=settings.serves,
    )
