"""Who waits for whom: two policies that back up one tenant, and two tenants of a pool that has room for one backup."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise

import pytest
from tests.integration.reconcile.backup_stage import Backups, attach
from tests.integration.reconcile.stage import Stage, Tenants, condition
from tests.support.s3 import S3Process
from tests.support.waiting import eventually

from odoo_tenancy.api.meta import API_VERSION, Manifest

POOL = "narrow"
HELD = "held"
"""The tenant whose pods don't start as long as the test says so."""


@pytest.fixture
def backups(stage: Stage, tenants: Tenants, store: S3Process) -> Iterator[Backups]:
    stage.pool_secrets(POOL)
    stage.create_pool(POOL, backups={"maxConcurrent": 1})
    made = Backups(tenants, store)
    yield made
    stage.kubelet.slow.discard(HELD)
    for live in stage.kube.list(API_VERSION, "TenantBackup", made.namespace):
        stage.kube.delete(made.ref(live["metadata"]["name"]))
    tenants.clear()
    stage.drop_pools([POOL])


def test_one_after_the_other_and_each_says_what_it_waits_for(backups: Backups, stage: Stage) -> None:
    for policy in ("gold", "silver"):
        backups.policy(policy, store={"s3": {"prefix": f"{backups.namespace}/{policy}"}})
    claims = {name: backups.tenant(name, poolRef={"name": POOL}) for name in (HELD, "other")}
    for claim in claims.values():
        attach(stage, claim, b"a file")

    stage.kubelet.slow.add(HELD)
    backups.create("held-gold", HELD, policyRef={"name": "gold"})
    backups.until_says("held-gold", "Preparing")
    backups.create("held-silver", HELD, policyRef={"name": "silver"})
    backups.create("other-gold", "other", policyRef={"name": "gold"})
    of_one_tenant = backups.until_says("held-silver", "AnotherBackupRuns")
    assert "held-gold" in condition(of_one_tenant, "Ready")["message"]
    of_one_pool = backups.until_says("other-gold", "PoolBusy")
    said = condition(of_one_pool, "Ready")["message"]
    assert POOL in said
    assert "spec.backups.maxConcurrent 1" in said
    assert {live["status"]["phase"] for live in (of_one_tenant, of_one_pool)} == {"Pending"}
    assert backups.jobs("held-silver") == backups.jobs("other-gold") == []

    stage.kubelet.slow.discard(HELD)
    done = [backups.until_completed(name) for name in ("held-gold", "held-silver", "other-gold")]
    one_by_one = sorted(done, key=lambda live: str(live["status"]["startTime"]))
    for first, second in pairwise(one_by_one):
        assert _moment(first, "completionTime") <= _moment(second, "startTime")
    keys = {live["metadata"]["name"]: live["status"]["manifest"]["key"] for live in done}
    assert keys["held-gold"].startswith(f"{backups.namespace}/gold/{claims[HELD]}/")
    assert keys["held-silver"].startswith(f"{backups.namespace}/silver/{claims[HELD]}/")
    eventually(lambda: not any(map(backups.jobs, keys)), "nothing of them is left")


def _moment(live: Manifest, field: str) -> datetime:
    return datetime.fromisoformat(live["status"][field])
