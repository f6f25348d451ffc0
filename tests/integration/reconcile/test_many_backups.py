"""TenantBackups in a real API server: they are small, and a list of them is narrowed down by phase and by tenant. What
thirty thousand cost is measured by ``make bench ONLY=many-backups``, what a look costs by a unit test of this name."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.integration.reconcile.stage import Stage, Tenants
from tests.unit.reconcile.test_many_backups import stored

from odoo_tenancy.api.meta import API_VERSION, Manifest
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.reconcile.backup_memory import record_of

COUNT, FAILED = 120, 7
LARGEST = 4096
"""Bytes of JSON: thirty thousand are no more than 120 MB to the API server."""


@pytest.fixture
def nobodys(stage: Stage) -> Iterator[str]:
    """A namespace with a tenant whose pool no operator serves."""
    tenants = Tenants(stage, f"tenants-{secrets.token_hex(3)}")
    stage.namespace(tenants.namespace)
    stage.kube.create(tenants.manifest("acme-0", poolRef={"name": "nobodys"}))
    yield tenants.namespace
    for live in stage.kube.list(API_VERSION, "TenantBackup", tenants.namespace):
        stage.kube.delete(ObjectRef.of(live))
    stage.kube.delete(tenants.ref("acme-0"))


def make(stage: Stage, namespace: str, turn: int) -> None:
    body = stored(0, turn)
    metadata = {key: body["metadata"][key] for key in ("name", "annotations")}
    made = {
        "apiVersion": API_VERSION,
        "kind": "TenantBackup",
        "metadata": {**metadata, "namespace": namespace},
        "spec": body["spec"],
    }
    stage.kube.create(made)
    status = {**body["status"], "phase": "Failed" if turn < FAILED else "Completed"}
    message = {"status": "True", "message": "Stored, read back and found good", "observedGeneration": 1}
    status["conditions"] = [
        {
            "type": each,
            "reason": "Completed",
            "lastTransitionTime": body["status"]["completionTime"],
            **message,
        }
        for each in ("Ready", "Reconciling", "Stalled", "Stored", "Verified")
    ]
    status["verification"] = {**status["verification"], "level": "Consistency", "message": "Found good"}
    stage.kube.patch(ObjectRef.of(made), {"status": status}, subresource="status")


def test_they_are_small_and_found_by_phase_and_by_tenant(stage: Stage, nobodys: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        for _ in threads.map(lambda turn: make(stage, nobodys, turn), range(COUNT)):
            pass

    def listed(fields: str) -> list[Manifest]:
        return stage.kube.list(API_VERSION, "TenantBackup", nobodys, fields=fields)

    assert len(listed("status.phase=Failed")) == FAILED
    assert len(listed("status.phase=Completed,spec.tenantRef.name=acme-0")) == COUNT - FAILED
    assert listed("spec.tenantRef.name=acme-1") == []
    for body in listed(""):
        body["metadata"].pop("managedFields")
        assert len(json.dumps(body)) < LARGEST
        record = record_of(body)
        assert record.finished
        assert record.claim
