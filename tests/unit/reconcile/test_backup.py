"""What is remembered of backups, what their Jobs' last words mean, and when the promise of a recovery point holds."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import pytest
from tests.unit.reconcile.objects import pool as pool_state

from odoo_tenancy.api.backup import TenantBackup
from odoo_tenancy.api.backup_work import BackupOutcome
from odoo_tenancy.api.errors import Refused, Waiting
from odoo_tenancy.api.meta import Key, Manifest
from odoo_tenancy.api.policy import BackupPolicy
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.api.verify_work import VerifyOutcome, VerifyWork
from odoo_tenancy.cluster.children import Child
from odoo_tenancy.cluster.objects import ObjectRef, Owner
from odoo_tenancy.cluster.readiness import JobRun
from odoo_tenancy.cluster.status import merged
from odoo_tenancy.desired import labels, names
from odoo_tenancy.reconcile import backup_begin, backup_health, backup_run
from odoo_tenancy.reconcile.active_backup import ActiveBackup
from odoo_tenancy.reconcile.backup_memory import (
    SCHEDULED_FOR,
    Backups,
    Policies,
    PolicyState,
    StoreAccess,
)
from odoo_tenancy.reconcile.backup_run import JobEnded
from odoo_tenancy.reconcile.backup_work import BackupPlan
from odoo_tenancy.reconcile.report import Finding, Report
from odoo_tenancy.reconcile.restore_memory import Restores
from odoo_tenancy.reconcile.tenant_backup import STORING, BackupReconciler
from odoo_tenancy.services.object_store import session_policy

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
TENANT = Key("OdooTenant", "tenants", "acme")
JOB = Child(
    ObjectRef("batch/v1", "Job", "odoo-acme", "odoo-backup-1"),
    "uid", Owner("TenantBackup", "tenants", "first", "1"), 1, None, False, JobRun("Succeeded", 0, 0), False, False,
)  # fmt: skip


def text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def backup(
    name: str, phase: str = "", *, uid: str = "", version: int = 1, slot: str = "", **status: Any
) -> Manifest:
    metadata = {
        "name": name,
        "namespace": "tenants",
        "uid": uid or name,
        "resourceVersion": str(version),
        "creationTimestamp": text(NOW - 9 * HOUR),
        "annotations": {SCHEDULED_FOR: slot} if slot else {},
    }
    said = {"phase": phase, **status} if phase else {}
    return {"metadata": metadata, "spec": {"tenantRef": {"name": "acme"}}, "status": said}


def good(name: str, age: timedelta, **over: Any) -> Manifest:
    """Completed, and read back."""
    point = text(NOW - age)
    said = {
        "verification": {"result": "Passed", "checkedAt": point},
        "manifest": {"key": f"{'0' * 32}/manifests/{name}.json", "sha256": "a" * 64, "bucket": "backups"},
        **over,
    }
    return backup(name, "Completed", recoveryPoint=point, completionTime=point, **said)


def bad(name: str, age: timedelta, reason: str, *, checked: bool = False) -> Manifest:
    moment = text(NOW - age)
    said: dict[str, Any] = {"completionTime": moment, "conditions": [{"type": "Ready", "reason": reason}]}
    if checked:
        said["verification"] = {"result": "Failed", "checkedAt": moment}
    return backup(name, "Failed", **said)


def rotten(name: str, age: timedelta) -> Manifest:
    """Completed, and not good any more when it was looked at again."""
    body = good(name, age)
    body["status"]["verification"]["result"] = "Failed"
    return body


def key(name: str) -> Key:
    return Key("TenantBackup", "tenants", name)


def test_an_older_event_than_what_is_known_says_nothing():
    backups = Backups()
    assert backups.saw("ADDED", backup("first", version=5)) == key("first")
    assert backups.saw("MODIFIED", backup("first", "Running", version=7)) == key("first")
    assert backups.saw("MODIFIED", backup("first", version=6)) is None
    assert backups.running(but=key("other")) == ((key("first"), ""),)
    assert backups.saw("DELETED", backup("first", version=4, uid="a former one")) is None
    assert backups.get(key("first")) is not None


def test_what_is_finished_asks_for_no_work_and_runs_no_longer():
    backups = Backups()
    backups.saw("ADDED", backup("first", "Running"))
    assert backups.saw("MODIFIED", good("first", HOUR, version=2)) is None
    assert backups.running(but=key("other")) == ()
    assert backups.unfinished() == ()


def test_what_a_list_lacks_is_gone():
    backups = Backups()
    for name in ("first", "second"):
        backups.saw("ADDED", backup(name, "Running"))
    assert backups.listed(frozenset({"second"})) == (key("first"),)
    assert [record.key for record in backups.of_tenant(TENANT)] == [key("second")]
    backups.listed(frozenset())
    assert len(backups) == 0


def test_the_last_turn_is_the_latest_that_any_backup_was_made_for():
    backups = Backups()
    assert backups.last_slot(TENANT) is None
    for name, slot in (
        ("a", "2026-11-23T08:00:00+00:00"),
        ("b", "2026-11-23T04:00:00+00:00"),
        ("c", "nonsense"),
    ):
        backups.saw("ADDED", backup(name, slot=slot))
    assert backups.last_slot(TENANT) == NOW - 4 * HOUR


def test_names_of_scheduled_backups_fit_and_differ():
    long = "a" * 50
    other = "a" * 49 + "b"
    made = {names.scheduled_backup(tenant, "202611230400") for tenant in ("acme", long, other)}
    assert len(made) == 3
    assert max(map(len, made)) <= 50


@pytest.mark.parametrize(
    ("log", "percent"),
    [
        ('{"step": "database", "doneBytes": 50, "totalBytes": 200}\nrestic says something\n', 25),
        (
            '{"step": "database", "doneBytes": 1}\n{"step": "filestore", "doneBytes": 9, "totalBytes": 0}',
            None,
        ),
        ('{"step": "database", "doneBytes": 500, "totalBytes": 200}', 100),
    ],
)
def test_progress_is_the_last_line_that_is_one(log, percent):
    progress = backup_run.last_progress(log)
    assert progress is not None
    assert progress.percent == percent


def test_a_log_without_progress_says_none():
    assert backup_run.last_progress("nothing\n{}\n") is None


@dataclass
class FakeRun:
    """A Job that runs, as the API server would show it: a pod whose log grows by a line each ten seconds. By its clock an
    hour takes no time."""

    seconds: float = 0.0
    names: tuple[str, ...] = ("first",)
    dead: dict[str, int] = field(default_factory=dict)
    """Pods whose log grows no more, and how many lines it has."""
    status: Manifest = field(default_factory=dict)
    reads: int = 0
    told: list[tuple[float, int]] = field(default_factory=list)
    """When something was written, and how many bytes it said were done."""

    async def list(self, *_: Any, **__: Any) -> list[Manifest]:
        return [
            {"metadata": {"name": name, "namespace": "n"}, "status": {"phase": phase}}
            for name in self.names
            for phase in ["Failed" if name in self.dead else "Running"]
        ]

    async def pod_log(self, namespace: str, pod: str, *, tail_lines: int) -> str:
        self.reads += 1
        lines = self.dead.get(pod, int(self.seconds // 10))
        return f'{{"step": "database", "doneBytes": {lines}, "totalBytes": 360}}\n'

    async def patch_status(self, ref: ObjectRef, difference: Manifest) -> Manifest:
        self.status = merged(self.status, difference)
        self.told.append((self.seconds, self.status["progress"]["doneBytes"]))
        body = backup("first", "Running", version=len(self.told) + 1, **self.status)
        return {"apiVersion": "odootenancy.io/v1alpha1", "kind": "TenantBackup", **body}

    async def goes_on(self, active: ActiveBackup, until: float) -> None:
        """Looked at as often as it asks for, and at each of these seconds by whoever else woke it."""
        world = SimpleNamespace(
            seconds=lambda: self.seconds, now=lambda: NOW, cluster=self, backups=Backups()
        )
        while self.seconds < until:
            said = await backup_run._goes_on(cast(Any, world), active, STORING, JOB.ref)
            assert said.retry_after is not None
            self.seconds += min(said.retry_after, 4.0)


def running() -> ActiveBackup:
    return ActiveBackup.of(
        {"apiVersion": "odootenancy.io/v1alpha1", "kind": "TenantBackup", **backup("first", "Running")}
    )


async def test_progress_is_told_a_few_times_a_minute_for_as_long_as_it_runs() -> None:
    run = FakeRun()
    await run.goes_on(running(), 3600.0)
    moments = [moment for moment, _ in run.told]
    pauses = [later - moment for moment, later in pairwise(moments)]
    assert 10 <= min(pauses) <= max(pauses) <= 20
    assert run.told[-1][1] >= 356
    assert run.reads <= 3600 / 15 + 1


async def test_progress_is_that_of_the_pod_that_came_after_one_that_died() -> None:
    run, active = FakeRun(), running()
    await run.goes_on(active, 60.0)
    run.names, run.dead = ("first", "second"), {"first": run.told[-1][1]}
    await run.goes_on(active, 180.0)
    assert run.told[-1][1] >= 15


def pod(code: int, message: str) -> Manifest:
    ended = {"exitCode": code, "message": message}
    metadata = {"name": "p", "namespace": "n", "creationTimestamp": text(NOW)}
    return {
        "metadata": metadata,
        "status": {"containerStatuses": [{"name": "c", "state": {"terminated": ended}}]},
    }


class FakeCluster:
    """Only lists pods: what the API server would say of them."""

    def __init__(self, *pods: Manifest) -> None:
        self.pods = list(pods)

    async def list(self, *_: Any, **__: Any) -> list[Manifest]:
        return self.pods


async def outcome(job: Child, kind: Any, *pods: Manifest) -> Any:
    return await backup_run.outcome(cast(Any, SimpleNamespace(cluster=FakeCluster(*pods))), job, kind)


def job(result: str, reason: str = "") -> Child:
    run = JobRun(cast(Any, result), 0, 1, reason)
    return Child(JOB.ref, JOB.uid, JOB.owner, 1, None, False, run, False, False)


DONE = {"reason": "Done", "message": "stored"}


async def test_of_two_pods_the_one_that_ended_well_counts():
    left = await outcome(job("Succeeded"), BackupOutcome, pod(1, '{"reason": "X"}'), pod(0, json.dumps(DONE)))
    assert left.reason == "Done"


@pytest.mark.parametrize(
    ("run", "pods", "reason"),
    [
        (job("Succeeded"), [], "OutcomeMissing"),
        (job("Succeeded"), [pod(0, "no JSON")], "OutcomeMissing"),
        (job("Succeeded"), [pod(3, json.dumps(DONE))], "OutcomeMissing"),
        (
            job("Failed", "BackoffLimitExceeded"),
            [pod(1, json.dumps({**DONE, "reason": "StoreFull"}))],
            "StoreFull",
        ),
        (job("Failed", "BackoffLimitExceeded"), [pod(137, "killed")], "JobFailed"),
        (
            job("Failed", "DeadlineExceeded"),
            [pod(143, json.dumps({**DONE, "reason": "Interrupted"}))],
            "Timeout",
        ),
        (job("Failed", "BackoffLimitExceeded"), [], "JobFailed"),
    ],
)
async def test_what_did_not_end_well_is_no_backup(run, pods, reason):
    with pytest.raises(JobEnded) as ended:
        await outcome(run, BackupOutcome, *pods)
    assert ended.value.reason == reason


async def test_a_failed_verification_is_told_from_one_that_could_not_be_made():
    said = {"reason": "FileDamaged", "message": "a file is not what it was", "level": "Consistency"}
    for result, told in (("Failed", True), ("Error", False)):
        with pytest.raises(JobEnded) as ended:
            await outcome(job("Failed", "X"), VerifyOutcome, pod(1, json.dumps({**said, "result": result})))
        assert (ended.value.verification is not None) == told
        with pytest.raises(JobEnded):
            backup_run.check_verified(VerifyOutcome.model_validate({**said, "result": result}), JOB)
    backup_run.check_verified(VerifyOutcome.model_validate({**said, "result": "Passed"}), JOB)


WHOLE = {
    **DONE,
    "snapshots": {"database": "1", "filestore": ["2"]},
    "recoveryPoint": text(NOW),
    "manifestKey": "eu/manifests/first.json",
    "manifestSha256": "a" * 64,
}


@pytest.mark.parametrize(
    "lacking", [{"snapshots": None}, {"recoveryPoint": None}, {"manifestKey": ""}, {"manifestSha256": "abc"}]
)
def test_a_backup_that_does_not_say_what_it_stored_does_not_count(lacking):
    backup_run.check_stored(BackupOutcome.model_validate(WHOLE), JOB)
    with pytest.raises(JobEnded):
        backup_run.check_stored(BackupOutcome.model_validate({**WHOLE, **lacking}), JOB)


def tenant(**spec: Any) -> OdooTenant:
    least = {
        "tenancy": "Shared",
        "poolRef": {"name": "main"},
        "odoo": {"image": "odoo:19.0"},
        "routing": {"hosts": ["acme.example.com"]},
        "objectives": {"rpo": "4h"},
        "backup": {"policyRef": {"name": "gold"}},
    }
    return OdooTenant.parse(
        {
            "apiVersion": "odootenancy.io/v1alpha1",
            "kind": "OdooTenant",
            "metadata": {"name": "acme", "namespace": "tenants", "creationTimestamp": text(NOW - 99 * HOUR)},
            "spec": {**least, **spec},
            "status": {"claim": "0" * 32},
        }
    )


def policy(age: timedelta = 99 * HOUR, **spec: Any) -> PolicyState:
    s3 = {"endpoint": "https://s3.example.com", "bucket": "backups", "credentialsSecretRef": {"name": "s3"}}
    least = {
        "schedule": "0 */2 * * *",
        "store": {"s3": s3},
        "encryption": {"recoveryKeys": [{"id": "a", "secretRef": {"name": "a"}}]},
    }
    metadata = {"name": "gold", "namespace": "tenants", "creationTimestamp": text(NOW - age)}
    return PolicyState(
        BackupPolicy.parse({"kind": "BackupPolicy", "metadata": metadata, "spec": {**least, **spec}})
    )


def told(state: PolicyState | None, *live: Manifest, **spec: Any) -> Finding:
    policies, backups, report = Policies(), Backups(), Report()
    if state is not None:
        policies.remember(state)
    for each in live:
        backups.saw("ADDED", each)
    world = SimpleNamespace(policies=policies, backups=backups, now=lambda: NOW)
    backup_health.tell(cast(Any, world), tenant(**spec), report)
    return report.findings["BackupHealthy"]


FORMER = f"eu/{'f' * 32}/manifests/a.json"
"""Of a tenant that had the same name."""
BROKEN = PolicyState(policy().policy, problem=Waiting("SecretMissing", "Secret s3 does not exist"))


@pytest.mark.parametrize(
    ("state", "live", "expected"),
    [
        (None, [good("a", HOUR)], ("False", "PolicyNotFound")),
        (policy(), [good("a", HOUR)], ("True", "Verified")),
        (policy(), [good("a", 5 * HOUR)], ("False", "RecoveryPointTooOld")),
        (policy(), [good("a", 5 * HOUR), good("b", HOUR)], ("True", "Verified")),
        (policy(), [good("a", 2 * HOUR), bad("b", HOUR, "StoreFull")], ("True", "LastBackupFailed")),
        (policy(), [good("a", 9 * HOUR), bad("b", HOUR, "StoreFull")], ("False", "RecoveryPointTooOld")),
        (policy(), [good("a", 2 * HOUR), bad("b", HOUR, "Damaged", checked=True)], ("False", "NotVerified")),
        (policy(), [bad("b", HOUR, "StoreFull")], ("False", "BackupFailed")),
        (policy(), [bad("b", HOUR, "Damaged", checked=True)], ("False", "NotVerified")),
        (policy(), [backup("b", "Completed", recoveryPoint=text(NOW))], ("False", "NotVerified")),
        (policy(), [good("a", HOUR, manifest={"key": FORMER})], ("False", "RecoveryPointTooOld")),
        (policy(), [good("a", HOUR), rotten("b", 90 * HOUR)], ("False", "NotVerified")),
        (policy(), [rotten("b", HOUR)], ("False", "NotVerified")),
        (policy(), [good("a", -HOUR)], ("False", "RecoveryPointAhead")),
        (policy(), [good("a", 9 * HOUR), good("b", -HOUR)], ("False", "RecoveryPointAhead")),
        (policy(), [good("a", HOUR), good("b", -HOUR)], ("True", "Verified")),
        (policy(), [], ("False", "RecoveryPointTooOld")),
        (policy(HOUR), [], ("Unknown", "NoBackupYet")),
        (policy(HOUR, schedule="@daily"), [], ("Unknown", "ScheduleTooRare")),
        (policy(HOUR, schedule="@daily", suspend=True), [], ("Unknown", "NoBackupYet")),
        (BROKEN, [], ("False", "PolicyNotReady")),
        (BROKEN, [good("a", HOUR)], ("True", "Verified")),
        (policy(schedule="@daily"), [good("a", HOUR)], ("True", "ScheduleTooRare")),
        (policy(schedule="@daily", suspend=True), [good("a", HOUR)], ("True", "Verified")),
        (policy(schedule="0 0 31 2 *"), [good("a", HOUR)], ("True", "Verified")),
    ],
)  # fmt: skip
def test_the_promise_holds_while_a_verified_recovery_point_is_young_enough(state, live, expected):
    found = told(state, *live)
    assert (found.status, found.reason) == expected


@pytest.mark.parametrize(("schedule", "is_said"), [("@daily", True), ("0 */2 * * *", False)])
def test_where_a_point_is_too_old_by_the_schedule_alone_that_is_said(schedule: str, is_said: bool) -> None:
    found = told(policy(schedule=schedule), good("a", 5 * HOUR))
    assert found.reason == "RecoveryPointTooOld"
    assert ("make it more frequent" in found.message) == is_said


def test_a_tenant_without_a_policy_is_told_so():
    found = told(policy(), backup=None)
    assert (found.status, found.reason) == ("Unknown", "NotProvided")
    assert "Retain" in found.message


@pytest.mark.parametrize(
    ("prepared", "locked", "conditions", "expected"),
    [
        (False, False, [], True),
        (True, False, [], False),
        (True, True, [], True),  # whoever died with it would keep this backup waiting
        (
            True,
            True,
            [{"type": "Stored", "status": "False", "reason": "Storing", "message": ""}],
            False,
        ),  # it may be its own
    ],
)
async def test_a_repository_is_made_ready_anew_where_a_lock_stands_in_it(
    monkeypatch: pytest.MonkeyPatch, prepared: bool, locked: bool, conditions: list[Any], expected: bool
) -> None:
    async def is_locked(*_: Any) -> bool:
        return locked

    monkeypatch.setattr(backup_begin, "prepared", lambda *_: prepared)
    monkeypatch.setattr(backup_begin, "is_locked", is_locked)
    body = backup("first", "Running", conditions=conditions)
    active = ActiveBackup.of({"apiVersion": "odootenancy.io/v1alpha1", "kind": "TenantBackup", **body})
    reconciler, nothing = BackupReconciler(cast(Any, None)), cast(Any, None)
    assert await reconciler._needs_preparing(active, nothing) == expected


async def test_no_lock_goes_while_a_maintenance_ends() -> None:
    def pod(name: str, component: str, phase: str) -> Manifest:
        return {
            "metadata": {"name": name, "labels": {labels.COMPONENT: component}},
            "status": {"phase": phase},
        }

    async def asked(*pods: Manifest) -> list[str]:
        plan = SimpleNamespace(context=SimpleNamespace(claim="0" * 32))
        world = SimpleNamespace(cluster=FakeCluster(*pods))
        return await backup_begin.pods_at_work(cast(Any, world), cast(Any, plan))

    living, dead = pod("a", "restore", "Running"), pod("b", "maintain", "Failed")
    assert await asked(living, dead) == ["a"]
    with pytest.raises(Waiting) as waits:
        await asked(living, pod("b", "maintain", "Running"))
    assert waits.value.reason == "RepositoryMaintained"


async def test_one_that_runs_is_given_up_where_what_it_was_begun_with_stays_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only an operator that has started anew asks for it; whatever comes back in time lets it go on."""
    seconds, there = 0.0, False

    async def plan_of(*_: Any) -> str:
        if not there:
            raise Refused("PolicyNotFound", "There is no BackupPolicy tenants/gold: create it.")
        return "plan"

    monkeypatch.setattr(backup_begin, "plan_of", plan_of)
    reconciler = BackupReconciler(cast(Any, SimpleNamespace(seconds=lambda: seconds)))
    active = ActiveBackup.of(
        {"apiVersion": "odootenancy.io/v1alpha1", "kind": "TenantBackup", **backup("first", "Running")}
    )
    for seconds, there in ((0.0, False), (3600.0, False), (3601.0, True), (9000.0, False)):  # noqa: B007
        if there:
            assert cast(Any, await reconciler._plan(active)) == "plan"
            continue
        with pytest.raises(Refused):
            await reconciler._plan(active)
    seconds = 9000.0 + 3601
    with pytest.raises(JobEnded) as ended:
        await reconciler._plan(active)
    assert ended.value.reason == "PolicyNotFound"
    assert "create it" in str(ended.value)


