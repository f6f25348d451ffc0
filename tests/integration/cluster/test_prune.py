"""Pruning: only what carries this owner's UID, read again before, and deleted by UID."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from odoo_tenancy.cluster.apply import Applier, Change
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.failures import Conflict
from odoo_tenancy.cluster.objects import ObjectRef

if TYPE_CHECKING:
    from tests.integration.cluster.conftest import Stage


def names(changes: list[Change]) -> list[str]:
    return [f"{change.action} {change.ref.name}" for change in changes]


async def test_what_is_not_kept_goes_and_is_no_drift_afterwards(stage: Stage) -> None:
    kept, extra = stage.config_map("kept"), stage.config_map("extra")
    await stage.applier.apply(stage.owner, [kept, extra])
    stage.requests.counts.clear()
    assert names(await stage.applier.prune(stage.owner, [ObjectRef.of(kept)])) == ["pruned extra"]
    assert stage.requests.counts == {("get", "ConfigMap"): 1, ("delete", "ConfigMap"): 1}
    assert await stage.watch() == {stage.owner.name}
    assert names(await stage.applier.prune(stage.owner, [ObjectRef.of(kept)])) == []
    assert stage.requests.total == 0
    assert names(await stage.applier.apply(stage.owner, [extra])) == ["created extra"]


async def test_data_goes_only_where_that_is_said(stage: Stage) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    volume = stage.manifest("v1", "PersistentVolumeClaim", "filestore", spec=spec)
    await stage.applier.apply(stage.owner, [volume])
    assert await stage.applier.prune(stage.owner, []) == []
    assert names(await stage.applier.prune(stage.owner, [], including_data=True)) == ["pruned filestore"]


async def test_a_label_taken_off_since_the_last_look_saves_an_object(stage: Stage) -> None:
    manifest = stage.config_map()
    await stage.applier.apply(stage.owner, [manifest])
    stage.kubectl("label", "configmap", "settings", "--overwrite", "odootenancy.io/tenant-uid=another")
    assert await stage.applier.prune(stage.owner, []) == []
    assert await stage.cluster.get(ObjectRef.of(manifest)) is not None
    assert stage.children.of(stage.owner) == ()


async def test_an_object_that_took_the_place_of_the_one_we_read_is_not_deleted(stage: Stage) -> None:
    class Meddler:
        def before_write(self, description: str) -> None:
            stage.kubectl("delete", "configmap", "settings")
            stage.kubectl("create", "configmap", "settings")

        def after_write(self, description: str) -> None: ...

    await stage.applier.apply(stage.owner, [stage.config_map()])
    cluster = Cluster(stage.cluster.api_client, hook=Meddler())
    with pytest.raises(Conflict):
        await Applier(cluster, stage.children).prune(stage.owner, [])
    assert await stage.cluster.get(ObjectRef.of(stage.config_map())) is not None


async def test_what_a_controller_made_of_ours_is_its_own_affair(stage: Stage) -> None:
    manifest = stage.deployment(replicas=1)
    manifest["spec"]["template"]["metadata"]["labels"] |= stage.labels
    await stage.applier.apply(stage.owner, [manifest])
    stage.watched.add(("apps/v1", "ReplicaSet"))
    await stage.until(lambda: any(c.ref.kind == "ReplicaSet" for c in stage.children.of(stage.owner)))
    assert await stage.applier.prune(stage.owner, [ObjectRef.of(manifest)]) == []


async def test_the_routes_go_first_and_the_policies_after_what_they_protect(stage: Stage) -> None:
    policy = stage.manifest("networking.k8s.io/v1", "NetworkPolicy", "deny", spec={"podSelector": {}})
    manifests = [policy, stage.config_map("config"), stage.deployment(replicas=0)]
    await stage.applier.apply(stage.owner, manifests)
    changes = await stage.applier.prune(stage.owner, [])
    assert names(changes) == ["pruned web", "pruned config", "pruned deny"]
