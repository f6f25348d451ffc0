"""A tenant whose quota is full is backed up all the same; a bucket that is gone is told, and not made anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.reconcile.backup_stage import PATIENCE, Backups, attach
from tests.integration.reconcile.stage import Stage, Tenants, condition
from tests.support.kube import ApiError
from tests.support.s3 import LOCKED, S3Process

from odoo_tenancy.api.meta import API_VERSION, Manifest


@pytest.fixture
def backups(tenants: Tenants, store: S3Process) -> Iterator[Backups]:
    made = Backups(tenants, store)
    yield made
    for live in tenants.stage.kube.list(API_VERSION, "TenantBackup", made.namespace):
        tenants.stage.kube.delete(made.ref(live["metadata"]["name"]))


def a_pod(namespace: str, number: int) -> Manifest:
    """One that takes a place and nothing else."""
    container = {
        "name": "c",
        "image": "none",
        "resources": {each: {"cpu": "1m", "memory": "1Mi"} for each in ("requests", "limits")},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"filler-{number}", "namespace": namespace},
        "spec": {"containers": [container], "securityContext": security},
    }


def fill(stage: Stage, namespace: str) -> None:
    """Until there is no room for one more."""
    with pytest.raises(ApiError, match="exceeded quota"):  # noqa: PT012 - at which of them is the quota's business
        for number in range(100):
            stage.kube.create(a_pod(namespace, number))


def test_a_tenant_whose_quota_is_full_is_backed_up(backups: Backups, stage: Stage) -> None:
    backups.policy()
    claim = backups.tenant(quota={"pods": 10})
    attach(stage, claim, b"a file")
    fill(stage, backups.tenants.namespace_of("acme"))
    backups.create("first")
    backups.until_completed("first")


def test_a_bucket_that_is_gone_is_told_and_not_made_anew(backups: Backups, stage: Stage) -> None:
    ref = backups.policy(store={"s3": {"bucket": "gone"}})
    live = stage.kube.until(
        ref, lambda p: condition(p, "StoreReady").get("reason") == "BucketMissing", "says so", PATIENCE
    )
    assert "gone" in condition(live, "StoreReady")["message"]
    backups.tenant()
    backups.create("first")
    backups.until_says("first", "BucketMissing")
    assert "gone" not in [each["Name"] for each in backups.store.client().list_buckets()["Buckets"]]
    stage.kube.patch(ref, {"spec": {"store": {"s3": {"bucket": LOCKED}}}}, manager="gitops")
    backups.until_completed("first")