@pytest.mark.parametrize(("but_ended", "gone"), [(True, ["Running"]), (False, ["Running", "Failed"])])
async def test_of_a_backup_that_failed_nothing_runs_any_more(but_ended: bool, gone: list[str]) -> None:
    """The others' logs stay for people."""
    deleted = list[str]()

    async def delete(ref: ObjectRef, uid: str) -> None:
        deleted.append(uid)

    jobs = [replace(job(outcome), uid=outcome) for outcome in ("Running", "Failed")]
    children = SimpleNamespace(of=lambda _: jobs, pruned=lambda _: None)
    world = SimpleNamespace(children=children, cluster=SimpleNamespace(delete=delete))
    await backup_run.clear_all_away(cast(Any, world), JOB.owner, but_ended=but_ended)
    assert deleted == gone


@pytest.mark.parametrize(
    ("hold", "held", "due"),
    [
        (True, None, True),
        (True, "False", True),
        (True, "True", False),
        (False, "True", True),
        (False, None, False),
    ],
)
def test_a_hold_is_due_until_the_store_knows_of_it(hold: bool, held: str | None, due: bool) -> None:
    body = good("first", HOUR, manifest={"key": f"eu/{'0' * 32}/manifests/first.json", "sha256": "a" * 64})
    body["spec"]["hold"] = hold
    if held is not None:
        body["status"]["conditions"] = [{"type": "Held", "status": held, "reason": "Held"}]
    backups = Backups()
    assert (backups.saw("ADDED", body) is not None) is due
    record = backups.get(key("first"))
    assert record is not None
    assert record.hold_due is due


