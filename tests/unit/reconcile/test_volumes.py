"""A volume that is lost, goes, does not grow, or is still another's: who is told what, and who waits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.unit.cluster.samples import live
from tests.unit.reconcile.objects import tenant

from odoo_tenancy.api.errors import OperatorError, Refused, Waiting
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.children import Children
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.reconcile import filestore, volumes
from odoo_tenancy.reconcile.look import Look
from odoo_tenancy.reconcile.report import Report

CLAIM = live("PersistentVolumeClaim", "odoo-filestore", spec={"volumeName": "pv-1"})


def claim(phase: str, capacity: str = "10Gi", **metadata: Any) -> Manifest:
    body = live(
        "PersistentVolumeClaim",
        "odoo-filestore",
        spec={"volumeName": "pv-1", "resources": {"requests": {"storage": "10Gi"}}},
        status={"phase": phase, "capacity": {"storage": capacity}},
    )
    return {**body, "metadata": {**body["metadata"], **metadata}}


def looking(seen: Manifest | None, refused: OperatorError | None = None) -> Look:
    """At a tenant whose volume was seen last as this, or whose apply is refused."""

    async def apply(manifests: list[Manifest]) -> None:
        if refused is not None:
            raise refused

    children = Children()
    if seen is not None:
        children.saw("ADDED", seen)
    asks = tenant("acme", filestore={"size": "10Gi"})
    world = SimpleNamespace(children=children)
    return cast(Look, SimpleNamespace(tenant=asks, world=world, apply=apply, context=None, report=Report()))


@pytest.fixture(autouse=True)
def wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odoo_tenancy.desired.tenant.volume", lambda context: [CLAIM])


async def test_a_volume_that_is_bound_and_large_enough_is_good() -> None:
    look = looking(claim("Bound"))
    await filestore.stage(look)
    assert look.report.findings["FilestoreReady"].reason == "Bound"


@pytest.mark.parametrize(
    ("seen", "kind", "reason"),
    [
        (None, Waiting, "VolumePending"),
        (claim("Pending", "0"), Waiting, "VolumePending"),
        (claim("Bound", "9Gi"), Waiting, "VolumeGrows"),
        (claim("Lost"), Refused, "VolumeLost"),
        (claim("Bound", deletionTimestamp="2026-11-23T12:00:00Z"), Refused, "VolumeBeingDeleted"),
    ],
)
async def test_a_volume_that_is_not_as_asked_says_how(
    seen: Manifest | None, kind: type[OperatorError], reason: str
) -> None:
    with pytest.raises(kind) as raised:
        await filestore.stage(looking(seen))
    assert raised.value.reason == reason
    assert str(ObjectRef.of(CLAIM)) in raised.value.message


async def test_a_class_that_grows_nothing_is_named_with_the_field() -> None:
    forbids = Refused("Forbidden", "Forbidden: only dynamically provisioned pvc can be resized")
    with pytest.raises(Refused, match=r"set spec\.filestore\.size back") as raised:
        await filestore.stage(looking(claim("Bound"), forbids))
    assert raised.value.reason == "VolumeCannotGrow"
    other = Refused("QuotaExceeded", "exceeded quota")
    with pytest.raises(Refused) as raised:
        await filestore.stage(looking(claim("Bound"), other))
    assert raised.value is other


class FakeVolumes:
    """The cluster's PersistentVolumes, in phases that a provisioner would bring about in its own time."""

    def __init__(self, phase: str) -> None:
        self.patched: list[str] = []
        self.volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "pv-1"},
            "spec": {"claimRef": {"name": "odoo-filestore"}, "persistentVolumeReclaimPolicy": "Delete"},
            "status": {"phase": phase},
        }

    async def list(self, *_: Any, **__: Any) -> list[Manifest]:
        return [self.volume]

    async def merge_patch(self, ref: ObjectRef, patch: Manifest) -> None:
        self.patched.append(ref.name)


async def test_what_is_still_bound_is_not_offered_to_its_new_tenant() -> None:
    bound = FakeVolumes("Bound")
    with pytest.raises(Waiting, match="pv-1") as raised:
        await volumes.offer(cast(Any, bound), "0" * 32, "odoo-acme")
    assert raised.value.reason == "VolumeStillBound"
    released = FakeVolumes("Released")
    assert await volumes.offer(cast(Any, released), "0" * 32, "odoo-acme") == 1
    assert (bound.patched, released.patched) == ([], ["pv-1"])


async def test_a_deletion_waits_until_the_provisioner_has_deleted() -> None:
    with pytest.raises(Waiting, match="pv-1") as raised:
        await volumes.wait_until_gone(cast(Any, FakeVolumes("Released")), "odoo-filestore")
    assert raised.value.reason == "VolumeGoing"
    await volumes.wait_until_gone(cast(Any, FakeVolumes("Released")), "another")
