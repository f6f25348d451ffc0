"""The steps of a restore that runs. Each does what it can, then enters the next one, or says what it waits for.

Whatever a step does it finds done when it is looked at again, so that an operator that was killed anywhere goes on from
the step that the status names. What lies where tells how far a swap came, never what somebody remembers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

from odoo_tenancy.api.errors import OperatorError, Waiting
from odoo_tenancy.api.meta import API_VERSION, Key
from odoo_tenancy.api.restore import RestoreStep
from odoo_tenancy.api.restore_work import RestoreOutcome
from odoo_tenancy.api.work import Outcome
from odoo_tenancy.cluster.failures import Conflict
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.desired import restore_jobs
from odoo_tenancy.desired.backup_jobs import BackupJob
from odoo_tenancy.desired.namespace import of
from odoo_tenancy.desired.restore_jobs import Source, Target
from odoo_tenancy.reconcile import backup_begin, restore_run, restore_status
from odoo_tenancy.reconcile.active_restore import ActiveRestore, RestoreEnded, RestorePlace
from odoo_tenancy.reconcile.backup_work import BackupPlan
from odoo_tenancy.reconcile.database import refreshed
from odoo_tenancy.reconcile.restore_begin import LOOK_AGAIN, place_of, plan_of, record_of
from odoo_tenancy.reconcile.restore_neutral import neutralizing
from odoo_tenancy.reconcile.world import World

START_PATIENCE = timedelta(minutes=20)
"""In which Odoo must be ready on what was restored: twice as long as a start may take. Then what lived before
comes back."""
STOP_PATIENCE = timedelta(minutes=15)
"""For Odoo to stop, and for the swap: a site that is down can't wait for a node or a stranger's session for ever."""
STOPPED, STARTED = "Stopped", "Started"
"""What a tenant answers; anything else is why it can't start."""

Step = Callable[[World, ActiveRestore], Awaitable[None]]


async def safety_backup(world: World, active: ActiveRestore) -> None:
    """Nothing is touched before there is a good backup of what lives."""
    record_of(world, active)
    key = Key("TenantBackup", active.tenant.namespace, active.safety_backup)
    record = world.backups.get(key)
    if record is None:
        await _begin_safety_backup(world, active, key)
    elif record.recoverable:
        await restore_status.enters(world, active, "Restoring")
        return
    elif record.finished:
        raise RestoreEnded(
            "SafetyBackupFailed",
            f"TenantBackup {key.name}, which was to be made first, is {record.phase} ({record.reason}): nothing was "
            "touched. Mend what it complains of, and make a new TenantRestore.",
        )
    raise Waiting("SafetyBackup", f"TenantBackup {key.name} is being made.", LOOK_AGAIN)


async def _begin_safety_backup(world: World, active: ActiveRestore, key: Key) -> None:
    """By the policy of the backup that is restored: the tenant itself may have none."""
    plan = await plan_of(world, active, await place_of(world, active), active.restore.status.backup)
    spec = {
        "tenantRef": {"name": active.tenant.name},
        "policyRef": {"name": plan.policy.policy.metadata.name},
        "reason": "PreRestore",
    }
    metadata = {"name": key.name, "namespace": key.namespace}
    body = {"apiVersion": API_VERSION, "kind": key.kind, "metadata": metadata, "spec": spec}
    try:
        world.backups.saw("ADDED", await world.cluster.create(body))
    except Conflict:
        found = await world.cluster.get(ObjectRef(API_VERSION, key.kind, key.namespace, key.name))
        if found is not None:
            world.backups.saw("ADDED", found)
    world.enqueue(key)


