"""TenantBackup: waits for its turn, runs its Jobs one after the other, and is Completed only when what was stored was read
back and found good.

The Jobs are the truth, not this process: each look begins with what the status and the Jobs say, so that an operator that
starts anew in the middle goes on where the former one stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from odoo_tenancy.api.backup import StoredDocument
from odoo_tenancy.api.backup_work import BackupOutcome, PrepareOutcome
from odoo_tenancy.api.errors import OperatorError, Refused, Waiting
from odoo_tenancy.api.meta import API_VERSION, Key
from odoo_tenancy.api.types import duration_seconds
from odoo_tenancy.api.verify_work import VerifyOutcome
from odoo_tenancy.cluster.objects import ObjectRef, Owner
from odoo_tenancy.desired import backup_jobs
from odoo_tenancy.desired.backup_jobs import BackupJob
from odoo_tenancy.reconcile import (
    backup_begin,
    backup_run,
    backup_status,
    hold,
    rebuilt_backup,
    scratch_database,
)
from odoo_tenancy.reconcile.active_backup import ActiveBackup
from odoo_tenancy.reconcile.backup_memory import BackupRecord
from odoo_tenancy.reconcile.backup_run import JobEnded, Stage
from odoo_tenancy.reconcile.backup_work import BackupPlan
from odoo_tenancy.reconcile.database import server_of
from odoo_tenancy.reconcile.result import Result
from odoo_tenancy.reconcile.server_state import ServerState
from odoo_tenancy.reconcile.serving import serves
from odoo_tenancy.reconcile.tenant_database import database_of
from odoo_tenancy.reconcile.world import World

PREPARING = Stage("Running", "", "Preparing", "The repository and its keys are made ready")
STORING = Stage("Running", "Stored", "Storing", "Database and filestore are stored")
VERIFYING = Stage("Verifying", "Verified", "Verifying", "What was stored is read back")
_WITHOUT_POLICY = timedelta(hours=1)
"""How long a backup waits whose policy is not known; one that runs, also for a Secret or a server that is gone."""
_ENDS_IT = frozenset({"TenantDeleted", "TenantNotFound"})
"""Reasons for which a backup that runs has no sense any more."""


@dataclass
class BackupReconciler:
    """Looks at one backup."""

    world: World
    _active: dict[Key, ActiveBackup] = field(default_factory=dict)
    """Those that are not finished, as they were last read or written: a backup costs few requests."""

    async def __call__(self, key: Key) -> Result:
        """One look.

        Raises:
            OperatorError: what keeps it from going on, after it was written to its conditions.
        """
        record = self.world.backups.get(key)
        if record is None or record.finished:
            await self._settle(key, record)
            return await self._hold(key) if record is not None and record.hold_due else Result(gone=True)
        if not await serves(self.world, record.tenant):
            return Result(gone=True)
        active = self._active.get(key)
        if active is None or active.backup.metadata.uid != record.uid:
            manifest = await self.world.cluster.get(ObjectRef(API_VERSION, key.kind, key.namespace, key.name))
            if manifest is None:
                return Result(gone=True)
            active = self._active[key] = ActiveBackup.of(manifest)
        return await self._look(active)

    async def _look(self, active: ActiveBackup) -> Result:
        try:
            await self._advance(active)
        except JobEnded as ended:
            await self._fail(active, ended)
        except OperatorError as error:
            if not self._is_hopeless(active, error):
                await backup_status.waits(self.world, active, error)
                if isinstance(error, Waiting):
                    return Result(requeue_after=error.retry_after)
                raise
            await self._fail(active, JobEnded(error.reason, error.message))
        key = active.backup.key
        record = self.world.backups.get(key)
        await self._settle(key, record)
        if record is not None and record.hold_due:
            self.world.enqueue(key)
        return Result(gone=True, changes=(f"backup {active.backup.status.phase}",))

    async def _hold(self, key: Key) -> Result:
        """It is finished, and to be held, or no more: the store is told."""
        record = self.world.backups.get(key)
        ref = ObjectRef(API_VERSION, key.kind, key.namespace, key.name)
        manifest = await self.world.cluster.get(ref)
        if record is None or manifest is None or not await serves(self.world, record.tenant):
            return Result(gone=True)
        try:
            await hold.follow(self.world, ActiveBackup.of(manifest))
        except Waiting as error:
            return Result(requeue_after=error.retry_after)
        self.world.enqueue(record.tenant)  # its deletion may wait for that
        return Result(gone=True, changes=("told the store of its hold",))

    async def _advance(self, active: ActiveBackup) -> None:
        """To its end, or as far as it goes now.

        Raises:
            JobEnded: it failed for good.
            OperatorError: what it waits for.
        """
        if rebuilt_backup.is_rebuilt(active):
            await rebuilt_backup.fill(self.world, active)
            return
        begun = active.backup.status.phase in ("Running", "Verifying")
        if not begun:
            backup_begin.check_room(self.world, active)  # before anything is read: it may wait for long
        plan = await self._plan(active)
        if not begun:
            await backup_begin.check_login(self.world, plan)
            backup_begin.admit(self.world, active)
        await self.carry_out(active, plan)

    async def _plan(self, active: ActiveBackup) -> BackupPlan:
        """Of one that runs it is remembered; an operator that has started anew must find it again, and not for ever.

        Raises:
            JobEnded: it was begun, and what it was begun with has been missing for long.
            OperatorError: what is missing.
        """
        try:
            plan = await backup_begin.plan_of(self.world, active)
        except OperatorError as error:
            if active.backup.status.phase not in ("Running", "Verifying") or error.reason in _ENDS_IT:
                raise
            seconds = self.world.seconds()
            active.stuck = seconds if active.stuck is None else active.stuck
            if seconds - active.stuck > _WITHOUT_POLICY.total_seconds():
                raise JobEnded(
                    error.reason,
                    f"Given up, as nobody could look after its Jobs for {_WITHOUT_POLICY}: {error.message} Then make a new "
                    "TenantBackup.",
                ) from error
            raise
        active.stuck = None
        return plan

    async def carry_out(self, active: ActiveBackup, plan: BackupPlan) -> None:
        """Its Jobs, one after the other, to its end, or as far as it goes now.

        Raises:
            JobEnded: it failed for good.
            OperatorError: what it waits for.
        """
        manifest = active.backup.status.manifest
        if active.backup.status.phase != "Verifying":
            if await self._needs_preparing(active, plan):
                await self._prepare(active, plan)
            left = await self._store(active, plan)
            manifest = StoredDocument(key=left.manifest_key, sha256=left.manifest_sha256)
        checked = await self._verify(active, plan, manifest)
        await backup_status.completed(self.world, active, checked)

    async def _needs_preparing(self, active: ActiveBackup, plan: BackupPlan) -> bool:
        """Once for each repository and set of keys, and where a lock stands before anything is stored: whoever died with
        it would keep this backup waiting, and let it fail."""
        if not backup_begin.prepared(self.world, plan):
            return True
        if backup_status.has_begun(active, STORING.condition, STORING.reason):
            return False
        if active.prepares is None:
            active.prepares = await backup_begin.is_locked(self.world, plan)
        return active.prepares

    async def _prepare(self, active: ActiveBackup, plan: BackupPlan) -> None:
        named = backup_jobs.prepare(plan.context, plan.prepare())

        async def build() -> BackupJob:
            pods = await backup_begin.pods_at_work(self.world, plan)
            return backup_jobs.prepare(plan.context, plan.prepare(pods))

        job = await backup_run.run(self.world, active, PREPARING, named, build)
        await backup_run.outcome(self.world, job, PrepareOutcome)
        backup_begin.remember_prepared(self.world, plan)
        active.prepares = False
        await backup_run.clear_away(self.world, job)

    async def _store(self, active: ActiveBackup, plan: BackupPlan) -> BackupOutcome:
        async def build() -> BackupJob:
            await self._let_read(plan)
            return backup_jobs.backup(
                plan.context, plan.store_it(await backup_begin.credentials(self.world, plan, "Backup"))
            )

        named = backup_jobs.backup(plan.context, plan.store_it(plan.no_credentials))
        job = await backup_run.run(self.world, active, STORING, named, build)
        left = await backup_run.outcome(self.world, job, BackupOutcome)
        backup_run.check_stored(left, job)
        backup_status.stored(self.world, active, left, plan.place.store.bucket)
        return left

    async def _let_read(self, plan: BackupPlan) -> None:
        """Grant the backup role what has no default privileges: pg_dump gives up at the first large object that it may not
        read. Odoo makes none, but a module may.

        Raises:
            OperatorError: the server doesn't answer.
        """
        server, _ = server_of(self._server(plan))
        await server.refresh_reading(database_of(plan.context.claim))

    async def _verify(
        self, active: ActiveBackup, plan: BackupPlan, manifest: StoredDocument
    ) -> VerifyOutcome:
        async def build() -> BackupJob:
            login = await backup_begin.credentials(self.world, plan, "Verify")
            run = plan.verify(manifest.key, manifest.sha256, login, await self._scratch(plan))
            return backup_jobs.verify(plan.context, run)

        run = plan.verify(manifest.key, manifest.sha256, plan.no_credentials)
        named = backup_jobs.verify(plan.context, run)
        try:
            job = await backup_run.run(self.world, active, VERIFYING, named, build)
            left = await backup_run.outcome(self.world, job, VerifyOutcome)
            backup_run.check_verified(left, job)
        except JobEnded:
            await self._drop_scratch(plan)
            raise
        await self._drop_scratch(plan)
        return left

    async def _scratch(self, plan: BackupPlan) -> str:
        """The password of a scratch database that was just made, where the level needs one.

        Raises:
            JobEnded: the server can't have one.
            OperatorError: it doesn't answer.
        """
        if not plan.restores:
            return ""
        try:
            return await scratch_database.make(self.world, plan.context, self._server(plan))
        except Refused as error:
            raise JobEnded(error.reason, error.message) from error

    async def _drop_scratch(self, plan: BackupPlan) -> None:
        """What can't be dropped now the tenant's look drops, or says why it can't: the backup's result is known."""
        if not plan.restores:
            return
        try:
            await scratch_database.drop(self._server(plan), plan.context.claim)
        except OperatorError:
            self.world.enqueue(plan.context.tenant.key)

    def _server(self, plan: BackupPlan) -> ServerState:
        tenant = plan.context.tenant
        pool = self.world.pools.get(tenant.spec.pool_ref.name)
        if pool is None:
            raise Waiting("PoolNotFound", f"HostingPool {tenant.spec.pool_ref.name} is not there.", 30.0)
        return backup_begin.server_for(self.world, tenant, pool)

    async def _fail(self, active: ActiveBackup, ended: JobEnded) -> None:
        await backup_status.failed(self.world, active, ended.reason, ended.message, ended.verification)
        await backup_run.hide_credentials(self.world, active)

    def _is_hopeless(self, active: ActiveBackup, error: OperatorError) -> bool:
        """Whether it is given up: it may not begin so late, or what it runs for is gone."""
        backup = active.backup
        if rebuilt_backup.is_rebuilt(active):
            return False  # it is stored, whatever keeps us from reading it
        if backup.status.phase not in (None, "Pending"):
            return error.reason in _ENDS_IT
        if error.reason == "TenantDeleted":
            return True
        state, patience = backup_begin.policy_of(self.world, active), _WITHOUT_POLICY
        if state is not None:
            spec = state.policy.spec
            scheduled = backup.spec.reason == "Scheduled"
            limit = spec.starting_deadline if scheduled else spec.timeout
            patience = timedelta(seconds=duration_seconds(limit))
        created = backup.metadata.creation_timestamp
        return created is not None and self.world.now() - created > patience

    async def _settle(self, key: Key, record: BackupRecord | None) -> None:
        """It is finished, or gone: its Jobs go, others may begin, and its tenant is told."""
        active = self._active.pop(key, None)
        self.world.backups.end(key)
        for owner in tuple(self.world.children.owners()):
            if owner.key == key:
                kept = _is_kept(owner, record, active)
                await backup_run.clear_all_away(self.world, owner, but_ended=kept)
        if active is None:
            return
        tenant = Key("OdooTenant", key.namespace, active.backup.spec.tenant_ref.name)
        self.world.enqueue(tenant)
        for other in (*self.world.backups.unfinished(), *self.world.restores.unfinished(tenant)):
            self.world.enqueue(other)


def _is_kept(owner: Owner, record: BackupRecord | None, active: ActiveBackup | None) -> bool:
    """Whether the Jobs stay until they are a day old: of a backup that failed by itself, for people to read their logs."""
    if record is None or record.uid != owner.uid or record.phase != "Failed":
        return False
    if active is None:
        return True
    status = active.backup.status
    return status.start_time is not None and not any(c.reason in _ENDS_IT for c in status.conditions)
