"""The step of a restore in which what was laid beside the living database is neutralized, before anybody is let onto it."""

from __future__ import annotations

from dataclasses import replace

from odoo_tenancy.api.errors import OperatorError, Refused, Waiting
from odoo_tenancy.cluster.children import Child
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.cluster.readiness import JobRun
from odoo_tenancy.desired import restore_jobs
from odoo_tenancy.reconcile import backup_run, restore_status
from odoo_tenancy.reconcile.active_restore import ActiveRestore, RestoreEnded, RestorePlace
from odoo_tenancy.reconcile.diagnosis import last_words, pods, why_not_running
from odoo_tenancy.reconcile.restore_begin import place_of, record_of
from odoo_tenancy.reconcile.world import World

_LOOK_AGAIN = 20.0
"""Seconds: a Job that ends is told by a watch."""


async def neutralizing(world: World, active: ActiveRestore) -> None:
    """Odoo's own neutralization in the tenant's image, and then a look at the rows. Done again it does no harm."""
    record_of(world, active)
    place = await place_of(world, active)
    job = await _ended(world, active, place)
    beside = replace(place.wanted, database=place.new)
    try:
        await place.server.check_neutralized(beside, place.context.credentials.database_password)
    except Refused as error:
        raise RestoreEnded(error.reason, error.message) from error
    await backup_run.clear_away(world, job)
    await restore_status.enters(world, active, "Stopping")


async def _ended(world: World, active: ActiveRestore, place: RestorePlace) -> Child:
    """The Job, once it ended well. Begins it, or looks at it again.

    Raises:
        RestoreEnded: ``NeutralizationFailed``.
        OperatorError: it runs, or why it doesn't.
    """
    manifest = restore_jobs.neutralization(place.context, active.made_for, place.new)
    ref = ObjectRef.of(manifest)
    child = world.children.get(ref)
    if child is None:
        await world.applier.apply(active.owner, [manifest], unheard_of=True)
        raise Waiting("Neutralizing", f"{ref} was started.", _LOOK_AGAIN)
    found = child.readiness
    if child.terminating or not isinstance(found, JobRun):
        raise Waiting("Neutralizing", f"{ref} was begun, or an earlier one ends.", 1.0)
    if found.outcome == "Succeeded":
        return child
    live = await pods(world.cluster, ref.namespace, {"batch.kubernetes.io/job-name": ref.name})
    if found.outcome == "Failed":
        words = await last_words(world.cluster, live)
        raise RestoreEnded(
            "NeutralizationFailed",
            f"{ref} failed ({found.reason}), so what was restored isn't neutral and is not started. Mend what it complains "
            f"of, and make a new TenantRestore. Its last words: {words}",
        )
    problem: OperatorError | None = await why_not_running(world.cluster, live)
    raise problem or Waiting("Neutralizing", f"{ref} runs.", _LOOK_AGAIN)
