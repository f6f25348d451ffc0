"""The end of a tenant, by ``deletion.policy``: stop Odoo, settle what is outside, drop what was made, release."""

from __future__ import annotations

from dataclasses import dataclass

from odoo_tenancy.api.errors import OperatorError, Refused, Waiting
from odoo_tenancy.api.meta import API_VERSION, Key, Manifest
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.cluster.finalizer import has_finalizer, remove_finalizer
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.cluster.status import patch_status_if_changed
from odoo_tenancy.desired import labels, names
from odoo_tenancy.reconcile import (
    kept_policy,
    last_backup,
    postgres_dedicated,
    postgres_own,
    restoring,
    stored_backups,
    volumes,
)
from odoo_tenancy.reconcile.credentials import Vault, retain, retained_labels, secret, secret_name
from odoo_tenancy.reconcile.diagnosis import is_alive, pods
from odoo_tenancy.reconcile.last_backup import LastBackup
from odoo_tenancy.reconcile.look import owner_of
from odoo_tenancy.reconcile.memory import PoolState
from odoo_tenancy.reconcile.report import Report
from odoo_tenancy.reconcile.restore_steps import STOPPED
from odoo_tenancy.reconcile.result import Result
from odoo_tenancy.reconcile.server_state import ServerState
from odoo_tenancy.reconcile.stored_backups import StoredBackups
from odoo_tenancy.reconcile.tenant_database import database_of, scratch_of
from odoo_tenancy.reconcile.world import World, written
from odoo_tenancy.services.postgres import PostgresServer, TenantDatabase