async def restoring(world: World, active: ActiveRestore) -> None:
    """A new database and a new folder beside what lives, while Odoo runs."""
    record_of(world, active)
    place = await place_of(world, active)
    plan = await plan_of(world, active, place, active.restore.status.backup)
    named = _restore_job(active, place, plan, plan.no_credentials)

    async def build() -> BackupJob:
        return _restore_job(active, place, plan, await backup_begin.credentials(world, plan, "Read"))

    if world.children.get(ObjectRef.of(named.job)) is None:
        await place.server.ensure_database(replace(place.wanted, database=place.new))
    left = await restore_run.run(world, active, named, build, RestoreOutcome)
    if (left.result, left.database, left.folder) != ("Ready", place.new, place.new):
        raise RestoreEnded(left.reason, f"The Job ended well, but nothing lies ready: {left.message}")
    neutralize = active.restore.spec.neutralize
    await restore_status.enters(world, active, "Neutralizing" if neutralize else "Stopping")


def _restore_job(
    active: ActiveRestore, place: RestorePlace, plan: BackupPlan, credentials: dict[str, str]
) -> BackupJob:
    values, stored = place.context.credentials, plan.backup.status.manifest
    source = Source(
        backup=plan.backup.metadata.name,
        repository=plan.place,
        password=values.repository_password,
        manifest_key=stored.key,
        manifest_sha256=stored.sha256,
        store_ca=plan.store.ca,
        store_peers=plan.store.peers,
    )
    target = Target(place.new, place.new, place.wanted.login_role, values.database_password)
    return restore_jobs.restore(
        place.context, active.made_for, source, target, credentials, plan.timeout_seconds
    )


async def stopping(world: World, active: ActiveRestore) -> None:
    """Nobody writes any more: the tenant is scaled to nothing, and says so when its last pod is gone."""
    record_of(world, active)
    _await_stop(world, active, "Stopping")
    await restore_status.enters(world, active, "Swapping")


def check_patience(world: World, active: ActiveRestore, error: OperatorError) -> None:
    """Whether a step in which Odoo is down has waited long enough.

    Raises:
        RestoreEnded: it has, for this reason.
    """
    status = active.restore.status
    if status.step not in ("Stopping", "Swapping") or status.step_time is None:
        return
    if world.now() - status.step_time > STOP_PATIENCE:
        raise RestoreEnded(error.reason, f"Given up after {STOP_PATIENCE}: {error.message}") from error


def _await_stop(world: World, active: ActiveRestore, step: RestoreStep) -> None:
    if world.restores.answered(active.tenant, active.uid) != f"{step}/{STOPPED}":
        world.enqueue(active.tenant)
        raise Waiting(step, "Waits for Odoo's last pod to end.", LOOK_AGAIN)


async def swapping(world: World, active: ActiveRestore) -> None:
    """The database by two renames in one transaction, then the files by two renames of folders."""
    place = await place_of(world, active)
    job = restore_jobs.swap(place.context, active.made_for, place.new, place.former)
    if world.children.get(ObjectRef.of(job.job)) is None:
        await place.server.swap_database(place.wanted, place.new, place.former)
        await refreshed(place.postgres, place.server, place.names)
        await _forget_sessions(world, place)

    async def build() -> BackupJob:
        return job

    await restore_run.run(world, active, job, build, Outcome)
    await restore_status.enters(world, active, "Starting")
    world.enqueue(active.tenant)


async def _forget_sessions(world: World, place: RestorePlace) -> None:
    """Sessions and caches are of a database that lives no more."""
    redis = place.context.pool.pool.metadata.name
    state = world.pools.get(redis)
    if place.context.effective.redis_placement != "Pool" or state is None or state.redis is None:
        return
    if state.redis.server is not None and state.redis.problem is None:
        await state.redis.server.drop_keys(place.context.claim)


