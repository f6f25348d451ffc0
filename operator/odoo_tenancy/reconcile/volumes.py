"""PersistentVolumes of filestores beyond the life of their claims: kept, given back, or seen to be gone."""

from __future__ import annotations

from odoo_tenancy.api.errors import Waiting
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.desired import labels, names


async def set_reclaim(cluster: Cluster, claim: str, *, keep: bool) -> None:
    """Say what becomes of a tenant's volume when its claim goes, and mark it with the tenant's claim."""
    for volume in await _of_claim(cluster, names.volume_claim(claim)):
        ref = ObjectRef.of(volume)
        policy = "Retain" if keep else "Delete"
        marks = volume["metadata"].get("labels") or {}
        if volume["spec"].get("persistentVolumeReclaimPolicy") == policy and marks.get(labels.CLAIM) == claim:
            continue
        patch = {
            "metadata": {"labels": {labels.CLAIM: claim}},
            "spec": {"persistentVolumeReclaimPolicy": policy},
        }
        await cluster.merge_patch(ref, patch)


async def offer(cluster: Cluster, claim: str, namespace: str) -> int:
    """Let the retained volumes of a claim be bound again, by the claim's own PersistentVolumeClaim in this namespace.

    Returns how many there are.

    Raises:
        Waiting: ``VolumeStillBound``.
    """
    live = await cluster.list("v1", "PersistentVolume", label_selector=f"{labels.CLAIM}={claim}")
    for volume in live:
        if volume.get("status", {}).get("phase") == "Bound":
            raise Waiting(
                "VolumeStillBound",
                f"PersistentVolume {volume['metadata']['name']} is still bound to its former claim.",
                1.0,
            )
        reference = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": namespace,
            "name": names.volume_claim(claim),
            "uid": None,
            "resourceVersion": None,
        }
        await cluster.merge_patch(ObjectRef.of(volume), {"spec": {"claimRef": reference}})
    return len(live)


async def wait_until_gone(cluster: Cluster, volume_claim: str) -> None:
    """Raises ``Waiting`` while a volume of that claim, which is to be deleted, still exists."""
    for volume in await _of_claim(cluster, volume_claim):
        if volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
            status = volume.get("status", {})
            raise Waiting(
                "VolumeGoing",
                f"Waits for PersistentVolume {volume['metadata']['name']} to be deleted by its provisioner "
                f"({status.get('phase', 'Unknown')} {status.get('message', '')}).",
                2.0,
            )


async def _of_claim(cluster: Cluster, volume_claim: str) -> list[Manifest]:
    live = await cluster.list("v1", "PersistentVolume")
    return [v for v in live if (v["spec"].get("claimRef") or {}).get("name") == volume_claim]
