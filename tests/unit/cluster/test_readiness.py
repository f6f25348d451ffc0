"""Statuses of children, as controllers write them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.cluster.samples import live

from odoo_tenancy.cluster.readiness import (
    Issued,
    JobRun,
    Phase,
    PodRun,
    Readiness,
    Rollout,
    Scale,
    Volume,
    readiness,
)

DONE = {
    "replicas": 2,
    "updatedReplicas": 2,
    "readyReplicas": 2,
    "availableReplicas": 2,
    "observedGeneration": 3,
}


def rollout(status: dict[str, Any], **spec: Any) -> Rollout:
    body = live("Deployment", "web", spec=spec, status=status)
    body["metadata"]["generation"] = 3
    found = readiness(body)
    assert isinstance(found, Rollout)
    return found


def test_a_rollout_is_complete_when_all_pods_are_new_and_available() -> None:
    assert rollout(DONE, replicas=2).complete
    assert not rollout(DONE, replicas=3).complete
    assert not rollout({**DONE, "replicas": 3}, replicas=2).complete  # an old pod is left
    assert not rollout({**DONE, "availableReplicas": 1}, replicas=2).complete
    assert not rollout({**DONE, "observedGeneration": 2}, replicas=2).complete  # counts of another generation
    assert rollout({"observedGeneration": 3}, replicas=0).complete


def test_a_rollout_says_why_it_is_stuck() -> None:
    deadline = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    assert rollout({"conditions": [deadline]}).problem == "ProgressDeadlineExceeded"
    quota = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods=20"}
    assert rollout({"conditions": [deadline, quota]}).problem == "exceeded quota: pods=20"
    assert rollout({}).problem == ""


def condition(type_: str, status: str, **more: str) -> dict[str, Any]:
    return {"conditions": [{"type": type_, "status": status, **more}]}


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("Job", {"status": {"active": 1}}, JobRun("Running", 1, 0)),
        ("Job", {"status": condition("Complete", "True")}, JobRun("Succeeded", 0, 0)),
        (
            "Job",
            {
                "status": {
                    "failed": 3,
                    **condition("Failed", "True", reason="BackoffLimitExceeded", message="m"),
                }
            },
            JobRun("Failed", 0, 3, "BackoffLimitExceeded", "m"),
        ),
        (
            "PersistentVolumeClaim",
            {
                "spec": {"volumeName": "pv-1", "resources": {"requests": {"storage": "20Gi"}}},
                "status": {
                    "phase": "Bound",
                    "capacity": {"storage": "10Gi"},
                    **condition("Resizing", "True"),
                },
            },
            Volume("Bound", "10Gi", "20Gi", "pv-1", "Resizing"),
        ),
        ("PersistentVolumeClaim", {"spec": {}}, Volume("Pending", "", "", "")),
        (
            "HorizontalPodAutoscaler",
            {
                "status": {
                    "currentReplicas": 2,
                    "desiredReplicas": 3,
                    **condition("ScalingActive", "False", reason="FailedGetResourceMetric"),
                }
            },
            Scale(2, 3, "FailedGetResourceMetric"),
        ),
        ("Namespace", {"status": {"phase": "Terminating"}}, Phase("Terminating")),
        ("Certificate", {"status": condition("Ready", "True", reason="Issued")}, Issued(True, "Issued", "")),
        ("Certificate", {}, Issued(False, "", "")),
        (
            "Pod",
            {
                "status": {
                    "phase": "Pending",
                    "initContainerStatuses": [{"state": {"terminated": {}}}],
                    "containerStatuses": [
                        {"state": {"waiting": {"reason": "ContainerCreating"}}},
                        {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}},
                    ],
                }
            },
            PodRun("Pending", False, "ImagePullBackOff", "not found"),
        ),
        ("ConfigMap", {}, None),
    ],
)
def test_each_kind_has_its_own(kind: str, body: dict[str, Any], expected: Readiness | None) -> None:
    assert readiness(live(kind, "child", **body)) == expected