async def starting(world: World, active: ActiveRestore) -> None:
    """Until Odoo serves what was restored; if it can't, what lived before comes back."""
    record = world.tenants.get(active.tenant)
    step, _, answer = world.restores.answered(active.tenant, active.uid).partition("/")
    if record is None or record.going or (step, answer) == ("Starting", STARTED):
        await restore_status.enters(world, active, "ClearingAway")
        return
    if step == "Starting":
        raise RestoreEnded("NotStarted", f"Odoo can't serve what was restored: {answer}")
    since = active.restore.status.step_time or world.now()
    if world.now() - since > START_PATIENCE:
        raise RestoreEnded(
            "NotStarted",
            f"Odoo was not ready within {START_PATIENCE} on what was restored: see its pods' logs and the tenant's "
            "conditions of that time.",
        )
    world.enqueue(active.tenant)
    raise Waiting("Starting", "Waits for Odoo to be ready on what was restored.", LOOK_AGAIN)


async def clearing_away(world: World, active: ActiveRestore) -> None:
    """What lived before goes; Odoo runs, so nothing turns back from here."""
    await _remove(world, active, former=True)
    status = active.restore.status
    point = status.recovery_point.strftime("%Y-%m-%d %H:%M:%S UTC") if status.recovery_point else "its time"
    await restore_status.ends(
        world,
        active,
        "Completed",
        "Completed",
        f"OdooTenant {active.tenant.name} is as TenantBackup {status.backup} had it, of {point}; what it was before is in "
        f"TenantBackup {status.safety_backup}",
    )


async def going_back(world: World, active: ActiveRestore) -> None:
    """Odoo is stopped again, and both swaps are undone, however far they came."""
    place = await place_of(world, active)
    _await_stop(world, active, "GoingBack")
    job = restore_jobs.swap(place.context, active.made_for, place.new, place.former, back=True)
    await _let_others_end(world, active, place, job)
    if world.children.get(ObjectRef.of(job.job)) is None:
        await place.server.swap_database_back(place.wanted, place.new, place.former)
        await refreshed(place.postgres, place.server, place.names)
    await restore_run.run_without_fail(world, active, job)
    await restore_status.enters(world, active, "GivingUp")
    world.enqueue(active.tenant)


async def giving_up(world: World, active: ActiveRestore) -> None:
    """What was restored goes; what lived before lives."""
    await _remove(world, active, former=False)
    status = active.restore.status
    await restore_status.ends(world, active, "Failed", status.reason or "RestoreFailed", status.message)
    world.enqueue(active.tenant)


async def _remove(world: World, active: ActiveRestore, *, former: bool) -> None:
    """A database and a folder that are not what lives."""
    place = await place_of(world, active)
    name = place.former if former else place.new
    job = restore_jobs.discard(place.context, active.made_for, (name,))
    await _let_others_end(world, active, place, job)
    if world.children.get(ObjectRef.of(job.job)) is None:
        await place.server.drop_beside(place.wanted, name)
        await refreshed(place.postgres, place.server, place.names)
    await restore_run.run_without_fail(world, active, job)


async def _let_others_end(world: World, active: ActiveRestore, place: RestorePlace, job: BackupJob) -> None:
    await restore_run.end_all_but(world, active, job)
    if world.children.get(ObjectRef.of(job.job)) is None:
        alive = await restore_run.pods_of(world, active, of(place.context))
        if alive:
            raise Waiting("Starting", f"Waits for {', '.join(alive)} to end.", 2.0)


STEPS: dict[RestoreStep, Step] = {
    "SafetyBackup": safety_backup,
    "Restoring": restoring,
    "Neutralizing": neutralizing,
    "Stopping": stopping,
    "Swapping": swapping,
    "Starting": starting,
    "ClearingAway": clearing_away,
    "GoingBack": going_back,
    "GivingUp": giving_up,
}
UNDONE_BY: dict[RestoreStep, RestoreStep] = {
    "Restoring": "GivingUp",
    "Neutralizing": "GivingUp",
    "Stopping": "GivingUp",
    "Swapping": "GoingBack",
    "Starting": "GoingBack",
}
"""What comes after a step that failed. Before them nothing is to be undone; after them nothing fails for good."""
