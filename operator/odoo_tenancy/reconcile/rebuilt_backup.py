"""A TenantBackup that ``catalogue.py`` made: its status is what the manifest in the store says, and no more."""

from __future__ import annotations

from odoo_tenancy.api.errors import Refused, Waiting
from odoo_tenancy.reconcile import backup_begin, backup_status
from odoo_tenancy.reconcile.active_backup import ActiveBackup
from odoo_tenancy.reconcile.backup_policy import address_of
from odoo_tenancy.reconcile.catalogue import REBUILT
from odoo_tenancy.reconcile.world import World
from odoo_tenancy.services.object_store.catalogue import read_manifest


def is_rebuilt(active: ActiveBackup) -> bool:
    """Whether nothing of it is to be run: it was stored long ago."""
    return REBUILT in active.backup.metadata.annotations


async def fill(world: World, active: ActiveBackup) -> None:
    """Read the manifest, and say what it says. Where there is none any more, the object goes too.

    Raises:
        OperatorError: the policy can't be used, or the manifest can't be read.
    """
    metadata = active.backup.metadata
    state, key = backup_begin.policy_of(world, active), metadata.annotations[REBUILT]
    if state is None or state.store is None or state.problem is not None:
        problem = (
            state.problem.message if state is not None and state.problem is not None else "it is not there."
        )
        raise Waiting("PolicyNotReady", f"Its BackupPolicy can't be used: {problem}", backup_begin.LOOK_AGAIN)
    prefix = state.policy.spec.store.s3.prefix
    if prefix and not key.startswith(f"{prefix}/"):
        raise _not_its_own(active, key)
    stored = await read_manifest(
        world.buckets.of(state.policy.key, address_of(state.policy, state.store)), key
    )
    if stored is None:
        await world.cluster.delete(active.ref, uid=metadata.uid)
        return
    if (stored.manifest.namespace, stored.manifest.backup) != (metadata.namespace, metadata.name):
        raise _not_its_own(active, key)
    await backup_status.found(world, active, stored, state.policy.spec.store.s3.bucket)


def _not_its_own(active: ActiveBackup, key: str) -> Refused:
    return Refused(
        "ManifestUnreadable",
        f"{key} (annotation {REBUILT}) is not the manifest of this TenantBackup: delete the object, and it is made again "
        "from its own.",
        backup_begin.LOOK_AGAIN,
    )
