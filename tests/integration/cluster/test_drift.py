"""Whatever is changed, extended or deleted by hand comes back, and is named with its writer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.apply import Change
from odoo_tenancy.cluster.objects import ObjectRef

if TYPE_CHECKING:
    from tests.integration.cluster.conftest import Stage

BODIES: dict[str, dict[str, Any]] = {
    "ConfigMap": {"apiVersion": "v1", "data": {"a": "1"}},
    "Secret": {"apiVersion": "v1", "type": "Opaque", "data": {"password": "c2VjcmV0"}},
    "ServiceAccount": {"apiVersion": "v1", "automountServiceAccountToken": False},
    "ResourceQuota": {"apiVersion": "v1", "spec": {"hard": {"pods": "20", "requests.cpu": "4000m"}}},
    "LimitRange": {
        "apiVersion": "v1",
        "spec": {"limits": [{"type": "Container", "default": {"cpu": "0.5", "memory": "1024Mi"}}]},
    },
    "Service": {
        "apiVersion": "v1",
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 8069, "targetPort": "http"}]},
    },
    "PersistentVolumeClaim": {
        "apiVersion": "v1",
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1024Mi"}}},
    },
    "NetworkPolicy": {
        "apiVersion": "networking.k8s.io/v1",
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    },
    "HorizontalPodAutoscaler": {
        "apiVersion": "autoscaling/v2",
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1,
            "maxReplicas": 4,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
                }
            ],
        },
    },
    "PodDisruptionBudget": {
        "apiVersion": "policy/v1",
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    },
}

CHANGED = [
    ("ConfigMap", {"data": {"a": "2"}}, "data.a"),
    ("ConfigMap", {"data": {"a": None}}, "data.a"),
    ("Secret", {"data": {"password": "aGFja2Vk"}}, "data.password"),
    ("ServiceAccount", {"automountServiceAccountToken": True}, "automountServiceAccountToken"),
    ("ResourceQuota", {"spec": {"hard": {"pods": "200"}}}, "spec.hard.pods"),
    ("LimitRange", {"spec": {"limits": [{"type": "Container", "default": {"cpu": "8"}}]}}, "spec.limits"),
    ("Service", {"spec": {"selector": {"app": "other"}}}, "spec.selector"),
    ("Service", {"spec": {"type": "NodePort"}}, "spec.type"),
    ("NetworkPolicy", {"spec": {"policyTypes": ["Ingress"]}}, "spec.policyTypes"),
    ("HorizontalPodAutoscaler", {"spec": {"maxReplicas": 40}}, "spec.maxReplicas"),
    ("PodDisruptionBudget", {"spec": {"maxUnavailable": 0}}, "spec.maxUnavailable"),
    (
        "ConfigMap",
        {"metadata": {"labels": {"odootenancy.io/tenant": "x"}}},
        "metadata.labels[odootenancy.io/tenant]",
    ),
]

EXTENDED = [
    ("ConfigMap", {"data": {"b": "1"}}, "data.b"),
    ("ConfigMap", {"binaryData": {"b": "AA=="}}, "binaryData"),
    ("ConfigMap", {"metadata": {"labels": {"team": "x"}}}, "metadata.labels.team"),
    ("ConfigMap", {"metadata": {"annotations": {"note": "x"}}}, "metadata.annotations.note"),
    ("Secret", {"data": {"other": "AA=="}}, "data.other"),
    ("ServiceAccount", {"imagePullSecrets": [{"name": "theirs"}]}, "imagePullSecrets"),
    ("ResourceQuota", {"spec": {"hard": {"services": "1"}}}, "spec.hard.services"),
    ("Service", {"spec": {"externalIPs": ["198.51.100.7"]}}, "spec.externalIPs"),
    ("NetworkPolicy", {"spec": {"ingress": [{}]}}, "spec.ingress"),
    (
        "HorizontalPodAutoscaler",
        {"spec": {"behavior": {"scaleDown": {"selectPolicy": "Disabled"}}}},
        "spec.behavior",
    ),
    (
        "PodDisruptionBudget",
        {"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}},
        "spec.unhealthyPodEvictionPolicy",
    ),
]


def manifest_of(stage: Stage, kind: str) -> Manifest:
    body = dict(BODIES[kind])
    return stage.manifest(body.pop("apiVersion"), kind, "child", **body)


def significant(body: Manifest) -> Manifest:
    """Without what the API server counts and notes."""
    metadata = {k: body["metadata"].get(k) for k in ("labels", "annotations")}
    rest = {k: v for k, v in body.items() if k not in ("metadata", "status")}
    return {**rest, "metadata": {k: v for k, v in metadata.items() if v}}


async def settle(stage: Stage, manifest: Manifest) -> Manifest:
    await stage.applier.apply(stage.owner, [manifest])
    await stage.watch()
    return significant(await stage.live(manifest))


async def assert_restored(stage: Stage, manifest: Manifest, before: Manifest) -> None:
    assert significant(await stage.live(manifest)) == before
    await stage.watch()
    assert await stage.applier.apply(stage.owner, [manifest]) == [Change(ObjectRef.of(manifest), "unchanged")]
    assert stage.requests.total == 0


@pytest.mark.parametrize(("kind", "patch", "field"), CHANGED)
async def test_a_changed_field_comes_back(stage: Stage, kind: str, patch: Manifest, field: str) -> None:
    manifest = manifest_of(stage, kind)
    if "type" in patch.get("spec", {}):
        manifest["spec"]["type"] = "ClusterIP"
    before = await settle(stage, manifest)
    stage.kubectl("patch", kind, "child", "--type=merge", "-p", json.dumps(patch))
    assert await stage.watch() == {stage.owner.name}
    [change] = await stage.applier.apply(stage.owner, [manifest])
    assert (change.action, change.ref) == ("repaired", ObjectRef.of(manifest))
    assert change.drift is not None
    assert change.drift.kind == "changed"
    assert any(each.startswith(field) for each in change.drift.fields), change.drift
    removed = None in patch.get("data", {}).values()  # who only removes is not noted by the API server
    assert change.drift.writers == (() if removed else ("kubectl-patch",))
    await assert_restored(stage, manifest, before)


@pytest.mark.parametrize(("kind", "patch", "field"), EXTENDED)
async def test_an_added_field_goes(stage: Stage, kind: str, patch: Manifest, field: str) -> None:
    manifest = manifest_of(stage, kind)
    before = await settle(stage, manifest)
    stage.kubectl("patch", kind, "child", "--type=merge", "-p", json.dumps(patch))
    assert await stage.watch() == {stage.owner.name}
    [change] = await stage.applier.apply(stage.owner, [manifest])
    assert change.drift is not None
    assert (change.action, change.drift.kind, change.drift.fields[0]) == ("repaired", "extended", field)
    assert change.drift.writers == ("kubectl-patch",)
    assert change.drift.when
    await assert_restored(stage, manifest, before)


@pytest.mark.parametrize("kind", [kind for kind in BODIES if kind != "PersistentVolumeClaim"])
async def test_a_deleted_object_is_made_anew(stage: Stage, kind: str) -> None:
    manifest = manifest_of(stage, kind)
    before = await settle(stage, manifest)
    stage.kubectl("delete", kind, "child")
    assert await stage.watch() == {stage.owner.name}
    [change] = await stage.applier.apply(stage.owner, [manifest])
    assert change.drift is not None
    assert (change.action, change.drift.kind) == ("repaired", "deleted")
    after = significant(await stage.live(manifest))
    for body in (before, after):
        for assigned in ("clusterIP", "clusterIPs"):
            body.get("spec", {}).pop(assigned, None)
    assert after == before


async def test_everything_done_to_a_deployment_is_undone_at_once(stage: Stage) -> None:
    manifest = stage.deployment(replicas=0)
    await settle(stage, manifest)
    stage.kubectl("set", "image", "deployment/web", "odoo=evil:1")
    stage.kubectl("set", "env", "deployment/web", "B=2", "A=3")
    operations = [
        {
            "op": "add",
            "path": "/spec/template/spec/containers/-",
            "value": {"name": "side", "image": "evil:1"},
        },
        {"op": "add", "path": "/spec/template/spec/hostNetwork", "value": True},
        {"op": "add", "path": "/spec/template/spec/tolerations", "value": [{"operator": "Exists"}]},
        {
            "op": "add",
            "path": "/spec/template/spec/initContainers",
            "value": [{"name": "i", "image": "evil:1"}],
        },
        {"op": "remove", "path": "/spec/template/spec/containers/0/ports"},
    ]
    stage.kubectl("patch", "deployment", "web", "--type=json", "-p", json.dumps(operations))
    await stage.watch()
    [change] = await stage.applier.apply(stage.owner, [manifest])
    assert change.drift is not None
    assert {
        "spec.template.spec.containers[name=odoo].image",
        "spec.template.spec.containers[name=odoo].env[name=A].value",
        "spec.template.spec.containers[name=odoo].env[name=B]",
        "spec.template.spec.containers[name=side]",
        "spec.template.spec.hostNetwork",
        "spec.template.spec.tolerations",
        "spec.template.spec.initContainers",
    } <= set(change.drift.fields)
    assert set(change.drift.writers) == {"kubectl-set", "kubectl-patch"}
    pod = (await stage.live(manifest))["spec"]["template"]["spec"]
    assert not pod.keys() & {"hostNetwork", "tolerations", "initContainers"}
    [container] = pod["containers"]
    assert (container["image"], container["env"]) == ("odoo:19.0", [{"name": "A", "value": "1"}])
    assert container["ports"] == [{"name": "http", "containerPort": 8069, "protocol": "TCP"}]
    await stage.watch()
    assert [c.action for c in await stage.applier.apply(stage.owner, [manifest])] == ["unchanged"]


async def test_a_volume_of_another_type_can_be_taken_back(stage: Stage) -> None:
    manifest = stage.deployment(replicas=0)
    await settle(stage, manifest)
    operations = [
        {"op": "remove", "path": "/spec/template/spec/volumes/0/configMap"},
        {"op": "add", "path": "/spec/template/spec/volumes/0/hostPath", "value": {"path": "/"}},
    ]
    stage.kubectl("patch", "deployment", "web", "--type=json", "-p", json.dumps(operations))
    await stage.watch()
    [change] = await stage.applier.apply(stage.owner, [manifest])
    assert change.action == "repaired"
    [volume] = (await stage.live(manifest))["spec"]["template"]["spec"]["volumes"]
    assert volume["configMap"]["name"] == "settings"
    assert "hostPath" not in volume


async def test_a_grown_volume_claim_is_not_shrunk_in_silence(stage: Stage) -> None:
    manifest = manifest_of(stage, "PersistentVolumeClaim")
    before = await settle(stage, manifest)
    stage.kubectl("patch", "pvc", "child", "--type=merge", "-p", '{"metadata": {"labels": {"team": "x"}}}')
    await stage.watch()
    [change] = await stage.applier.apply(stage.owner, [manifest])
    assert change.drift is not None
    assert change.drift.fields == ("metadata.labels.team",)
    await assert_restored(stage, manifest, before)


async def test_labels_taken_off_by_hand_come_back(stage: Stage) -> None:
    manifest = stage.config_map()
    before = await settle(stage, manifest)
    stage.kubectl("label", "configmap", "settings", "odootenancy.io/tenant-uid-")
    assert await stage.watch() == {stage.owner.name}
    [change] = await stage.applier.apply(stage.owner, [manifest])
    assert change.drift is not None
    assert change.drift.fields == ("metadata.labels[odootenancy.io/tenant-uid]",)
    await assert_restored(stage, manifest, before)


async def test_a_watch_by_label_reports_such_an_object_as_deleted_and_it_comes_back_the_same(
    stage: Stage,
) -> None:
    manifest = stage.config_map()
    before = await settle(stage, manifest)
    stage.kubectl(
        "label", "configmap", "settings", "app.kubernetes.io/managed-by-", "odootenancy.io/tenant-uid-"
    )
    live = await stage.live(manifest)
    assert stage.children.saw("DELETED", live) == stage.owner.key
    assert stage.children.get(ObjectRef.of(manifest)) is None
    [change] = await stage.applier.apply(stage.owner, [manifest])
    assert change.drift is not None
    assert change.drift.kind == "changed"
    assert (await stage.live(manifest))["metadata"]["uid"] == live["metadata"]["uid"]
    await assert_restored(stage, manifest, before)


async def test_notes_erased_by_hand_are_written_anew(stage: Stage) -> None:
    manifest = stage.config_map()
    before = await settle(stage, manifest)
    stage.kubectl(
        "patch", "configmap", "settings", "--type=merge", "-p", '{"metadata": {"managedFields": [{}]}}'
    )
    assert await stage.watch() == {stage.owner.name}
    await stage.applier.apply(stage.owner, [manifest])
    await assert_restored(stage, manifest, before)


async def test_a_restart_by_an_sre_is_let_stand(stage: Stage) -> None:
    manifest = stage.deployment(replicas=0)
    await settle(stage, manifest)
    stage.kubectl("rollout", "restart", "deployment", "web")
    await stage.watch()
    assert [c.action for c in await stage.applier.apply(stage.owner, [manifest])] == ["unchanged"]
    template = (await stage.live(manifest))["spec"]["template"]
    assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]


async def test_a_platforms_own_tool_may_be_tolerated(stage: Stage) -> None:
    stage.children.tolerated = frozenset({"rancher"})
    manifest = stage.config_map()
    await settle(stage, manifest)
    stage.kubectl("annotate", "configmap", "settings", "field.cattle.io/x=1", "--field-manager=rancher")
    await stage.watch()
    assert [c.action for c in await stage.applier.apply(stage.owner, [manifest])] == ["unchanged"]
    assert stage.requests.total == 0
