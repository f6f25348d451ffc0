"""What is stored of a tenant, put there by hand, so that no Job has to run for it; and all that a bucket has."""

from __future__ import annotations

import json
from typing import Any

from tests.integration.reconcile.backup_stage import PATIENCE, Backups
from tests.integration.reconcile.stage import OPERATOR_NAMESPACE, secret_ref
from tests.support.s3 import PLAIN

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.objects import ObjectRef

PARTS = ("restic/config", "restic/data/ab/abcd", "restic/data/cd/cdef", "restic/index/01", "restic/keys/02",
         "restic/snapshots/03")  # fmt: skip


def put_repository(
    backups: Backups, claim: str, backup: str, tenant: str = "acme", bucket: str = PLAIN
) -> None:
    """With the manifest of one backup, and what the operator knows of it."""
    client, prefix, moment = backups.store.client(), backups.namespace, "2026-11-23T12:00:00Z"
    manifest = {
        "backup": backup, "namespace": backups.namespace, "tenant": tenant, "claim": claim, "reason": "OnDemand",
        "repository": f"{prefix}/{claim}/restic", "policy": "gold", "recoveryKeys": ["2026a"], "recoveryPoint": moment,
        "startedAt": moment, "completedAt": moment, "storeClock": moment, "image": "odoo",
        "database": {"serverVersion": "17.6", "modules": {}, "rowCounts": {}, "dumpBytes": 1,
                     "attachments": {"files": 0, "digest": ""}},
        "filestore": {"files": 0, "bytes": 0}, "snapshots": {"database": "a" * 64, "filestore": []}, "uploadedBytes": 1,
    }  # fmt: skip
    for part in PARTS:
        client.put_object(
            Bucket=bucket,
            Key=f"{prefix}/{claim}/{part}",
            Body=f"{part} of {claim}",
            ChecksumAlgorithm="CRC32",
        )
    for key, content in (
        (f"{prefix}/{claim}/manifests/{backup}.json", json.dumps(manifest)),
        (f"{prefix}/ledgers/{claim}.json", "{}"),
    ):
        client.put_object(Bucket=bucket, Key=key, Body=content, ChecksumAlgorithm="CRC32")


def stored_tenant(
    backups: Backups, backup: str, bucket: str = PLAIN, tenant: str = "acme", **policy: Any
) -> str:
    """One with a stored backup that has its object, whose vault has what its end needs; its claim."""
    claim = backups.tenant(tenant)
    put_repository(backups, claim, backup, tenant, bucket)
    backups.policy(**policy)
    backups.until_phase(backup, "Completed")
    vault = secret_ref(OPERATOR_NAMESPACE, f"tenant-{claim}")
    backups.stage.kube.until(vault, lambda v: "last-backup-policy" in v["data"], "has its policy", PATIENCE)
    return claim


def until_kept(backups: Backups, claim: str) -> None:
    """Its vault has what its end needs of its policy, and knows of its repository."""
    prepared = "odootenancy.io/repository-prepared"
    backups.stage.kube.until(
        secret_ref(OPERATOR_NAMESPACE, f"tenant-{claim}"),
        lambda v: "last-backup-policy" in v["data"] and prepared in v["metadata"]["annotations"],
        "has both",
        PATIENCE,
    )


def inventory(backups: Backups, bucket: str = PLAIN) -> dict[tuple[str, str], str]:
    """Every version and marker below the namespace's prefix, with what tells contents apart."""
    pages = (
        backups.store.client()
        .get_paginator("list_object_versions")
        .paginate(Bucket=bucket, Prefix=f"{backups.namespace}/")
    )
    found: dict[tuple[str, str], str] = {}
    for page in pages:
        found |= {(each["Key"], each["VersionId"]): each["ETag"] for each in page.get("Versions", ())}
        found |= {(each["Key"], each["VersionId"]): "marker" for each in page.get("DeleteMarkers", ())}
    return found


def seen(backups: Backups, bucket: str = PLAIN) -> set[str]:
    """What a reader sees there."""
    said = backups.store.client().list_objects_v2(Bucket=bucket, Prefix=f"{backups.namespace}/")
    return {each["Key"] for each in said.get("Contents", ())}


def former(claim: str) -> ObjectRef:
    """What says what is still stored."""
    return ObjectRef("v1", "ConfigMap", OPERATOR_NAMESPACE, f"former-{claim}")


def job_in_repository(backups: Backups, claim: str) -> ObjectRef:
    """Somebody at work there, who is none of the tenant's: it waits to be let go."""
    body: Manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "reader", "namespace": backups.namespace, "labels": {"odootenancy.io/repository": claim},
        },
        "spec": {
            "suspend": True,
            "template": {
                "spec": {"restartPolicy": "Never", "containers": [{"name": "reader", "image": "reader"}]}
            },
        },
    }  # fmt: skip
    backups.stage.kube.create(body)
    return ObjectRef.of(body)
