"""Backups through the running operator: real Jobs as processes, a real PostgreSQL, restic, and an S3 server."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Iterator
from itertools import count

import pytest
from tests.integration.reconcile.backup_stage import PATIENCE, RECOVERY_KEY, Backups, attach
from tests.integration.reconcile.stage import OPERATOR_NAMESPACE, Stage, Tenants, condition, secret_ref
from tests.support.operator_process import OperatorProcess
from tests.support.s3 import S3Process
from tests.support.waiting import eventually

from odoo_tenancy.api.meta import API_VERSION, Manifest
from odoo_tenancy.cluster.objects import ObjectRef


@pytest.fixture
def backups(tenants: Tenants, store: S3Process) -> Iterator[Backups]:
    made = Backups(tenants, store)
    yield made
    for live in tenants.stage.kube.list(API_VERSION, "TenantBackup", made.namespace):
        tenants.stage.kube.delete(made.ref(live["metadata"]["name"]))


def requests(operator: OperatorProcess) -> Counter[tuple[str, str]]:
    """Its requests to the API server so far, by verb and kind, but for what pools and Leases cost at rest."""
    found: Counter[tuple[str, str]] = Counter()
    for sample in operator.metric("api_requests_total"):
        verb, kind = sample.labels["verb"], sample.labels["kind"]
        if kind not in ("Lease", "HostingPool") and verb != "watch" and (verb, kind) != ("get", "Secret"):
            found[verb, kind] += int(sample.value)
    return found


def test_a_backup_is_completed_when_it_was_read_back(
    backups: Backups, stage: Stage, operator: OperatorProcess
) -> None:
    gold = backups.policy()
    claim = backups.tenant()
    attach(stage, claim, secrets.token_bytes(3000))
    said = condition(backups.tenants.live("acme"), "BackupHealthy")
    assert (said["status"], said["reason"]) == ("Unknown", "ScheduleTooRare")
    backups.tenants.until_event("acme", "ScheduleTooRare", "make it more frequent")
    backups.create("first")
    live = backups.until_phase("first", "Completed", "Failed")
    status = live["status"]
    assert status["phase"] == "Completed", status
    assert condition(live, "Ready")["status"] == "True"
    assert status["verification"]["result"] == "Passed"
    assert status["verification"]["level"] == "Consistency"
    content = backups.document(status["manifest"]["key"])
    assert hashlib.sha256(content).hexdigest() == status["manifest"]["sha256"]
    manifest = json.loads(content)
    assert (manifest["tenant"], manifest["claim"], manifest["backup"]) == ("acme", claim, "first")
    assert {each["kind"] for each in manifest["customResources"]} == {
        "OdooTenant",
        "BackupPolicy",
        "HostingPool",
    }
    assert "recovery" in manifest["secrets"]
    assert "db_password" not in manifest["odooConf"]
    assert status["snapshots"]["database"] == manifest["snapshots"]["database"]
    assert status["databaseBytes"] > 0
    assert status["uploadedBytes"] > 0
    eventually(lambda: backups.jobs("first") == [], lambda: f"all is gone but {backups.jobs('first')}")
    backups.tenants.until_condition("acme", "BackupHealthy", "True", "ScheduleTooRare")
    told = backups.tenants.live("acme")["status"]["backup"]
    assert told["recoveryPoint"] == status["recoveryPoint"]

    make_large_object(stage, claim)
    before = requests(operator)
    backups.create("second")  # the repository is there: nothing has to be prepared
    assert backups.until_phase("second", "Completed", "Failed")["status"]["phase"] == "Completed"
    eventually(lambda: backups.jobs("second") == [], lambda: f"all is gone but {backups.jobs('second')}")
    spent = requests(operator) - before
    assert sum(spent.values()) <= 25, spent
    vault = stage.kube.live(secret_ref(OPERATOR_NAMESPACE, f"tenant-{claim}"))
    assert vault["metadata"]["annotations"]["odootenancy.io/repository-prepared"]

    before_it = status
    for name in ("first", "second"):
        stage.kube.delete(backups.ref(name))
    minutes = count(11)

    def change_the_policy() -> bool:
        """One that changed is gone through anew; it may be before the operator has heard of what was deleted."""
        stage.kube.patch(gold, {"spec": {"timeout": f"{next(minutes)}m"}}, manager="gitops")
        return all(stage.kube.get(backups.ref(name)) for name in ("first", "second"))

    eventually(change_the_policy, "what is stored has its objects again", PATIENCE, pause=1.0)
    again = backups.until_phase("first", "Completed", "Failed")
    backups.until_phase("second", "Completed", "Failed")
    assert again["metadata"]["labels"]["odootenancy.io/claim"] == claim
    same = ("manifest", "snapshots", "recoveryPoint", "databaseBytes", "filestoreBytes", "uploadedBytes")
    assert {name: again["status"][name] for name in same} == {name: before_it[name] for name in same}
    assert condition(again, "Ready")["reason"] == "FoundInStore"
    assert "result" not in again["status"].get("verification", {})
    backups.tenants.until_condition("acme", "BackupHealthy", "False", "NotVerified")
    assert backups.jobs("first") == []


def make_large_object(stage: Stage, claim: str) -> None:
    """As a module may; Odoo itself makes none."""
    made = f"SET ROLE t_{claim}; SELECT lo_from_bytea(0, 'large')"
    stage.query(made, database=f"t_{claim}")


def test_what_odoo_lost_makes_a_failed_backup_and_never_a_completed_one(
    backups: Backups, stage: Stage
) -> None:
    backups.policy()
    claim = backups.tenant()
    attach(stage, claim, secrets.token_bytes(3000), written=False)
    backups.create("broken")
    live = backups.until_phase("broken", "Completed", "Failed")
    assert live["status"]["phase"] == "Failed"
    assert "verification" not in live["status"] or live["status"]["verification"].get("result") != "Passed"
    ready = condition(live, "Ready")
    assert ready["status"] == "False"
    assert ready["reason"] not in ("JobFailed", "Completed")  # the Job's own reason
    backups.tenants.until_condition("acme", "BackupHealthy", "False", "BackupFailed")

    def left() -> set[str]:
        return {live["kind"] for live in backups.jobs("broken")}

    eventually(lambda: "Secret" not in left(), lambda: f"its credentials are gone, not {left()}")
    assert "Job" in left()  # with its log


def test_one_at_a_time_and_a_job_that_vanishes_is_no_backup(backups: Backups, stage: Stage) -> None:
    backups.policy()
    backups.tenant()
    stage.kubelet.slow.add("acme")
    try:
        backups.create("first")
        backups.until_says("first", "Preparing")
        backups.create("second")
        waiting = backups.until_says("second", "AnotherBackupRuns")
        assert waiting["status"]["phase"] == "Pending"
        stage.kubelet.slow.discard("acme")
        backups.until_says("first", "Storing")
        for live in backups.jobs("first"):
            if live["kind"] == "Job":
                stage.kube.delete(ObjectRef.of(live))
    finally:
        stage.kubelet.slow.discard("acme")
    done = backups.until_phase("first", "Failed", "Completed")
    assert (done["status"]["phase"], condition(done, "Ready")["reason"]) == ("Failed", "JobVanished")
    assert backups.until_phase("second", "Completed", "Failed")["status"]["phase"] == "Completed"


def test_a_policy_without_its_secrets_says_so_and_its_backups_wait(backups: Backups, stage: Stage) -> None:
    ref = backups.policy(encryption={"recoveryKeys": [{"id": "short", "secretRef": {"name": "short"}}]})
    stage.kube.until(ref, lambda p: condition(p, "Ready").get("reason") == "SecretMissing", "says so")
    backups.tenant()
    backups.create("first")
    backups.until_says("first", "SecretMissing")
    stage.secret(backups.namespace, "short", {"key": "too short"})
    stage.kube.until(
        ref, lambda p: condition(p, "Ready").get("reason") == "RecoveryKeyTooShort", "says so", PATIENCE
    )
    stage.secret(backups.namespace, "short", {"key": RECOVERY_KEY})
    stage.kube.until(ref, lambda p: condition(p, "Ready").get("status") == "True", "is Ready", PATIENCE)
    assert backups.until_phase("first", "Completed", "Failed")["status"]["phase"] == "Completed"


def test_each_turn_of_a_schedule_makes_one_backup(
    backups: Backups, stage: Stage, operator: OperatorProcess
) -> None:
    ref = backups.policy(schedule="* * * * *", jitter="0s")
    claim = backups.tenant()
    attach(stage, claim, b"a file")

    def made() -> list[Manifest]:
        return stage.kube.list(API_VERSION, "TenantBackup", backups.namespace)

    eventually(lambda: len(made()) >= 2, lambda: f"two turns came, not {len(made())}", PATIENCE)
    turns = [live["metadata"]["annotations"]["odootenancy.io/scheduled-for"] for live in made()]
    assert len(set(turns)) == len(turns)
    assert all(live["spec"]["reason"] == "Scheduled" for live in made())
    policy = stage.kube.live(ref)
    assert policy["status"]["tenants"] == 1
    assert policy["status"]["lastScheduleTime"] <= policy["status"]["nextScheduleTime"]
    stage.kube.patch(ref, {"spec": {"suspend": True}}, manager="gitops")
    stage.kube.until(ref, lambda p: "nextScheduleTime" not in p["status"], "is suspended")


def test_a_bucket_that_can_not_keep_the_promise_is_refused(backups: Backups, stage: Stage) -> None:
    ref = backups.policy(immutability={"mode": "Governance", "period": "30d"})
    live = stage.kube.until(
        ref, lambda p: condition(p, "Ready").get("reason") == "VersioningMissing", "says so", PATIENCE
    )
    assert "put-bucket-versioning" in condition(live, "StoreReady")["message"]
    assert condition(live, "Stalled")["status"] == "True"
    stage.kube.patch(ref, {"spec": {"immutability": None}}, manager="gitops")
    stage.kube.until(ref, lambda p: condition(p, "Ready").get("status") == "True", "is Ready", PATIENCE)
