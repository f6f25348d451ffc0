"""The Jobs of one backup: begun, looked at, listened to, cleared away."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from pydantic import ValidationError

from odoo_tenancy.api.backup import BackupProgress, Verification
from odoo_tenancy.api.backup_work import BackupOutcome
from odoo_tenancy.api.errors import OperatorError, Waiting
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.api.verify_work import VerifyOutcome
from odoo_tenancy.api.work import Outcome, Progress
from odoo_tenancy.cluster.children import Child
from odoo_tenancy.cluster.objects import ObjectRef, Owner
from odoo_tenancy.cluster.readiness import JobRun
from odoo_tenancy.desired.backup_jobs import BackupJob
from odoo_tenancy.reconcile import backup_status
from odoo_tenancy.reconcile.active_backup import ActiveBackup
from odoo_tenancy.reconcile.diagnosis import last_words, pods, why_not_running
from odoo_tenancy.reconcile.world import World

PROGRESS_EVERY = 15.0
"""Seconds between two looks into the log of a Job for how far it is, each a read, and a write where it got further. The
Jobs say it a little more often (``jobs/report.py``), so that each look finds something new."""
_SHA256 = re.compile(r"[0-9a-f]{64}")

Kind = TypeVar("Kind", bound=Outcome)
Build = Callable[[], Awaitable[BackupJob]]


@dataclass(frozen=True, slots=True)
class Stage:
    """One Job, and what is said of the backup while it runs."""

    phase: Literal["Running", "Verifying"]
    condition: str
    """Says that the Job was let go; empty for one that may be run again at any time."""
    reason: str
    message: str


class JobEnded(Exception):
    """It failed for good: nothing that is tried again makes a backup of this one."""

    def __init__(self, reason: str, message: str, verification: Verification | None = None) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.verification = verification


async def run(world: World, active: ActiveBackup, stage: Stage, named: BackupJob, build: Build) -> Child:
    """The Job of a stage once it has ended, well or not. Begins it, or looks at it again.

    Args:
        named: as ``build`` makes it, but for credentials.
        build: called once, right before the credentials are written.

    Raises:
        Waiting: it runs.
        JobEnded: it was there, was let go, and is gone.
    """
    ref, owner = ObjectRef.of(named.job), active.owner
    child = world.children.get(ref)
    if child is None:
        if backup_status.has_begun(active, stage.condition, stage.reason):
            raise JobEnded(
                "JobVanished",
                f"{ref} was deleted before anybody knew how it ended, so nothing of this backup counts: make a new one.",
            )
        await world.applier.apply(owner, [named.begun()], unheard_of=True)
        child = world.children.get(ref)
    found = child.readiness if child is not None else None
    if child is None or not isinstance(found, JobRun):
        raise Waiting("Starting", f"{ref} was begun.", 1.0)
    if found.outcome != "Running":
        return child
    if found.suspended:
        belongings = named.belongings(child.uid)
        if any(world.children.get(ObjectRef.of(each)) is None for each in belongings):
            await world.applier.apply(owner, (await build()).belongings(child.uid), unheard_of=True)
        await backup_status.begins(world, active, stage)
        await world.cluster.merge_patch(ref, {"metadata": {"uid": child.uid}, "spec": {"suspend": False}})
        active.pod, active.progress_at = "", world.seconds() + PROGRESS_EVERY
        raise Waiting(stage.reason, f"{ref} was started.", PROGRESS_EVERY)
    raise await _goes_on(world, active, stage, ref)


async def _goes_on(world: World, active: ActiveBackup, stage: Stage, ref: ObjectRef) -> OperatorError:
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
    return Waiting(stage.reason, f"{ref} runs.", max(1.0, active.progress_at - now))


async def _tell_progress(world: World, active: ActiveBackup, ref: ObjectRef) -> None:
    if active.keep is not None:
        return  # of a last backup there is no object that could show it
    try:
        log = await world.cluster.pod_log(ref.namespace, active.pod, tail_lines=5)
    except OperatorError:
        log = ""  # its node may be away: what counts is how the Job ends
    progress = last_progress(log)
    if progress is None or progress == active.backup.status.progress:
        active.pod = ""  # it may have ended: another one may be at work by now
        return
    await backup_status.progresses(world, active, progress)


def last_progress(log: str) -> BackupProgress | None:
    """Out of the last lines that a Job wrote."""
    for line in reversed(log.splitlines()):
        try:
            said = Progress.model_validate_json(line)
        except ValidationError:
            continue
        done, total = max(0, said.done_bytes), max(0, said.total_bytes)
        return BackupProgress(
            step=said.step[:253],
            done_bytes=done,
            total_bytes=total or None,
            percent=min(100, done * 100 // total) if total else None,
        )
    return None


async def outcome(world: World, job: Child, kind: type[Kind]) -> Kind:
    """What the Job's last pod left.

    Raises:
        JobEnded: the Job failed, with its own reason and mend; or it left nothing that can be read.
    """
    ref, found = job.ref, job.readiness
    assert isinstance(found, JobRun)
    live = await pods(world.cluster, ref.namespace, {"batch.kubernetes.io/job-name": ref.name})
    if found.outcome == "Succeeded":
        for pod in live:
            left = _left_by(pod, kind)
            if left is not None:
                return left
        raise JobEnded(
            "OutcomeMissing", f"{ref} ended well but left no outcome that can be read: make a new backup."
        )
    if found.reason == "DeadlineExceeded":
        raise JobEnded(
            "Timeout",
            f"{ref} took longer than the policy's timeout: raise spec.timeout of the BackupPolicy, or see what slows "
            f"it down. It last said: {_bounded(await last_words(world.cluster, live))}",
        )
    raise _failure(ref, found, await last_words(world.cluster, live))


async def left_by(world: World, job: Child, kind: type[Kind]) -> Kind | None:
    """The same of a Job that failed, as far as it can be read."""
    live = await pods(world.cluster, job.ref.namespace, {"batch.kubernetes.io/job-name": job.ref.name})
    try:
        return kind.model_validate_json(await last_words(world.cluster, live))
    except ValidationError:
        return None


def _left_by(pod: Manifest, kind: type[Kind]) -> Kind | None:
    """Of a pod that ended well; ``None`` where its message is none of ours."""
    for status in pod.get("status", {}).get("containerStatuses") or []:
        ended = status.get("state", {}).get("terminated") or {}
        if ended.get("exitCode") == 0:
            try:
                return kind.model_validate_json(ended.get("message", ""))
            except ValidationError:
                return None
    return None


def _failure(ref: ObjectRef, found: JobRun, words: str) -> JobEnded:
    try:
        said = Outcome.model_validate_json(words)
    except ValidationError:
        return JobEnded("JobFailed", f"{ref} failed ({found.reason}). Its last words: {_bounded(words)}")
    verification = None
    try:
        verified = VerifyOutcome.model_validate_json(words)
        if verified.result == "Failed":
            verification = Verification(level=verified.level, result="Failed", message=said.message)
    except ValidationError:
        pass  # another kind of Job
    return JobEnded(said.reason or "JobFailed", f"{ref} failed: {said.message}", verification)


def check_stored(left: BackupOutcome, job: Child) -> None:
    """Whether it is a whole backup that a Job says it has made.

    Raises:
        JobEnded: ``OutcomeIncomplete``.
    """
    whole = left.snapshots is not None and left.recovery_point is not None and left.manifest_key
    if not whole or _SHA256.fullmatch(left.manifest_sha256) is None:
        raise JobEnded(
            "OutcomeIncomplete",
            f"{job.ref} ended well but does not say what it stored and where the manifest is: make a new backup.",
        )


def check_verified(left: VerifyOutcome, job: Child) -> None:
    """Whether what was stored was found good, and nothing less.

    Raises:
        JobEnded: it was not.
    """
    if left.result == "Passed":
        return
    found = Verification(level=left.level, result="Failed", message=left.message)
    raise JobEnded(
        left.reason,
        f"{job.ref}: {left.message}",
        found if left.result == "Failed" else None,
    )


async def clear_away(world: World, job: Child) -> None:
    """The Job, and with it what belongs to it: its credentials, its policy, its pods."""
    world.children.pruned(job.ref)
    await world.cluster.delete(job.ref, uid=job.uid)


async def clear_all_away(world: World, owner: Owner, *, but_ended: bool = False) -> None:
    """All Jobs of a TenantBackup: it is Completed, or it is gone. ``but_ended``: those that still run, as it has failed."""
    for child in world.children.of(owner):
        if child.ref.kind != "Job" or child.terminating:
            continue
        runs = isinstance(child.readiness, JobRun) and child.readiness.outcome == "Running"
        if runs or not but_ended:
            await clear_away(world, child)


async def hide_credentials(world: World, active: ActiveBackup) -> None:
    """Of a backup that failed the Job stays, with its log, but not what it could get in with. One that was never let go has
    no log."""
    for child in world.children.of(active.owner):
        never_ran = isinstance(child.readiness, JobRun) and child.readiness.suspended
        if (child.ref.kind == "Secret" or never_ran) and not child.terminating:
            world.children.pruned(child.ref)
            await world.cluster.delete(child.ref, uid=child.uid)


def _bounded(words: str) -> str:
    return words if len(words) <= 1000 else f"…{words[-1000:]}"