RUNNING = frozenset(
    {"IngressRoute", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Deployment", "StatefulSet", "Job"}
)
"""What goes first: nobody is let in, and nothing holds the database or the volume."""


@dataclass
class Farewell:
    """One look at a tenant that goes. May be cut short anywhere, and begins again where it was."""

    world: World
    tenant: OdooTenant
    changes: list[str]

    @property
    def keeps_data(self) -> bool:
        """``Backup`` without a policy to make one by behaves as ``Retain``: the only way that loses nothing."""
        policy = self.tenant.spec.deletion.policy
        return policy == "Retain" or (policy == "Backup" and not kept_policy.takes_last_backup(self.tenant))

    async def run(self) -> None:
        """All steps. What is needed later goes later; last of all the vault, which says whose all that is."""
        await self._wait_for_restore()
        if not kept_policy.takes_last_backup(self.tenant):
            await last_backup.clear_away(self.world, self.tenant)  # of a policy that was Backup until now
        await self._stop()
        owner, prune = owner_of(self.tenant), self.world.applier.prune
        vaults = await self.world.credentials.owned(self.tenant.metadata.uid)
        if not vaults:
            await self._give_back()
        if kept_policy.takes_last_backup(self.tenant):
            for vault in vaults:
                self.changes.extend(await LastBackup(self.world, self.tenant, vault).make())
        elif self.tenant.spec.deletion.policy == "Delete":
            for vault in vaults:
                self.changes.extend(await StoredBackups(self.world, self.tenant, vault).erase())
        for vault in vaults:
            await self._settle(vault)
        kept = {self._vault_ref(vault) for vault in vaults}
        self.changes.extend(written(await prune(owner, kept, including_data=True)))
        left = [c.ref for c in self.world.children.of(owner) if c.ref not in kept]
        if left:
            shown = ", ".join(str(ref) for ref in left[:3])
            raise Waiting(
                "Deleting", f"Waits for {len(left)} objects to go: {shown}.", self.world.options.look_again
            )
        if not self.keeps_data:
            for vault in vaults:
                await volumes.wait_until_gone(self.world.cluster, names.volume_claim(vault.claim))
        self.changes.extend(written(await prune(owner, (), including_data=True)))

    async def _wait_for_restore(self) -> None:
        """One that has the tenant in its hands comes to its end first: what it made has this tenant's roles."""
        record = self.world.restores.of(self.tenant.key)
        if record is None:
            return
        self.world.enqueue(record.key)
        owner = owner_of(self.tenant)
        keep = [c.ref for c in self.world.children.of(owner) if c.ref.kind not in RUNNING]
        self.changes.extend(written(await self.world.applier.prune(owner, keep)))
        selector = labels.of_tenant(self.tenant.metadata.uid)
        if not restoring.still_running(
            await pods(self.world.cluster, self.tenant.status.namespace, selector)
        ):
            restoring.answer(self.world, record, STOPPED)
        raise Waiting("RestoreRuns", f"TenantRestore {record.key.name} comes to its end first.", 5.0)

    async def _give_back(self) -> None:
        """What an adoption that came to no end had taken, whatever the policy: it is the former tenant's still."""
        claim = self.tenant.spec.adopt.claim
        if not claim or self.tenant.spec.database.placement != "Dedicated":
            return
        vault = await self.world.credentials.read(claim)
        if vault is not None and vault.retained_since:
            where = names.data_namespace(self.tenant, "")  # who has such a server is no Shared tenant
            await postgres_dedicated.retain(self.world, self.tenant, where, claim)

    def _vault_ref(self, vault: Vault) -> ObjectRef:
        return ObjectRef("v1", "Secret", self.world.options.namespace, secret_name(vault.claim))

    async def _stop(self) -> None:
        owner = owner_of(self.tenant)
        keep = [c.ref for c in self.world.children.of(owner) if c.ref.kind not in RUNNING]
        self.changes.extend(written(await self.world.applier.prune(owner, keep)))
        where = self.tenant.status.namespace
        if not where:
            return
        live = await pods(self.world.cluster, where, labels.of_tenant(self.tenant.metadata.uid))
        live = [pod for pod in live if is_alive(pod)]  # the others hold nothing any more
        if kept_policy.takes_last_backup(self.tenant):
            live = [pod for pod in live if labels.LAST_BACKUP not in pod["metadata"]["labels"]]
        if live:
            raise Waiting("Stopping", f"Waits for {len(live)} pods to end.", self.world.options.look_again)

    async def _settle(self, vault: Vault) -> None:
        """Database and volume, then the vault: as long as it names this tenant, the step is not done."""
        await self._database(vault)
        await self._redis(vault)
        await volumes.set_reclaim(self.world.cluster, vault.claim, keep=self.keeps_data)
        if self.keeps_data:
            since = self.world.now().isoformat(timespec="seconds")
            left = retain(vault, since)
            await self.world.cluster.apply(secret(left, self.world.options.namespace, retained_labels(left)))
            self.changes.append(f"retained database and volume of claim {vault.claim}")
        self.world.credentials.forget(vault.claim)
        self.world.last_backups.pop(vault.claim, None)
        self.world.logins.pop(vault.claim, None)

    async def _database(self, vault: Vault) -> None:
        pool = self.world.pools.get(self.tenant.spec.pool_ref.name)
        if self.tenant.spec.database.placement == "Dedicated":
            await self._own_server(vault)
            return
        if self.tenant.spec.database.external is not None:
            postgres = await postgres_own.at_the_end(self.world, self.tenant)
        elif pool is None and not self.tenant.status.database.name:
            postgres = None
        else:
            postgres = _pools(pool, self.tenant)
        if pool is not None:
            pool.forget(self.tenant.key)
            self.world.redis_used(self.tenant.key, None)
        self.world.databases.gone(self.tenant.key)
        if postgres is None or postgres.server is None:
            return
        postgres.forget(self.tenant.key)
        server = postgres.server
        await self._in_postgres(server, database_of(vault.claim))

    async def _own_server(self, vault: Vault) -> None:
        """One that the operator made goes with its namespace; or it stays, and nobody is let in."""
        self.world.databases.gone(self.tenant.key)
        where = f"{self.tenant.status.namespace}-data"
        if not self.keeps_data or not self.tenant.status.namespace:
            return
        postgres = await postgres_own.made_at_the_end(self.world, self.tenant, where, vault)
        if postgres is not None and postgres.server is not None:
            postgres.forget(self.tenant.key)
            await self._in_postgres(postgres.server, database_of(vault.claim))
        await postgres_dedicated.retain(self.world, self.tenant, where, vault.claim)
        self.changes.append(f"retained namespace {where}")

    async def _in_postgres(self, server: PostgresServer, wanted: TenantDatabase) -> None:
        scratch = scratch_of(wanted.claim)
        found = await server.inventory_of(scratch.names)  # of a verification that nobody waits for any more
        strangers = await server.drop(scratch) if found.databases or found.roles else ()
        if self.keeps_data:
            strangers += await server.retain(wanted, self.world.now())
        else:
            strangers += await server.drop(wanted)
        if strangers:
            await self.world.events.publish(
                _regarding(self.tenant),
                "Warning",
                "LeftAlone",
                f"Not this tenant's, and left alone in PostgreSQL: {', '.join(strangers)}",
            )

    async def _redis(self, vault: Vault) -> None:
        """The user and its keys, whatever the policy says: sessions and caches are nothing to come back to."""
        pool = self.world.pools.get(self.tenant.spec.pool_ref.name)
        if pool is None or pool.redis is None:
            return
        known = pool.redis.inventory.users if pool.redis.inventory is not None else {}
        moved_away = self.tenant.status.effective.redis_placement != "Pool"
        if moved_away and names.redis_user(vault.claim) not in known:
            return
        if pool.redis.problem is not None:
            raise pool.redis.problem
        if pool.redis.server is None:
            raise Waiting("PoolNotReady", "The pool's Redis was not looked at yet.", 2.0)
        for stranger in await pool.redis.server.drop_user(vault.claim):
            await self.world.events.publish(
                _regarding(self.tenant),
                "Warning",
                "LeftAlone",
                f"Not this tenant's, and left alone in Redis: {stranger}",
            )


async def delete(world: World, tenant: OdooTenant, manifest: Manifest) -> Result:
    """One look at a tenant with a deletion timestamp.

    Raises:
        OperatorError: what the deletion waits for, after it was written to the status; it is tried again and again.
    """
    if not has_finalizer(manifest):
        return Result(gone=True)
    farewell = Farewell(world, tenant, [])
    try:
        await farewell.run()
    except OperatorError as error:
        await _say(world, tenant, manifest, error)
        if isinstance(error, Waiting):
            return Result(requeue_after=error.retry_after, changes=tuple(farewell.changes))
        raise
    await remove_finalizer(world.cluster, manifest)
    await world.own_servers.forget(tenant.key)
    _forget(world, tenant.key, tenant)
    return Result(gone=True, changes=(*farewell.changes, f"deleted ({tenant.spec.deletion.policy})"))


def _pools(pool: PoolState | None, tenant: OdooTenant) -> ServerState:
    if pool is None or pool.postgres.server is None:
        raise Waiting(
            "PoolNotFound",
            f"HostingPool {tenant.spec.pool_ref.name} is needed to settle the tenant's database and is not there: "
            "create it again, or remove the finalizer by hand and the database with it.",
            15.0,
        )
    if pool.postgres.problem is not None:
        raise pool.postgres.problem
    return pool.postgres


async def _say(world: World, tenant: OdooTenant, manifest: Manifest, error: OperatorError) -> None:
    report = Report()
    report.failed("Ready", error)
    report.found("Reconciling", "True", "Deleting", error.message)
    if isinstance(error, Refused):
        report.found("Stalled", "True", error.reason, error.message)
    else:
        report.found("Stalled", "False", "NotStalled", "Deletion goes on by itself")
    conditions = report.conditions(tenant.status.conditions, tenant.metadata.generation, world.now())
    ref = ObjectRef(API_VERSION, "OdooTenant", tenant.metadata.namespace, tenant.metadata.name)
    live = manifest.get("status") or {}
    after = {
        **live,
        "phase": "Deleting",
        "conditions": [c.model_dump(mode="json", by_alias=True) for c in conditions],
    }
    await patch_status_if_changed(world.cluster, ref, live, after)


def _forget(world: World, key: Key, tenant: OdooTenant) -> None:
    world.children.forget(owner_of(tenant))
    world.own_redis.pop(key, None)
    stored_backups.forget(world, key)
    for other in world.tenants.forget(key):
        world.enqueue(other)
    pool = tenant.spec.pool_ref.name
    world.enqueue(Key("HostingPool", "", pool))  # it may have waited for its last tenant, and counts them
    for record in world.tenants.of_pool(pool):
        if not record.admitted:  # a place and connections are free now
            world.enqueue(record.key)


def _regarding(tenant: OdooTenant) -> Manifest:
    meta = tenant.metadata
    return {
        "apiVersion": API_VERSION,
        "kind": "OdooTenant",
        "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
    }