def test_what_stored_nothing_is_not_held_in_the_store() -> None:
    body = bad("first", HOUR, "StoreFull")
    body["spec"]["hold"] = True
    assert Backups().saw("ADDED", body) is None


def test_what_was_proven_is_written_where_no_backup_can_write() -> None:
    state, claim = policy(), "3f9c2a" + "0" * 26
    context = Mock(claim=claim)
    context.credentials.repository_password = "secret"
    stored = TenantBackup.parse({"kind": "TenantBackup", **backup("first")})
    plan = BackupPlan(stored, context, state, StoreAccess("id", "key", None, ()))
    work = VerifyWork.model_validate_json(plan.verify("key", "a" * 64, {}).work)
    granted = json.loads(session_policy("backups", claim, "Backup"))
    written = [each["Resource"] for each in granted["Statement"] if "s3:PutObject" in each["Action"]]
    assert written == [[f"arn:aws:s3:::backups/{claim}/*"]]
    assert not work.ledger_key.startswith(f"{claim}/")
    verified = json.loads(session_policy("backups", claim, "Verify"))
    assert f"arn:aws:s3:::backups/{work.ledger_key}" in json.dumps(verified)


def of_acme(**tenant: Any) -> Any:
    """All that a backup of ``acme`` asks before it begins, of a tenant that is remembered like this."""
    record = SimpleNamespace(**{"key": TENANT, "pool": "main", "policy": "", "going": False, **tenant})
    return SimpleNamespace(
        tenants={TENANT: record},
        pools={},
        policies=Policies(),
        backups=Backups(),
        restores=Restores(),
        own_servers={},
    )


