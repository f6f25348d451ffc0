"""``TenantBackup.spec.hold``, kept in the store too: there it outlasts the object, and the cluster.

The condition ``Held`` says what the store knows; where that is something else than the spec says, it is told.
"""

from __future__ import annotations

from odoo_tenancy.api.errors import OperatorError, Waiting
from odoo_tenancy.reconcile import backup_begin, backup_status
from odoo_tenancy.reconcile.active_backup import ActiveBackup
from odoo_tenancy.reconcile.backup_policy import address_of
from odoo_tenancy.reconcile.bootstrap_source import claim_of
from odoo_tenancy.reconcile.world import World
from odoo_tenancy.services.object_store.holds import Holds


async def follow(world: World, active: ActiveBackup) -> None:
    """Tell the store, then say so.

    Raises:
        OperatorError: what keeps the store from knowing, after it was written to the condition.
    """
    name, wanted = active.backup.metadata.name, active.backup.spec.hold
    try:
        holds = _holds(world, active)
        await (holds.hold(name) if wanted else holds.release(name))
    except OperatorError as error:
        # As long as it isn't told of a release, the store goes on holding it.
        await backup_status.is_held(world, active, not wanted, error.reason, error.message)
        raise
    said = "The store knows that it is to stay" if wanted else "Retention decides"
    await backup_status.is_held(world, active, wanted, "Held" if wanted else "NotHeld", said)


def _holds(world: World, active: ActiveBackup) -> Holds:
    state = backup_begin.policy_of(world, active)
    if state is None or state.store is None:
        why = state.problem.message if state is not None and state.problem is not None else "it is not there."
        raise Waiting("PolicyNotReady", f"Its BackupPolicy can't be used: {why}", backup_begin.LOOK_AGAIN)
    prefix = state.policy.spec.store.s3.prefix
    bucket = world.buckets.of(state.policy.key, address_of(state.policy, state.store))
    return Holds(bucket, prefix, claim_of(active.backup, prefix))
