"""OdooTenant: from the spec to a running Odoo, stage by stage, and one status at the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from odoo_tenancy.api.errors import OperatorError, Refused, Waiting
from odoo_tenancy.api.meta import API_VERSION, Condition, Key, Manifest
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.cluster.finalizer import add_finalizer
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.cluster.status import patch_status_if_changed
from odoo_tenancy.desired import names
from odoo_tenancy.desired.context import TenantContext
from odoo_tenancy.desired.effective import Effective, effective
from odoo_tenancy.desired.routing import url
from odoo_tenancy.reconcile import (
    adoption,
    configuration,
    database,
    deletion,
    filestore,
    isolation,
    namespace,
    route,
    workload,
)
from odoo_tenancy.reconcile.admission import admit, find_pool, refuse_what_is_not_there_yet
from odoo_tenancy.reconcile.credentials import Vault
from odoo_tenancy.reconcile.look import Look
from odoo_tenancy.reconcile.memory import PoolState, record_of
from odoo_tenancy.reconcile.report import Report, turned
from odoo_tenancy.reconcile.result import Result
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
    {"PoolNotFound", "PoolDeleted", "PoolFull", "PoolCordoned", "ConnectionBudgetExceeded", "QuotaTooSmall"}
)
"""Reasons for which a tenant has not begun: it waits outside."""


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
    Stage("WorkloadReady", workload.stage, blocks=False, blocks_first=True),
    Stage("RouteReady", route.stage, blocks=False),
)


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
            self._forget(key)
            return Result(gone=True)
        tenant = OdooTenant.parse(manifest)
        self._remember(tenant)
        if not self.world.options.serves(tenant.spec.pool_ref.name):
            return Result()
        if tenant.metadata.deletion_timestamp is not None:
            return await deletion.delete(self.world, tenant, manifest)
        report = Report()
        look: Look | None = None
        changes: list[str] = []
        try:
            look = await self._prepare(tenant, manifest, report)
            changes = look.changes
            await _converge(look)
        except OperatorError as error:
            report.errors.append(error)
        except Exception as error:
            report.errors.append(OperatorError("InternalError", f"{type(error).__name__}: {error}"))
            await self._write_status(ref, tenant, manifest, report, look)
            raise
        await self._write_status(ref, tenant, manifest, report, look)
        return _result(report, look, changes)

    async def _prepare(self, tenant: OdooTenant, manifest: Manifest, report: Report) -> Look:
        """What must be known before anything is made: pool, place, claim, vault."""
        state = find_pool(self.world.pools, tenant)
        refuse_what_is_not_there_yet(tenant)
        derived = effective(tenant, state.facts.pool)
        await add_finalizer(self.world.cluster, manifest)
        claim = tenant.status.claim or await self._new_claim(tenant, manifest, state, report)
        vault = await self._open_vault(tenant, claim)
        admit(self.world.tenants, state, tenant, derived)
        context = self._context(tenant, state, claim, derived, vault.credentials)
        look = Look(self.world, tenant, manifest, state, vault, context, report)
        await look.store(vault)
        return look

    async def _new_claim(
        self, tenant: OdooTenant, manifest: Manifest, state: PoolState, report: Report
    ) -> str:
        """An identity, written down before anything carries it; the old one where only the status was lost."""
        owned = await self.world.credentials.owned(tenant.metadata.uid)
        claim = owned[0].claim if owned else await adoption.adopt(self.world, tenant, manifest, state, report)
        claim = claim or self.world.token(16)
        ref = ObjectRef(API_VERSION, "OdooTenant", tenant.metadata.namespace, tenant.metadata.name)
        await self.world.cluster.patch_status(ref, {"claim": claim, "phase": "Pending"})
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

    def _context(
        self, tenant: OdooTenant, state: PoolState, claim: str, derived: Effective, credentials: Any
    ) -> TenantContext:
        postgres = state.facts.pool.spec.postgres
        return TenantContext(
            tenant=tenant,
            pool=state.facts,
            claim=claim,
            credentials=credentials,
            effective=derived,
            database_host=postgres.host,
            database_port=postgres.port,
            postgres_ca=state.postgres_ca,
            operator_namespace=self.world.options.namespace,
        )

    def _remember(self, tenant: OdooTenant) -> None:
        for other in self.world.tenants.remember(record_of(tenant, self.world.options.cluster_id)):
            self.world.enqueue(other)

    def _forget(self, key: Key) -> None:
        record = self.world.tenants.get(key)
        if record is not None:
            state = self.world.pools.get(record.pool)
            if state is not None:
                state.wanted.pop(key, None)
            if record.claim:
                self.world.credentials.forget(record.claim)
        for other in self.world.tenants.forget(key):
            self.world.enqueue(other)

    async def _write_status(
        self, ref: ObjectRef, tenant: OdooTenant, manifest: Manifest, report: Report, look: Look | None
    ) -> None:
        report.summarize(REQUIRED)
        _say_what_comes_later(tenant, report)
        before = tenant.status.conditions
        conditions = report.conditions(before, tenant.metadata.generation, self.world.now())
        for condition in turned(before, conditions):
            if condition.type not in _SUMMED_UP:
                await announce(self.world, manifest, condition)
        status = _status(tenant, report, look, conditions)
        live = manifest.get("status") or {}
        if look is not None:
            live = {**live, "claim": look.context.claim}
        await patch_status_if_changed(self.world.cluster, ref, live, {**live, **status})


_SUMMED_UP = frozenset({"Reconciling", "Stalled", "BackupHealthy", "RecoveryProven", "RedisReady"})
"""Conditions that say again what others said, or that this version can't know: no events of them."""