def test_a_tenant_that_goes_is_not_backed_up_any_more() -> None:
    with pytest.raises(Refused, match="acme is being deleted") as raised:
        backup_begin.record_of(of_acme(going=True), running())
    assert raised.value.reason == "TenantDeleted"
    assert backup_begin.record_of(of_acme(), running()).key == TENANT


def test_a_backup_of_no_policy_is_refused() -> None:
    world, active = of_acme(), running()
    with pytest.raises(Refused, match=r"spec\.policyRef.*spec\.backup\.policyRef") as raised:
        backup_begin._checked(backup_begin.policy_of(world, active), active, world.tenants[TENANT])
    assert raised.value.reason == "NoPolicy"


async def test_a_tenant_without_a_database_is_waited_for() -> None:
    world = of_acme()
    world.credentials = SimpleNamespace(known=lambda claim: None)
    tenant = cast(
        Any, SimpleNamespace(status=SimpleNamespace(claim=""), metadata=SimpleNamespace(name="acme"))
    )
    with pytest.raises(Waiting, match="acme has no database yet") as raised:
        await backup_begin._vault(world, tenant)
    assert raised.value.reason == "TenantNotReady"


def test_a_server_that_was_not_looked_at_since_the_start_is_waited_for() -> None:
    pool, spec = pool_state(), SimpleNamespace(database=SimpleNamespace(placement="Dedicated"))
    for placement in ("Pool", "Dedicated"):
        spec.database.placement = placement
        tenant = cast(Any, SimpleNamespace(spec=spec, key=TENANT))
        with pytest.raises(Waiting) as raised:
            backup_begin.server_for(of_acme(), tenant, pool)
        assert raised.value.reason == "PostgresNotLookedAt"


