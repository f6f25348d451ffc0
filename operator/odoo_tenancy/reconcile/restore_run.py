"""The Jobs of a restore: begun, looked at, listened to, cleared away. Each may be run again at any time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from odoo_tenancy.api.errors import OperatorError, Waiting
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.api.work import Outcome
from odoo_tenancy.cluster.children import Child
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.cluster.readiness import JobRun
from odoo_tenancy.desired import labels
from odoo_tenancy.desired.backup_jobs import BackupJob
from odoo_tenancy.reconcile import backup_run, restore_status
from odoo_tenancy.reconcile.active_restore import ActiveRestore, RestoreEnded
from odoo_tenancy.reconcile.backup_run import PROGRESS_EVERY, JobEnded, Kind
from odoo_tenancy.reconcile.diagnosis import is_alive, pods, why_not_running
from odoo_tenancy.reconcile.world import World

Build = Callable[[], Awaitable[BackupJob]]


async def run(world: World, active: ActiveRestore, named: BackupJob, build: Build, kind: type[Kind]) -> Kind:
    """What the Job left, once it ended well; it is cleared away then. Begins it, or looks at it again.

    Args:
        named: as ``build`` makes it, but for credentials.
        build: called right before the credentials are written.

    Raises:
        Waiting: it runs.
        RestoreEnded: it failed, for this reason.
    """
    ref = ObjectRef.of(named.job)
    child = world.children.get(ref)
    if child is None:
        await world.applier.apply(active.owner, [named.begun()], unheard_of=True)
        child = world.children.get(ref)
    found = child.readiness if child is not None else None
    if child is None or child.terminating or not isinstance(found, JobRun):
        raise Waiting("Starting", f"{ref} was begun, or an earlier one ends.", 1.0)
    if found.outcome != "Running":
        return await _over(world, active, child, kind)
    if found.suspended:
        if any(_is_missing(world, each) for each in named.belongings(child.uid)):
            made = (await build()).belongings(child.uid)
            # One that is there may have other credentials, and can't change.
            missing = [each for each in made if _is_missing(world, each)]
            await world.applier.apply(active.owner, missing, unheard_of=True)
        await world.cluster.merge_patch(ref, {"metadata": {"uid": child.uid}, "spec": {"suspend": False}})
        active.pod, active.progress_at = "", world.seconds() + PROGRESS_EVERY
        raise Waiting("Starting", f"{ref} was started.", PROGRESS_EVERY)
    raise await _goes_on(world, active, ref)


def _is_missing(world: World, manifest: Manifest) -> bool:
    return world.children.get(ObjectRef.of(manifest)) is None


async def _over(world: World, active: ActiveRestore, job: Child, kind: type[Kind]) -> Kind:
    try:
        left = await backup_run.outcome(world, job, kind)
    except JobEnded as ended:
        raise RestoreEnded(ended.reason, ended.message) from ended
    await _clear_away(world, active, job)
    return left


async def run_without_fail(world: World, active: ActiveRestore, named: BackupJob) -> None:
    """The same of a Job without credentials that must come to its end, however often it fails.

    Raises:
        Waiting: it runs, or failed and is made anew.
    """

    async def build() -> BackupJob:
        return named

    try:
        await run(world, active, named, build, Outcome)
    except RestoreEnded as ended:
        job = world.children.get(ObjectRef.of(named.job))
        if job is not None:
            await _clear_away(world, active, job)
        raise Waiting(ended.reason, f"{ended.message} It is tried again.", 30.0) from ended


async def _clear_away(world: World, active: ActiveRestore, job: Child) -> None:
    """The Job and what belongs to it: one of the same name may come next, and what was the former one's would go while
    the next one needs it."""
    for child in world.children.of(active.owner):
        if child.ref.kind != "Job" and child.ref.name == job.ref.name:
            await world.cluster.delete(child.ref, uid=child.uid)
            world.children.drop(child.ref)
    await backup_run.clear_away(world, job)


async def end_all_but(world: World, active: ActiveRestore, *kept: BackupJob) -> None:
    """Of the restore's Jobs none but these is there, nor any of their pods that could still write.

    Raises:
        Waiting: ``Starting``: some are.
    """
    names = {ObjectRef.of(each.job) for each in kept}
    left = [c for c in world.children.of(active.owner) if c.ref.kind == "Job" and c.ref not in names]
    for child in left:
        if not child.terminating:
            await _clear_away(world, active, child)
    if left:
        raise Waiting("Starting", f"Waits for {', '.join(str(child.ref) for child in left)} to go.", 2.0)


async def pods_of(world: World, active: ActiveRestore, namespace: str) -> list[str]:
    """Names of its pods that run, or may."""
    live = await pods(world.cluster, namespace, {labels.RESTORE_UID: active.uid})
    return [pod["metadata"]["name"] for pod in live if is_alive(pod)]


async def _goes_on(world: World, active: ActiveRestore, ref: ObjectRef) -> OperatorError:
    """Tell how far it is; why it doesn't start, where it doesn't."""
    now = world.seconds()
    if now >= active.progress_at:
        active.progress_at = now + PROGRESS_EVERY
        if not active.pod:
            live = await pods(world.cluster, ref.namespace, {"batch.kubernetes.io/job-name": ref.name})
            problem = await why_not_running(world.cluster, live)
            if problem is not None:
                return problem
            running = [pod for pod in live if pod.get("status", {}).get("phase") == "Running"]
            active.pod = running[-1]["metadata"]["name"] if running else ""
        if active.pod:
            await _tell_progress(world, active, ref)
    return Waiting("Starting", f"{ref} runs.", max(1.0, active.progress_at - now))


async def _tell_progress(world: World, active: ActiveRestore, ref: ObjectRef) -> None:
    try:
        log = await world.cluster.pod_log(ref.namespace, active.pod, tail_lines=5)
    except OperatorError:
        log = ""  # its node may be away: what counts is how the Job ends
    progress = backup_run.last_progress(log)
    if progress is None or progress == active.restore.status.progress:
        active.pod = ""  # it may have ended: another one may be at work by now
        return
    await restore_status.progresses(world, active, progress)
