"""FilestoreReady: the volume, grown when its size grows."""

from __future__ import annotations

from collections.abc import Sequence

from odoo_tenancy.api.errors import Refused, Waiting
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.api.types import parse_quantity
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.cluster.readiness import Volume
from odoo_tenancy.desired import tenant as desired
from odoo_tenancy.reconcile.look import Look


async def stage(look: Look) -> None:
    """One look at the volume.

    Raises:
        Refused: ``VolumeCannotGrow``, ``VolumeLost``, ``VolumeBeingDeleted``.
        Waiting: it is not bound yet, which is no reason to wait for anything else: a class may wait for the first pod.
    """
    manifests = desired.volume(look.context)
    await apply_volume(look, manifests, "spec.filestore.size")
    ref = ObjectRef.of(manifests[0])
    child = look.world.children.get(ref)
    volume = child.readiness if child is not None else None
    if child is not None and child.terminating:
        raise Refused(
            "VolumeBeingDeleted",
            f"{ref} was deleted by somebody and goes, with its data, when the last pod that mounts it ends. Save the "
            "filestore now: kubectl cp from a web pod, or set the PersistentVolume's reclaim policy to Retain.",
            60.0,
        )
    if not isinstance(volume, Volume) or volume.phase != "Bound":
        if isinstance(volume, Volume) and volume.phase == "Lost":
            raise Refused("VolumeLost", f"{ref} has lost its PersistentVolume {volume.volume}: restore it.")
        raise Waiting("VolumePending", f"{ref} is not bound yet.")
    if parse_quantity(volume.capacity or "0") < parse_quantity(look.tenant.spec.filestore.size):
        raise Waiting(
            "VolumeGrows", f"{ref} has {volume.capacity} and grows to {look.tenant.spec.filestore.size}."
        )
    look.report.good("FilestoreReady", "Bound", f"{volume.capacity} on volume {volume.volume}")


async def apply_volume(look: Look, manifests: Sequence[Manifest], field: str) -> None:
    """Make a volume, or let it grow. ``field`` of the spec says how large it is.

    Raises:
        Refused: ``VolumeCannotGrow``.
    """
    try:
        await look.apply(manifests)
    except Refused as error:
        if "resize" in error.message or "Forbidden" in error.message:
            raise Refused(
                "VolumeCannotGrow",
                f"{error.message}. Use a storage class with allowVolumeExpansion, or set {field} back.",
            ) from error
        raise