def test_a_restore_goes_before_every_backup_but_its_own() -> None:
    world = of_acme()
    world.restores.saw(
        "ADDED",
        {
            "metadata": {"name": "one", "namespace": "tenants", "uid": "one", "resourceVersion": "1"},
            "spec": {"tenantRef": {"name": "acme"}},
            "status": {"phase": "Running", "step": "SafetyBackup", "safetyBackup": "before-one"},
        },
    )
    with pytest.raises(Waiting, match="TenantRestore one") as raised:
        backup_begin.check_room(world, running())
    assert raised.value.reason == "RestoreRuns"


@pytest.mark.parametrize("lacking", ["snapshots", "recoveryPoint", "manifestKey", "manifestSha256"])
def test_a_job_that_says_too_little_has_made_no_backup(lacking: str) -> None:
    whole = {
        "reason": "Done", "message": "stored", "snapshots": {"database": "1a2b", "filestore": ["3c4d"]},
        "recoveryPoint": text(NOW), "manifestKey": "eu/1.json", "manifestSha256": "a" * 64,
    }  # fmt: skip
    backup_run.check_stored(BackupOutcome.model_validate(whole), JOB)
    less = BackupOutcome.model_validate({key: value for key, value in whole.items() if key != lacking})
    with pytest.raises(JobEnded) as ended:
        backup_run.check_stored(less, JOB)
    assert ended.value.reason == "OutcomeIncomplete"
