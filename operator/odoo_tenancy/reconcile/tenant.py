"""OdooTenant: from the spec to a running Odoo, stage by stage, and one status at the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from odoo_tenancy.api.errors import OperatorError, Refused, Waiting
from odoo_tenancy.api.meta import API_VERSION, Condition, Key, Manifest
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.cluster.finalizer import add_finalizer, has_finalizer
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.cluster.status import patch_status_if_changed
from odoo_tenancy.desired import names
from odoo_tenancy.desired.effective import effective
from odoo_tenancy.desired.routing import url
from odoo_tenancy.reconcile import (
    adoption,
    backup_health,
    configuration,
    database,
    deletion,
    filestore,
    isolation,
    kept_policy,
    namespace,
    postgres_dedicated,
    postgres_own,
    redis,
    redis_own,
    restoring,
    rotation,
    route,
    scratch_database,
    stored_backups,
    workload,
)
from odoo_tenancy.reconcile.admission import admit, find_pool
from odoo_tenancy.reconcile.context import context_of
from odoo_tenancy.reconcile.credentials import Vault
from odoo_tenancy.reconcile.look import Look
from odoo_tenancy.reconcile.memory import PoolState, record_of
from odoo_tenancy.reconcile.report import Report, turned
from odoo_tenancy.reconcile.result import Result
from odoo_tenancy.reconcile.server_state import ServerState
from odoo_tenancy.reconcile.tenant_database import moment
from odoo_tenancy.reconcile.world import World, announce, written

REQUIRED = (
    "NamespaceReady",
    "NetworkIsolated",
    "ConfigurationReady",
    "FilestoreReady",
    "DatabaseReady",
    "WorkloadReady",
    "RouteReady",
)
"""What Ready means, in the order of the stages."""

PENDING = frozenset(
    {
        "PoolNotFound",
        "PoolDeleted",
        "PoolFull",
        "PoolCordoned",
        "ConnectionBudgetExceeded",
        "RedisBudgetExceeded",
        "QuotaTooSmall",
    }
)
"""Reasons for which a tenant has not begun: it waits outside."""


COPYING = frozenset({"Restoring", "MakingBackup", "CheckingImage", "Neutralizing"})
"""Reasons of DatabaseReady while a new tenant is filled from something older."""


@dataclass(frozen=True)
class Stage:
    """One condition, and what makes it true."""

    condition: str
    run: Callable[[Look], Awaitable[None]]
    blocks: bool
    """Without it, what follows can't be tried."""
    blocks_first: bool = False
    """The same, but only until the tenant ran once: a running one is kept right as far as it goes."""


STAGES = (
    Stage("NamespaceReady", namespace.stage, blocks=True),
    Stage("NetworkIsolated", isolation.stage, blocks=False),
    Stage("ConfigurationReady", configuration.stage, blocks=True),
    Stage("FilestoreReady", filestore.stage, blocks=False),
    Stage("DatabaseReady", database.stage, blocks=False, blocks_first=True),
    Stage("DatabaseReady", scratch_database.sweep, blocks=False),
    Stage("DatabaseReady", restoring.recall, blocks=True),
    Stage("RedisReady", redis.stage, blocks=False, blocks_first=True),
    Stage("DatabaseReady", rotation.begin, blocks=False),
    Stage("WorkloadReady", workload.stage, blocks=False, blocks_first=True),
    Stage("DatabaseReady", rotation.finish, blocks=False),
    Stage("RouteReady", route.give_login, blocks=True),
    Stage("RouteReady", route.stage, blocks=False),
)

STOPPED = (*STAGES[:2], replace(STAGES[2], blocks=False), Stage("WorkloadReady", restoring.stop, blocks=True))
"""While a restore swaps what lies under Odoo."""


