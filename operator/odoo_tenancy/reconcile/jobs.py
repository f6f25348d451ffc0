"""What takes long runs in a Job, which is started and looked at again: never waited for."""

from __future__ import annotations

from odoo_tenancy.api.errors import Refused, Waiting
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.children import Child
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.cluster.readiness import JobRun
from odoo_tenancy.reconcile.diagnosis import last_words, pods, why_not_running
from odoo_tenancy.reconcile.look import Look

RETRY_JOB = 300.0
"""Seconds after which a Job that failed is tried anew, where nothing was changed meanwhile."""


async def run_job(look: Look, manifests: list[Manifest], failed: str, running: str) -> None:
    """Start a Job, or look at it again.

    Raises:
        Refused: it failed; its last lines are in the message.
        Waiting: it runs, or waits for an earlier one to end.
    """
    ref = ObjectRef.of(manifests[-1])
    await end_others(look, ref)
    child = look.world.children.get(ref)
    run = child.readiness if child is not None else None
    if not isinstance(run, JobRun):
        await look.apply(manifests)
        raise Waiting(
            running, f"Job {ref.namespace}/{ref.name} was started.", look.world.options.look_again * 5
        )
    look.keep.add(ref)
    if run.outcome == "Succeeded":
        return
    live = await pods(look.world.cluster, ref.namespace, {"batch.kubernetes.io/job-name": ref.name})
    if run.outcome == "Failed" and child is not None:
        left = await time_left(look, child)
        words = await last_words(look.world.cluster, live)
        raise Refused(
            failed,
            f"{ref} failed ({run.reason}): mend the spec, or what the log complains of; it is tried again "
            f"{RETRY_JOB:.0f} s after its failure. Its last lines: {words}",
            left,
        )
    problem = await why_not_running(look.world.cluster, live)
    if problem is not None:
        raise problem
    raise Waiting(running, f"Job {ref.namespace}/{ref.name} runs.", look.world.options.look_again * 5)


async def end_others(look: Look, ref: ObjectRef) -> None:
    """One Job at a time works on a database: one of an older spec ends first.

    Raises:
        Waiting: ``EarlierJobEnds``.
    """
    for child in look.world.children.of(look.owner):
        if child.ref.kind != "Job" or child.ref == ref:
            continue
        if not child.terminating:
            look.world.children.pruned(child.ref)
            await look.world.cluster.delete(child.ref, uid=child.uid, propagation="Foreground")
        if isinstance(child.readiness, JobRun) and child.readiness.outcome == "Running":
            raise Waiting("EarlierJobEnds", f"{child.ref} is of an older spec and ends first.", 2.0)


async def time_left(look: Look, failed: Child) -> float:
    """Seconds until a Job that failed is tried anew.

    Raises:
        Waiting: ``TryingAgain``: there are none left, and it was deleted to be made again.
    """
    since = look.pool.failed.setdefault(failed.uid, look.world.now())
    left = RETRY_JOB - (look.world.now() - since).total_seconds()
    if left > 0:
        return left
    look.pool.failed.pop(failed.uid)
    look.world.children.pruned(failed.ref)
    await look.world.cluster.delete(failed.ref, uid=failed.uid)
    raise Waiting("TryingAgain", f"{failed.ref} failed and is made anew.", 1.0)