async def _converge(look: Look) -> None:
    """All stages, as far as they go; what is not wanted any more goes when all of them came to their end."""
    first_time = not look.initialized
    for stage in STAGES:
        try:
            await stage.run(look)
        except OperatorError as error:
            look.report.failed(stage.condition, error)
            if stage.blocks or (stage.blocks_first and first_time):
                return
    if not look.report.errors:
        keep = look.keep | _jobs(look)
        look.changes.extend(written(await look.world.applier.prune(look.owner, keep)))


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


def _phase(tenant: OdooTenant, report: Report) -> str:
    error = report.first_to_mend
    if error is None:
        return "Suspended" if tenant.spec.suspended else "Ready"
    if error.reason in PENDING:
        return "Pending"
    if tenant.status.phase in ("Ready", "Degraded", "Suspended"):
        return "Degraded"
    if isinstance(error, Refused):
        return "Failed"
    database_found = report.findings.get("DatabaseReady")
    if database_found is not None and database_found.reason in ("Initializing", "TemplateInTheMaking"):
        return "Initializing"
    return "Provisioning"


def _status(
    tenant: OdooTenant, report: Report, look: Look | None, conditions: tuple[Condition, ...]
) -> Manifest:
    status: Manifest = {
        "observedGeneration": tenant.metadata.generation,
        "phase": _phase(tenant, report),
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
        "database": {"name": names.database(context.claim), "host": context.database_host},
    }
    if look.image:
        status["image"] = look.image
    return status


def _say_what_comes_later(tenant: OdooTenant, report: Report) -> None:
    """Promises that this version can't keep yet are Unknown, and say so: never silently absent, never True."""
    report.found(
        "RedisReady",
        "Unknown",
        "NotProvided",
        "This version keeps sessions in the filestore: it has no Redis yet",
    )
    message = "This version takes no backups yet"
    if tenant.spec.deletion.policy == "Backup":
        message += "; deletion.policy Backup behaves as Retain until it does: database and volume stay"
    report.found("BackupHealthy", "Unknown", "NotProvided", message)
    report.found("RecoveryProven", "Unknown", "NeverDrilled", "This version runs no restore drills yet")