@dataclass
class TenantReconciler:
    """Looks at one tenant."""

    world: World

    async def __call__(self, key: Key) -> Result:
        """One look.

        Raises:
            OperatorError: what stops the tenant, after it was written to its conditions.
        """
        ref = ObjectRef(API_VERSION, "OdooTenant", key.namespace, key.name)
        manifest = await self.world.cluster.get(ref)
        if manifest is None:
            await self._forget(key)
            return Result(gone=True)
        tenant = OdooTenant.parse(manifest)
        self._remember(tenant)
        if not self.world.options.serves(tenant.spec.pool_ref.name):
            return Result()
        if tenant.metadata.deletion_timestamp is not None:
            for backup in self.world.backups.of_tenant(key):
                if not backup.finished:  # its pods hold the volume
                    self.world.enqueue(backup.key)
            return await deletion.delete(self.world, tenant, manifest)
        report = Report()
        look: Look | None = None
        changes: list[str] = []
        try:
            look = await self._prepare(tenant, manifest, report)
            changes = look.changes
            await _converge(look)
            restoring.tell(look)
        except OperatorError as error:
            report.errors.append(error)
        except Exception as error:
            report.errors.append(OperatorError("InternalError", f"{type(error).__name__}: {error}"))
            await self._write_status(ref, tenant, manifest, report, look)
            raise
        await self._write_status(ref, tenant, manifest, report, look)
        return _result(report, look, changes)

    async def _prepare(self, tenant: OdooTenant, manifest: Manifest, report: Report) -> Look:
        """What must be known before anything is made: pool, place, claim, vault.

        The place comes first: getting a claim may mean to take over what a former tenant left.
        """
        state = find_pool(self.world.pools, tenant)
        derived = effective(tenant, state.facts.pool)
        admit(self.world.tenants, state, tenant, derived)
        await add_finalizer(self.world.cluster, manifest)
        postgres = await postgres_own.reach(self.world, tenant, state, report)
        claim = tenant.status.claim or await self._new_claim(tenant, manifest, state, postgres, report)
        vault = await self._open_vault(tenant, claim)
        vault = replace(vault, prepared=self.world.prepared.get(claim, vault.prepared))
        vault = await redis_own.certified(self.world, tenant, state, vault, derived.redis_placement)
        vault = postgres_dedicated.with_password(self.world, tenant, vault)
        vault = kept_policy.with_policy(self.world, tenant, vault)
        await postgres_own.take_stock(self.world, tenant, state, postgres, vault, derived, report)
        context = context_of(self.world, tenant, state, postgres, derived, vault)
        look = Look(self.world, tenant, manifest, state, postgres, vault, context, report)
        await look.store(vault)
        return look

    async def _new_claim(
        self,
        tenant: OdooTenant,
        manifest: Manifest,
        state: PoolState,
        postgres: ServerState,
        report: Report,
    ) -> str:
        """An identity, written down before anything carries it; the old one where only the status was lost."""
        credentials, uid = self.world.credentials, tenant.metadata.uid
        owned = await credentials.owned(uid) if has_finalizer(manifest) else ()
        known = (
            owned[0].claim
            if owned
            else await adoption.adopt(self.world, tenant, manifest, state, postgres, report)
        )
        claim = known or self.world.token(16)
        ref = ObjectRef(API_VERSION, "OdooTenant", tenant.metadata.namespace, tenant.metadata.name)
        await self.world.cluster.patch_status(ref, {"claim": claim, "phase": "Pending"})
        if not known:
            credentials.begin(claim, tenant.key, uid)
        return claim

    async def _open_vault(self, tenant: OdooTenant, claim: str) -> Vault:
        """Whose a claim is, its vault says; where that is lost, nobody gets one that two of them name.

        Raises:
            Refused: ``ClaimMismatch``.
        """
        others = [r for r in self.world.tenants.with_claim(claim) if r.uid != tenant.metadata.uid]
        if others and not await self.world.credentials.knows(claim):
            raise Refused(
                "ClaimMismatch",
                f"The claim {claim} stands in the status of OdooTenant {others[0].key.namespace}/{others[0].key.name} too, "
                "and the Secret that says whose it is is gone: clear status.claim of the one that it does not belong to "
                "(kubectl patch --subresource=status).",
            )
        return await self.world.credentials.open(claim, tenant.key, tenant.metadata.uid)

    def _remember(self, tenant: OdooTenant) -> None:
        before = self.world.tenants.get(tenant.key)
        record = record_of(tenant, self.world.options.cluster_id)
        for other in self.world.tenants.remember(record):
            self.world.enqueue(other)
        joined = before is None or (before.policy, before.begun) != (record.policy, record.begun)
        if record.policy and joined:
            self.world.enqueue(Key("BackupPolicy", tenant.metadata.namespace, record.policy))

    async def _forget(self, key: Key) -> None:
        await self.world.own_servers.forget(key)
        stored_backups.forget(self.world, key)
        record = self.world.tenants.get(key)
        self.world.own_redis.pop(key, None)
        if record is not None:
            state = self.world.pools.get(record.pool)
            if state is not None:
                state.forget(key)
                self.world.redis_used(key, None)
            self.world.databases.gone(key)
            if record.claim:
                self.world.credentials.forget(record.claim)
        for other in self.world.tenants.forget(key):
            self.world.enqueue(other)

    async def _write_status(
        self, ref: ObjectRef, tenant: OdooTenant, manifest: Manifest, report: Report, look: Look | None
    ) -> None:
        uses_redis = look is not None and look.context.redis is not None
        report.summarize((*REQUIRED, "RedisReady") if uses_redis else REQUIRED)
        backup_health.tell(self.world, tenant, report)
        _say_what_comes_later(report)
        before = tenant.status.conditions
        conditions = report.conditions(before, tenant.metadata.generation, self.world.now())
        for condition in turned(before, conditions):
            if condition.type not in _SUMMED_UP:
                await announce(self.world, manifest, condition)
        status = _status(tenant, report, look, conditions) | backup_health.summary(self.world, tenant)
        live = manifest.get("status") or {}
        if look is not None:
            live = {**live, "claim": look.context.claim}
        await patch_status_if_changed(self.world.cluster, ref, live, {**live, **status})


