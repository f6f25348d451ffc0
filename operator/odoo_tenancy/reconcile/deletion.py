"""The end of a tenant, by ``deletion.policy``: stop Odoo, settle what is outside, drop what was made, release."""

from __future__ import annotations

from dataclasses import dataclass

from odoo_tenancy.api.errors import OperatorError, Waiting
from odoo_tenancy.api.meta import API_VERSION, Key, Manifest
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.cluster.finalizer import has_finalizer, remove_finalizer
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.cluster.status import patch_status_if_changed
from odoo_tenancy.desired import labels, names
from odoo_tenancy.reconcile import volumes
from odoo_tenancy.reconcile.credentials import Vault, retain, retained_labels, secret, secret_name
from odoo_tenancy.reconcile.diagnosis import pods
from odoo_tenancy.reconcile.look import owner_of
from odoo_tenancy.reconcile.memory import PoolState
from odoo_tenancy.reconcile.report import Report
from odoo_tenancy.reconcile.result import Result
from odoo_tenancy.reconcile.world import World, written
from odoo_tenancy.services.postgres import PostgresServer, TenantDatabase

RUNNING = frozenset({"IngressRoute", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Deployment", "Job"})
"""What goes first: nobody is let in, and nothing holds the database or the volume."""


@dataclass
class Farewell:
    """One look at a tenant that goes. May be cut short anywhere, and begins again where it was."""

    world: World
    tenant: OdooTenant
    changes: list[str]

    @property
    def keeps_data(self) -> bool:
        """``Backup`` behaves as ``Retain`` while there are no backups."""
        return self.tenant.spec.deletion.policy != "Delete"

    async def run(self) -> None:
        """All steps. What is needed later goes later; last of all the vault, which says whose all that is."""
        await self._stop()
        owner, prune = owner_of(self.tenant), self.world.applier.prune
        vaults = await self.world.credentials.owned(self.tenant.metadata.uid)
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
        if live:
            raise Waiting("Stopping", f"Waits for {len(live)} pods to end.", self.world.options.look_again)

    async def _settle(self, vault: Vault) -> None:
        """Database and volume, then the vault: as long as it names this tenant, the step is not done."""
        await self._database(vault)
        await volumes.set_reclaim(self.world.cluster, vault.claim, keep=self.keeps_data)
        if self.keeps_data:
            since = self.world.now().isoformat(timespec="seconds")
            left = retain(vault, since)
            await self.world.cluster.apply(secret(left, self.world.options.namespace, retained_labels(left)))
            self.changes.append(f"retained database and volume of claim {vault.claim}")
        self.world.credentials.forget(vault.claim)

    async def _database(self, vault: Vault) -> None:
        pool = self.world.pools.get(self.tenant.spec.pool_ref.name)
        if pool is None and not self.tenant.status.database.name:
            return
        server = _server(pool, self.tenant)
        if pool is not None:
            pool.wanted.pop(self.tenant.key, None)
        wanted = database_of(vault.claim)
        if self.keeps_data:
            strangers = await server.retain(wanted, self.world.now())
        else:
            strangers = await server.drop(wanted)
        if strangers:
            await self.world.events.publish(
                _regarding(self.tenant),
                "Warning",
                "LeftAlone",
                f"Not this tenant's, and left alone in PostgreSQL: {', '.join(strangers)}",
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
    _forget(world, tenant.key, tenant)
    return Result(gone=True, changes=(*farewell.changes, f"deleted ({tenant.spec.deletion.policy})"))


def database_of(claim: str) -> TenantDatabase:
    """The names under which a claim's database and roles are found; its limits don't matter any more."""
    return TenantDatabase(
        claim=claim,
        database=names.database(claim),
        owner_role=names.database(claim),
        login_role=names.login_role(claim, "a"),
        idle_login_role=names.login_role(claim, "b"),
        connection_limit=1,
    )


def _server(pool: PoolState | None, tenant: OdooTenant) -> PostgresServer:
    if pool is None or pool.server is None:
        raise Waiting(
            "PoolNotFound",
            f"HostingPool {tenant.spec.pool_ref.name} is needed to settle the tenant's database and is not there: "
            "create it again, or remove the finalizer by hand and the database with it.",
            15.0,
        )
    if pool.postgres_problem is not None:
        raise pool.postgres_problem
    return pool.server


async def _say(world: World, tenant: OdooTenant, manifest: Manifest, error: OperatorError) -> None:
    report = Report()
    report.failed("Ready", error)
    report.found("Reconciling", "True", "Deleting", error.message)
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
