"""The Job by which a new tenant is filled: begun, let go, looked at again. Its credentials go when it has ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pydantic import ValidationError

from odoo_tenancy.api.errors import OperatorError, Refused, Unavailable, Waiting
from odoo_tenancy.api.work import Outcome
from odoo_tenancy.cluster.children import Child
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.cluster.readiness import JobRun
from odoo_tenancy.desired.backup_jobs import BackupJob
from odoo_tenancy.reconcile.backup_run import last_progress
from odoo_tenancy.reconcile.diagnosis import last_words, pods, why_not_running
from odoo_tenancy.reconcile.jobs import RETRY_JOB, end_others, time_left
from odoo_tenancy.reconcile.look import Look

_LOOK_AGAIN = 20.0
"""Seconds: a Job that ends is told by a watch, how far it is by nobody."""
_SHOWN = 1000

Build = Callable[[], Awaitable[BackupJob]]


async def run(look: Look, ref: ObjectRef, build: Build) -> str:
    """What it said once it has ended well; see :func:`words`."""
    try:
        return Outcome.model_validate_json(await words(look, ref, build)).message
    except ValidationError:  # its pod is gone: only what ended well is Complete
        return f"{ref} ended well."


async def words(look: Look, ref: ObjectRef, build: Build) -> str:
    """Return its last words once it has ended well; until then one step of it each time. May be cut short anywhere.

    Args:
        ref: of the Job that ``build`` makes.
        build: called before it is begun, and right before its credentials are written.

    Raises:
        Refused: it failed, and why. It is made anew after a while, as what it read may have been mended.
        Unavailable: the same where it may pass by itself.
        Waiting: it runs.
    """
    await end_others(look, ref)
    child = look.world.children.get(ref)
    if child is None:
        await look.apply([(await build()).begun()])
        raise Waiting("Restoring", f"{ref} was begun.", 1.0)
    look.keep.add(ref)
    found = child.readiness
    if child.terminating or not isinstance(found, JobRun):
        raise Waiting("Restoring", f"{ref} was deleted, and is made anew when it is gone.", 1.0)
    if found.outcome == "Running":
        raise await (_let_go(look, child, build) if found.suspended else _goes_on(look, ref))
    await _hide(look, ref)
    live = await pods(look.world.cluster, ref.namespace, {"batch.kubernetes.io/job-name": ref.name})
    if found.outcome == "Failed":
        left = await time_left(look, child)
        raise failure(ref, found, await last_words(look.world.cluster, live), left)
    return await last_words(look.world.cluster, live)


async def _let_go(look: Look, child: Child, build: Build) -> OperatorError:
    """First what it can't do without: its policy, its credentials."""
    ref = child.ref
    missing = {each for each in _belongings(ref) if look.world.children.get(each) is None}
    if missing:  # what is there stays: its Secret can't change, and a session is another each time
        made = (await build()).belongings(child.uid)
        await look.apply([each for each in made if ObjectRef.of(each) in missing])
    patch = {"metadata": {"uid": child.uid}, "spec": {"suspend": False}}
    await look.world.cluster.merge_patch(ref, patch)
    look.changes.append(f"let {ref} go")
    return Waiting("Restoring", f"{ref} was started.", _LOOK_AGAIN)


async def _goes_on(look: Look, ref: ObjectRef) -> OperatorError:
    live = await pods(look.world.cluster, ref.namespace, {"batch.kubernetes.io/job-name": ref.name})
    problem = await why_not_running(look.world.cluster, live)
    if problem is not None:
        return problem
    running = [pod for pod in live if pod.get("status", {}).get("phase") == "Running"]
    told = await _progress(look, ref, running[-1]["metadata"]["name"]) if running else ""
    return Waiting("Restoring", f"{ref} runs{told}.", _LOOK_AGAIN)


async def _progress(look: Look, ref: ObjectRef, pod: str) -> str:
    try:
        said = last_progress(await look.world.cluster.pod_log(ref.namespace, pod, tail_lines=5))
    except OperatorError:
        return ""  # its node may be away: what counts is how the Job ends
    if said is None:
        return ""
    return f": {said.step}" + (f", {said.percent} %" if said.percent is not None else "")


async def _hide(look: Look, ref: ObjectRef) -> None:
    """What it could get in with; the Job stays for a while, with its log."""
    for each in _belongings(ref):
        child = look.world.children.get(each)
        if child is not None and not child.terminating:
            look.world.children.pruned(each)
            await look.world.cluster.delete(each, uid=child.uid)


def _belongings(job: ObjectRef) -> tuple[ObjectRef, ObjectRef]:
    """They have its name."""
    return (
        ObjectRef("networking.k8s.io/v1", "NetworkPolicy", job.namespace, job.name),
        ObjectRef("v1", "Secret", job.namespace, job.name),
    )


def failure(ref: ObjectRef, found: JobRun, words: str, left: float) -> OperatorError:
    """What its last words mean.

    Args:
        left: seconds until it is made anew.
    """
    anew = f"It is made anew {RETRY_JOB:.0f} s after its failure, and at once when the Job is deleted."
    if found.reason == "DeadlineExceeded":
        return Unavailable(
            "RestoreTimeout",
            f"{ref} took longer than it may (timeout of the BackupPolicy): raise that, or see what slows it down. {anew}",
            left,
        )
    try:
        said = Outcome.model_validate_json(words)
    except ValidationError:
        shown = words if len(words) <= _SHOWN else f"…{words[-_SHOWN:]}"
        return Unavailable(
            "RestoreFailed", f"{ref} failed ({found.reason}). Its last words: {shown} {anew}", left
        )
    kind = Unavailable if said.again else Refused
    return kind(said.reason or "RestoreFailed", f"{ref} failed: {said.message} {anew}", left)