_SUMMED_UP = frozenset({"Reconciling", "Stalled", "RecoveryProven"})
"""Conditions that say again what others said, or that this version can't know: no events of them."""


async def _converge(look: Look) -> None:
    """All stages, as far as they go; what is not wanted any more goes when all of them came to their end."""
    first_time = not look.initialized
    restore = look.world.restores.of(look.key)
    for stage in STOPPED if restore is not None and restore.stops_odoo else STAGES:
        try:
            await stage.run(look)
        except OperatorError as error:
            look.report.failed(stage.condition, error)
            if stage.blocks or (stage.blocks_first and first_time):
                return
    if not look.report.errors:
        keep = look.keep | _jobs(look)
        look.changes.extend(written(await look.world.applier.prune(look.owner, keep)))
        await redis.leave_behind(look)


def _jobs(look: Look) -> set[ObjectRef]:
    """Jobs that are done stay to be looked at until Kubernetes clears them away."""
    return {child.ref for child in look.world.children.of(look.owner) if child.ref.kind == "Job"}


def _result(report: Report, look: Look | None, changes: list[str]) -> Result:
    """What the queue is told: errors back off, waiting comes back when it said."""
    hard = [e for e in report.errors if not isinstance(e, Waiting)]
    if hard:
        raise hard[0]
    waits = [e.retry_after for e in report.errors if e.retry_after is not None]
    if look is not None and look.again is not None:
        waits.append(look.again)
    again = min(waits) if waits else (10.0 if report.errors else None)
    return Result(requeue_after=again, changes=tuple(changes))


def _phase(tenant: OdooTenant, report: Report, *, is_restored: bool = False) -> str:
    error = report.first_to_mend
    if error is None:
        return "Suspended" if tenant.spec.suspended else "Ready"
    if error.reason in PENDING:
        return "Pending"
    if is_restored or error.reason == restoring.REASON:
        return "Restoring"
    if tenant.status.phase in ("Ready", "Degraded", "Suspended"):
        return "Degraded"
    if isinstance(error, Refused):
        return "Failed"
    database_found = report.findings.get("DatabaseReady")
    if database_found is not None and database_found.reason in ("Initializing", "TemplateInTheMaking"):
        return "Initializing"
    if database_found is not None and database_found.reason in COPYING:
        return "Restoring"
    return "Provisioning"


def _status(
    tenant: OdooTenant, report: Report, look: Look | None, conditions: tuple[Condition, ...]
) -> Manifest:
    status: Manifest = {
        "observedGeneration": tenant.metadata.generation,
        "phase": _phase(tenant, report, is_restored=look is not None and restoring.is_starting(look)),
        "conditions": [c.model_dump(mode="json", by_alias=True) for c in conditions],
    }
    if look is None:
        return status
    context = look.context
    hosts = look.hosts or tenant.status.effective.hosts
    status |= {
        "claim": context.claim,
        "url": url(context),
        "namespace": names.namespace(tenant, context.pool.pool.spec.namespace),
        "effective": {**context.effective.status(), "hosts": list(hosts)},
        "database": _database_status(look),
    }
    if look.image:
        status["image"] = look.image
    if look.redis_used is not None:
        status["redis"] = {"usedBytes": look.redis_used}
    elif tenant.status.redis.used_bytes and context.effective.redis_placement == "None":
        status["redis"] = {"usedBytes": 0}
    return status


def _database_status(look: Look) -> Manifest:
    planned = rotation.next_rotation(look.tenant, look.vault)
    live = (look.manifest.get("status") or {}).get("database") or {}
    moments = {
        "credentialsRotatedAt": look.vault.rotated_at,
        "nextRotationAt": moment(planned) if planned else "",
    }
    return {
        **{key: live[key] for key in ("sizeBytes", "connections") if key in live},
        **look.database_status,
        "name": names.database(look.context.claim),
        "host": look.context.database_host,
        **{key: value for key, value in moments.items() if value},
    }


def _say_what_comes_later(report: Report) -> None:
    """Promises that this version can't keep yet are Unknown, and say so: never silently absent, never True."""
    report.found("RecoveryProven", "Unknown", "NeverDrilled", "This version runs no restore drills yet")
