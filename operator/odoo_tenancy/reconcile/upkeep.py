"""The care for a tenant's repository: one Job at a time, which maintains it or verifies a stored backup again.

Nobody else is at work in the repository meanwhile: backups wait, and a Job that is on its way, of whatever kind, is waited
for. What is due is reckoned from what is stored; the Job is the truth of what goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from odoo_tenancy.api.backup import Verification
from odoo_tenancy.api.errors import OperatorError, Refused, Waiting
from odoo_tenancy.api.maintain_work import MaintainOutcome
from odoo_tenancy.api.meta import API_VERSION, Key, Manifest
from odoo_tenancy.api.verify_work import VerifyOutcome
from odoo_tenancy.cluster.children import Child
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.cluster.readiness import JobRun
from odoo_tenancy.desired import backup_jobs, labels
from odoo_tenancy.desired.backup_jobs import BackupJob
from odoo_tenancy.reconcile import (
    at_work,
    backup_begin,
    backup_run,
    backup_status,
    scratch_database,
    upkeep_due,
)
from odoo_tenancy.reconcile.active_backup import ActiveBackup
from odoo_tenancy.reconcile.backup_memory import PolicyState, record_of
from odoo_tenancy.reconcile.backup_place import may_lie_here
from odoo_tenancy.reconcile.backup_run import JobEnded
from odoo_tenancy.reconcile.follow_store import follow, objects_of
from odoo_tenancy.reconcile.memory import TenantRecord
from odoo_tenancy.reconcile.result import Result
from odoo_tenancy.reconcile.upkeep_due import Due
from odoo_tenancy.reconcile.upkeep_memory import MAINTENANCE, owner_of, upkeep_job
from odoo_tenancy.reconcile.upkeep_work import UpkeepPlan, known_backups
from odoo_tenancy.reconcile.world import World

LOOK_AGAIN = 60.0
"""Seconds until what waits is looked at again; a Job that ends is told by a watch."""
_ENDED = frozenset({"Succeeded", "Failed"})


@dataclass
class UpkeepReconciler:
    """Looks at the repository of one tenant."""

    world: World

    async def __call__(self, key: Key) -> Result:
        """One look.

        Raises:
            OperatorError: what it waits for.
        """
        tenant = Key("OdooTenant", key.namespace, key.name)
        record = self.world.tenants.get(tenant)
        if record is None or record.going or not record.claim:
            await self._give_up(key, tenant)
            return Result(gone=True)
        if not self.world.options.serves(record.pool):
            return Result(gone=True)
        job = upkeep_job(self.world.children, record)
        if job is None:
            self.world.upkeep.end(record.key)  # somebody may have deleted it
        elif await self._goes_on(record, job):
            return Result(requeue_after=LOOK_AGAIN * 5)
        return await self._next(record)

    async def _goes_on(self, record: TenantRecord, job: Child) -> bool:
        """Whether it runs. One that has ended is judged; one that was never let go is begun anew."""
        run = job.readiness
        if isinstance(run, JobRun) and run.outcome == "Running" and not run.suspended:
            self.world.upkeep.begin(record.key, record.pool, verifies="-verify-" in job.ref.name)
            return True
        self.world.upkeep.end(record.key)
        if isinstance(run, JobRun) and run.outcome in _ENDED:
            await self._judge(record, job)
        else:
            await backup_run.clear_away(self.world, job)
        self._ended(record)
        return False

    async def _judge(self, record: TenantRecord, job: Child) -> None:
        """Take in how it ended, then clear it away. Of one that failed people read the outcome in the policy."""
        live = await self.world.cluster.get(job.ref)
        if live is None:
            return
        marks = live["metadata"]["labels"]
        begun = datetime.fromisoformat(live["metadata"]["creationTimestamp"])
        if marks[labels.COMPONENT] == "maintain":
            await self._maintained(record, job, begun)
        else:
            await self._verified(record, job, marks[labels.BACKUP])
            await self._drop_scratch(record)
        await backup_run.clear_away(self.world, job)

    def _restores(self, record: TenantRecord) -> bool:
        state = self._policy(record)
        return state is not None and state.policy.spec.verification.level == "Restore"

    async def _drop_scratch(self, record: TenantRecord) -> None:
        """What can't be dropped now, the tenant's look drops, or says why it can't."""
        if not self._restores(record):
            return
        try:
            _, _, postgres = await backup_begin.context_for(self.world, record)
            await scratch_database.drop(postgres, record.claim)
        except OperatorError:
            self.world.enqueue(record.key)

    async def _maintained(self, record: TenantRecord, job: Child, begun: datetime) -> None:
        upkeep, state = self.world.upkeep, self._policy(record)
        try:
            left = await backup_run.outcome(self.world, job, MaintainOutcome)
            await self._broken(record, left.broken)
        except JobEnded as ended:
            if (done := await backup_run.left_by(self.world, job, MaintainOutcome)) is not None:
                await self._broken(record, done.broken)
            upkeep.failed(record.key, MAINTENANCE, ended.reason, ended.message, self.world.seconds())
        else:
            ref = ObjectRef(API_VERSION, "OdooTenant", record.key.namespace, record.key.name)
            said = {"backup": {"lastMaintained": begun.strftime("%Y-%m-%dT%H:%M:%SZ")}}
            await self.world.cluster.patch_status(ref, said)
            upkeep.maintained(record.key, begun)
        # Also one that failed may have forgotten some before.
        if state is not None:
            await follow(self.world, record, state)

    async def _broken(self, record: TenantRecord, names: tuple[str, ...]) -> None:
        """Of these only a part is left: nobody may count on them until the next verification."""
        for name in names:
            message = (
                "maintenance found that the repository lacks a snapshot of it, as somebody forgot or hid that: in a bucket "
                "with versions it can be brought back (docs/security-backups.md); else use another backup."
            )
            await self._tell(record, name, Verification(result="Failed", message=message), "SnapshotMissing")

    async def _verified(self, record: TenantRecord, job: Child, name: str) -> None:
        """What came out goes into the backup's status; that it could not be looked at says nothing of it."""
        try:
            left = await backup_run.outcome(self.world, job, VerifyOutcome)
            backup_run.check_verified(left, job)
            found = Verification(level=left.level, result="Passed", message=left.message)
            reason = "Passed"
        except JobEnded as ended:
            if ended.verification is None:
                self.world.upkeep.failed(record.key, name, ended.reason, ended.message, self.world.seconds())
                return
            found, reason = ended.verification, ended.reason
        self.world.upkeep.succeeded(record.key, name)
        await self._tell(record, name, found, reason)

    async def _tell(self, record: TenantRecord, name: str, found: Verification, reason: str) -> None:
        ref = ObjectRef(API_VERSION, "TenantBackup", record.key.namespace, name)
        live = await self.world.cluster.get(ref)
        if live is not None:
            await backup_status.verified_again(self.world, ActiveBackup.of(live), found, reason)
        self.world.enqueue(record.key)

    def _ended(self, record: TenantRecord) -> None:
        """Others may begin, and the policy says how it stands."""
        if record.policy:
            policy = Key("BackupPolicy", record.key.namespace, record.policy)
            self.world.upkeep.looked.pop(policy, None)
            self.world.enqueue(policy)
        for backup in self.world.backups.unfinished():
            self.world.enqueue(backup)

    async def _next(self, record: TenantRecord) -> Result:
        """Begin what is due; the policy's look comes back with what will be."""
        world, state = self.world, self._policy(record)
        if state is None or state.problem is not None or state.store is None:
            return Result(gone=True)
        due = upkeep_due.due(
            state.policy, record, world.backups, world.policies, world.upkeep, world.now(), world.seconds()
        )
        if due is None:
            return Result(gone=True)
        verifies = due.verify is not None
        self._check_room(record, verifies=verifies)
        world.upkeep.begin(record.key, record.pool, verifies=verifies)
        try:
            job = await self._build(record, state, due)
            if job is None:
                world.upkeep.end(record.key)
                return Result(requeue_after=1.0)
            await self._begin(record, job)
        except BaseException as error:
            world.upkeep.end(record.key)
            if due.verify is None or not isinstance(error, Refused):
                raise
            # It rests, and the policy says why.
            world.upkeep.failed(record.key, due.verify.name, error.reason, error.message, world.seconds())
            self._ended(record)
            return Result(requeue_after=1.0)
        what = f"verifies {due.verify.name} again" if due.verify is not None else "maintains the repository"
        return Result(requeue_after=LOOK_AGAIN * 5, changes=(what,))

    def _check_room(self, record: TenantRecord, *, verifies: bool) -> None:
        """
        Args:
            verifies: it takes a place among the backups that run.

        Raises:
            Waiting: ``RestoreRuns`` or ``BackupRuns`` of the same tenant, or ``PoolBusy``.
        """
        world = self.world
        if (restore := world.restores.of(record.key)) is not None:
            raise Waiting("RestoreRuns", f"TenantRestore {restore.key.name} has the tenant.", LOOK_AGAIN)
        for other, _ in world.backups.running(but=backup_begin.NOBODY):
            known = world.backups.get(other)
            if known is not None and known.tenant == record.key:
                raise Waiting("BackupRuns", f"TenantBackup {other.name} runs.", LOOK_AGAIN)
        pool = world.pools.get(record.pool)
        beside = world.upkeep.beside(record.pool, record.key)
        if verifies:
            beside = max(beside, backup_begin.places_taken(world, record.pool, record.key))
        if pool is None or beside >= pool.facts.pool.spec.backups.max_concurrent:
            raise Waiting(
                "PoolBusy", f"Other repositories of HostingPool {record.pool} are looked after.", LOOK_AGAIN
            )

    async def _build(self, record: TenantRecord, state: PolicyState, due: Due) -> BackupJob | None:
        """The Job with its work; ``None`` where there is nothing to be done after all."""
        world = self.world
        assert state.store is not None
        context, _, postgres = await backup_begin.context_for(world, record)
        plan = UpkeepPlan(context, state, state.store)
        pods = await self._pods_at_work(record)
        if due.verify is None:
            objects = await objects_of(world, record.key)
            here = (each for each in objects if self._may_lie_here(each, record, state))
            known = known_backups(here, plan.manifests)
            return backup_jobs.maintain(plan.context, plan.maintain(known, pods, world.now()))
        ref = ObjectRef(API_VERSION, "TenantBackup", due.verify.namespace, due.verify.name)
        live = await world.cluster.get(ref)
        if live is None:
            return None
        backup = ActiveBackup.of(live).backup
        credentials = await backup_begin.credentials(world, plan.backup_plan(backup), "Verify")
        password = ""
        if plan.backup_plan(backup).restores:
            password = await scratch_database.make(world, context, postgres)
        return backup_jobs.verify(plan.context, plan.verify(backup, credentials, password))

    def _may_lie_here(self, backup: Manifest, record: TenantRecord, state: PolicyState) -> bool:
        return may_lie_here(self.world.policies, record_of(backup), record.claim, state.policy)

    async def _pods_at_work(self, record: TenantRecord) -> list[str]:
        """Names of pods that may still hold a lock. Asked afresh: what happens next removes data.

        Raises:
            Waiting: ``RepositoryInUse``.
        """
        for name in await at_work.jobs(self.world.cluster, record.claim):
            raise Waiting("RepositoryInUse", f"Job {name} is at work in the repository.", LOOK_AGAIN)
        return [pod.name for pod in await at_work.pods(self.world.cluster, record.claim)]

    async def _begin(self, record: TenantRecord, job: BackupJob) -> None:
        """Job, what belongs to it, and off it goes. Killed in between, the Job is still suspended, and is made anew."""
        world, owner, ref = self.world, owner_of(record), ObjectRef.of(job.job)
        await world.applier.apply(owner, [job.begun()], unheard_of=True)
        child = world.children.get(ref)
        if child is None:
            raise Waiting("Starting", f"{ref} was begun.", 1.0)
        await world.applier.apply(owner, job.belongings(child.uid), unheard_of=True)
        await world.cluster.merge_patch(ref, {"metadata": {"uid": child.uid}, "spec": {"suspend": False}})

    def _policy(self, record: TenantRecord) -> PolicyState | None:
        return self.world.policies.get(record.key.namespace, record.policy) if record.policy else None

    async def _give_up(self, key: Key, tenant: Key) -> None:
        """The tenant is gone or goes: its Jobs too. What is stored stays."""
        for owner in tuple(self.world.children.owners()):
            if owner.key == key:
                await backup_run.clear_all_away(self.world, owner)
        self.world.upkeep.forget(tenant)
