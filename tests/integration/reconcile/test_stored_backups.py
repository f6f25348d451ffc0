"""``deletion.policy: Delete`` and what is stored: it goes before anything else does, as far as locks let it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from tests.integration.reconcile.backup_stage import PATIENCE, Backups, attach
from tests.integration.reconcile.stage import Stage, Tenants, condition, namespace_ref
from tests.integration.reconcile.stored_stage import (
    PARTS,
    former,
    inventory,
    job_in_repository,
    put_repository,
    seen,
    stored_tenant,
    until_kept,
)
from tests.support.s3 import LOCKED, S3Process, running_minio

from odoo_tenancy.api.meta import API_VERSION

NEIGHBOUR = "0" * 31 + "1"


@pytest.fixture
def backups(tenants: Tenants, store: S3Process) -> Iterator[Backups]:
    made = Backups(tenants, store)
    yield made
    for live in tenants.stage.kube.list(API_VERSION, "TenantBackup", made.namespace):
        tenants.stage.kube.delete(made.ref(live["metadata"]["name"]))


@pytest.fixture(scope="module")
def minio() -> Iterator[S3Process]:
    """With lifecycle rules, without which a policy of locks is refused."""
    with running_minio() as server:
        rule = {
            "ID": "former", "Status": "Enabled", "Filter": {"Prefix": ""},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1}, "Expiration": {"ExpiredObjectDeleteMarker": True},
        }  # fmt: skip
        server.client().put_bucket_lifecycle_configuration(
            Bucket=LOCKED, LifecycleConfiguration={"Rules": [rule]}
        )
        yield server


def test_it_waits_for_holds_jobs_and_the_store_and_then_nothing_remains(
    backups: Backups, stage: Stage
) -> None:
    tenants, before, beside = backups.tenants, stage.inventory(), stage.of_the_operators_namespace()
    put_repository(backups, NEIGHBOUR, "of-a-neighbour", "neighbour")
    backups.policy()
    theirs = inventory(backups)
    claim = backups.tenant()
    attach(stage, claim, b"a file")
    backups.create("first", hold=True)
    stage.kube.until(
        backups.ref("first"),
        lambda live: condition(live, "Held").get("status") == "True",
        "is stored and held",
        PATIENCE,
    )
    until_kept(backups, claim)
    whole = inventory(backups)
    assert len(whole) > len(theirs) + len(PARTS)

    stage.kube.delete(tenants.ref("acme"))
    said = tenants.until_condition("acme", "Ready", "False", "BackupsHeld", PATIENCE)["message"]
    assert "first" in said
    assert "spec.hold" in said
    assert "odootenancy.io/keep-stored-backups=true" in said
    job = job_in_repository(backups, claim)
    stage.kube.patch(backups.ref("first"), {"spec": {"hold": False}}, manager="gitops")
    stage.kube.until(
        backups.ref("first"),
        lambda live: condition(live, "Held").get("status") == "False",
        "is held no more",
        PATIENCE,
    )
    said = tenants.until_condition("acme", "Ready", "False", "RepositoryInUse", PATIENCE)["message"]
    assert "reader" in said
    assert {key: tag for key, tag in inventory(backups).items() if ".holds/" not in key[0]} == {
        key: tag for key, tag in whole.items() if ".holds/" not in key[0]
    }
    backups.store.stop()
    try:
        stage.kube.delete(job)
        said = tenants.until_condition("acme", "Ready", "False", "StoreUnreachable", PATIENCE)["message"]
        assert "nothing else is deleted" in said
        assert f"t_{claim}" in stage.databases()
    finally:
        backups.store.start()
    stage.kube.until_gone(tenants.ref("acme"), PATIENCE)
    assert inventory(backups) == theirs, "nothing of it, and everything of the neighbour's"
    assert stage.inventory() == before
    assert stage.of_the_operators_namespace() == beside
    left = stage.kube.list(API_VERSION, "TenantBackup", backups.namespace)
    assert [live["metadata"]["name"] for live in left if live["metadata"]["name"] == "first"] == []
    tenants.until_event("acme", "BackupsErased", claim)


def test_of_what_is_locked_it_is_said_how_long_it_remains(
    tenants: Tenants, stage: Stage, minio: S3Process
) -> None:
    """Also where a whole namespace goes: policy and Secrets first, and nothing can be said beside the tenant."""
    backups, before = Backups(tenants, minio), stage.inventory()
    lock = {"mode": "Governance", "period": "1d"}
    backups.policy(store={"s3": {"bucket": LOCKED}}, immutability=lock)
    claim = backups.tenant()
    attach(stage, claim, b"a file")
    backups.create("stored")
    live = backups.until_phase("stored", "Completed", "Failed")
    assert live["status"]["phase"] == "Completed", live["status"]
    until_kept(backups, claim)
    whole = {key: tag for key, tag in inventory(backups, LOCKED).items() if tag != "marker"}
    stage.kube.delete(namespace_ref(backups.namespace))
    stage.kube.until_gone(tenants.ref("acme"), PATIENCE)
    stage.kube.until_gone(namespace_ref(backups.namespace))
    tenants.made.clear()
    assert stage.inventory() == before
    after = inventory(backups, LOCKED)
    assert {key: tag for key, tag in after.items() if tag != "marker"} == whole
    assert seen(backups, LOCKED) == set(), "and nobody takes it for a backup"
    data = stage.kube.live(former(claim))["data"]
    assert (data["claim"], data["tenant"]) == (claim, f"{backups.namespace}/acme")
    (words,) = (value for key, value in data.items() if key.startswith("remains-"))
    client = minio.client()
    last = max(
        client.get_object_retention(Bucket=LOCKED, Key=key, VersionId=version)["Retention"]["RetainUntilDate"]
        for key, version in whole
    )
    assert last > datetime.now(UTC)
    assert f"{len(whole)} object versions" in words
    assert f"the last of them until {last:%Y-%m-%dT%H:%M:%SZ}" in words
    assert "hidden for 1 days" in words
    assert "recovery keys" in words
    assert minio.root.secret_access_key not in str(data)
    stage.kube.delete(former(claim))


def test_what_nobody_can_reach_may_be_left_as_it_is(backups: Backups, stage: Stage) -> None:
    tenants, before = backups.tenants, stage.inventory()
    claim = stored_tenant(backups, "left")
    whole = inventory(backups)
    backups.store.stop()
    try:
        stage.kube.delete(tenants.ref("acme"))
        said = tenants.until_condition("acme", "Ready", "False", "StoreUnreachable", PATIENCE)["message"]
        assert f"kubectl annotate otn acme -n {backups.namespace}" in said
        tenants.keep_stored_backups("acme")
        stage.kube.until_gone(tenants.ref("acme"), PATIENCE)
    finally:
        backups.store.start()
    tenants.until_event("acme", "BackupsKept", claim, "recovery key")
    assert inventory(backups) == whole
    assert stage.inventory() == before
    (words,) = (v for k, v in stage.kube.live(former(claim))["data"].items() if k.startswith("remains-"))
    assert "as the tenant's annotation asked" in words
    assert backups.until_phase("left", "Completed"), "its object says what is stored"
    stage.kube.delete(former(claim))
