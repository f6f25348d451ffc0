"""Which care a repository is due, what follows of it, and what a policy says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.unit.reconcile.test_backup import NOW, TENANT, good, policy, tenant, text

from odoo_tenancy.api.meta import API_VERSION, Key, Manifest
from odoo_tenancy.api.policy import Store
from odoo_tenancy.cluster.status import merged
from odoo_tenancy.reconcile import backup_health, follow_store, upkeep_due, upkeep_turns, upkeep_work
from odoo_tenancy.reconcile.backup_memory import Backups, Policies, PolicyState
from odoo_tenancy.reconcile.backup_policy import PolicyReconciler
from odoo_tenancy.reconcile.memory import Reservation, TenantRecord
from odoo_tenancy.reconcile.report import Report
from odoo_tenancy.reconcile.upkeep import UpkeepReconciler
from odoo_tenancy.reconcile.upkeep_due import Due
from odoo_tenancy.reconcile.upkeep_memory import MAINTENANCE, UPKEEP, Upkeep
from odoo_tenancy.reconcile.upkeep_work import known_backups

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MONDAYS: dict[str, Any] = {"maintenance": {"schedule": "0 6 * * 1"}, "verification": {"schedule": "@yearly"}}
"""NOW is a Monday at noon."""


def record(**over: Any) -> TenantRecord:
    given: dict[str, Any] = {
        "key": TENANT, "uid": "uid", "created": NOW - 99 * DAY, "pool": "main", "claim": "0" * 32, "hosts": (),
        "admitted": True, "reservation": Reservation(), "granted": (), "template": "", "policy": "gold", **over,
    }  # fmt: skip
    return TenantRecord(**given)


def stored(*live: Manifest) -> Backups:
    backups = Backups()
    for each in live or (good("a", timedelta(hours=1)),):
        backups.saw("ADDED", each)
    return backups


def due(
    state: PolicyState,
    who: TenantRecord,
    backups: Backups,
    upkeep: Upkeep,
    seconds: float = 0,
    now: datetime = NOW,
    others: Sequence[PolicyState] = (),
) -> Due | None:
    policies = Policies()
    for each in (state, *others):
        policies.remember(each)
    return upkeep_due.due(state.policy, who, backups, policies, upkeep, now, seconds)


def elsewhere(name: str, **store: Any) -> PolicyState:
    """Another policy, with another store."""
    state = policy(99 * DAY)
    spec, metadata = state.policy.spec, state.policy.metadata
    s3 = spec.store.s3.model_copy(update=store)
    body = {
        "metadata": metadata.model_copy(update={"name": name}),
        "spec": spec.model_copy(update={"store": Store(s3=s3)}),
    }
    return PolicyState(state.policy.model_copy(update=body))


@pytest.mark.parametrize(
    ("maintained", "expected"),
    [
        (None, Due()),
        (NOW - 7 * DAY, Due()),
        (NOW - 30 * DAY, Due()),  # missed for weeks: once, and not weeks' worth of it
        (NOW - timedelta(minutes=1), None),
    ],
)
def test_maintenance_is_due_once_for_each_turn(maintained, expected):
    state = policy(99 * DAY, **MONDAYS)
    assert due(state, record(maintained=maintained), stored(), Upkeep()) == expected


def test_a_repository_without_a_stored_backup_is_due_nothing():
    assert due(policy(99 * DAY, **MONDAYS), record(), Backups(), Upkeep()) is None


def test_before_the_policys_first_turn_nothing_is_due():
    assert due(policy(timedelta(minutes=5), **MONDAYS), record(), stored(), Upkeep()) is None


def test_what_was_done_is_remembered_until_the_tenants_status_has_it():
    upkeep, state = Upkeep(), policy(99 * DAY, **MONDAYS)
    upkeep.maintained(TENANT, NOW - timedelta(minutes=2))
    assert due(state, record(maintained=NOW - 7 * DAY), stored(), upkeep) is None


def test_what_failed_rests_longer_each_time_and_others_go_on():
    upkeep, state = Upkeep(), policy(99 * DAY, **MONDAYS)
    upkeep.failed(TENANT, MAINTENANCE, "StoreFull", "no room", 0)
    assert due(state, record(), stored(), upkeep, 3599) is None
    assert due(state, record(), stored(), upkeep, 3600) == Due()
    upkeep.failed(TENANT, MAINTENANCE, "StoreFull", "no room", 3600)
    assert due(state, record(), stored(), upkeep, 3600 + 7199) is None
    assert (
        due(state, record(key=Key("OdooTenant", "tenants", "b")), stored(), upkeep) is None
    )  # it has nothing stored


def aged(count: int, day: timedelta) -> list[Manifest]:
    return [good(f"b{number:02d}", number * timedelta(hours=1) + day) for number in range(count)]


def test_a_share_of_what_is_stored_is_verified_again_at_each_turn():
    """The one first that nobody has looked at for longest; new backups, which were just looked at, don't count."""
    schedule = {
        "maintenance": {"schedule": "0 0 1 1 *"},
        "verification": {"schedule": "0 0 * * 1"},
        "jitter": "0s",
    }
    state, who = policy(99 * DAY, **schedule), record(maintained=NOW, claim="0" * 32)
    live = [*aged(20, 9 * DAY), *[good(f"new{n}", timedelta(minutes=n)) for n in range(3)]]
    backups, seen = stored(*live), list[str]()
    while (found := due(state, who, backups, Upkeep(), now=NOW + 4 * DAY)) is not None:
        assert found.verify is not None
        seen.append(found.verify.name)
        body = next(each for each in live if each["metadata"]["name"] == found.verify.name)
        body["metadata"]["resourceVersion"] = "2"
        body["status"]["verification"]["checkedAt"] = text(NOW + 4 * DAY)
        backups.saw("MODIFIED", body)
    assert seen == ["b19", "b18", "b17"]  # 20 / 8, rounded up


def test_what_could_not_be_looked_at_leaves_its_turn_to_others():
    state = policy(99 * DAY, maintenance={"schedule": "0 0 1 1 *"}, verification={"schedule": "0 0 * * 1"})
    upkeep, live = Upkeep(), aged(9, 9 * DAY)
    upkeep.failed(TENANT, "b08", "StoreUnreachable", "away", 0)
    found = due(state, record(maintained=NOW), stored(*live), upkeep, 1, NOW + 4 * DAY)
    assert found == Due(Key("TenantBackup", "tenants", "b07"))


ELSEWHERE: dict[str, Manifest] = {
    "of a former tenant of the name": {
        "manifest": {"key": f"{'f' * 32}/manifests/a.json", "bucket": "backups"}
    },
    "below another prefix": {"manifest": {"key": f"eu/{'0' * 32}/manifests/a.json", "bucket": "backups"}},
    "in another bucket": {"manifest": {"key": f"{'0' * 32}/manifests/a.json", "bucket": "former"}},
    "nowhere": {"manifest": {}},
}


@pytest.mark.parametrize("where", ELSEWHERE.values(), ids=list(ELSEWHERE))
@pytest.mark.parametrize("maintained", [NOW, None])
def test_what_lies_elsewhere_is_not_verified_here(where: Manifest, maintained: datetime | None) -> None:
    """Nor is a repository maintained that has nothing."""
    state = policy(99 * DAY, maintenance={"schedule": "0 0 1 1 *"}, verification={"schedule": "0 0 * * 1"})
    backups = stored(good("a", 9 * DAY, **where))
    assert due(state, record(maintained=maintained), backups, Upkeep(), now=NOW + 4 * DAY) is None


@pytest.mark.parametrize(
    ("other", "is_here"),
    [
        (elsewhere("silver"), True),
        (elsewhere("silver", bucket="other"), False),
        (elsewhere("silver", endpoint="https://other.example.com"), False),
        (elsewhere("another"), False),  # silver is gone, and nobody knows where it kept its backups
    ],
)
def test_of_another_policys_backups_only_those_of_this_store_are_verified_here(
    other: PolicyState, is_here: bool
) -> None:
    state = policy(99 * DAY, maintenance={"schedule": "0 0 1 1 *"}, verification={"schedule": "0 0 * * 1"})
    body = good("a", 9 * DAY, manifest={"key": f"{'0' * 32}/manifests/a.json"})
    body["spec"]["policyRef"] = {"name": "silver"}
    found = due(state, record(maintained=NOW), stored(body), Upkeep(), now=NOW + 4 * DAY, others=[other])
    assert (found is not None) == is_here


def test_what_was_found_in_the_store_is_verified_in_the_next_turn_the_newest_first() -> None:
    state = policy(99 * DAY, maintenance={"schedule": "0 0 1 1 *"}, verification={"schedule": "0 0 * * 1"})
    live, seen = aged(4, 9 * DAY), list[str]()
    for body in live[:3]:
        del body["status"]["verification"]
    backups, who = stored(*live), record(maintained=NOW)
    while (found := due(state, who, backups, Upkeep(), now=NOW + 4 * DAY)) is not None:
        assert found.verify is not None
        seen.append(found.verify.name)
        body = next(each for each in live if each["metadata"]["name"] == found.verify.name)
        body["metadata"]["resourceVersion"] = "2"
        body["status"]["verification"] = {"result": "Passed", "checkedAt": text(NOW + 4 * DAY)}
        backups.saw("MODIFIED", body)
    assert seen == ["b00", "b01", "b02"]


def test_what_failed_of_a_backup_that_is_gone_troubles_nobody() -> None:
    state, upkeep = policy(99 * DAY, **MONDAYS), Upkeep()
    for what in ("a", MAINTENANCE):
        upkeep.failed(TENANT, what, "StoreUnreachable", "away", 0)
    said(state, upkeep, record())
    assert len(upkeep.failures({TENANT})) == 2
    said(state, upkeep, record(), backups=stored(good("b", HOUR)))
    assert len(upkeep.failures({TENANT})) == 1


def said(state: PolicyState, upkeep: Upkeep, *who: TenantRecord, backups: Backups | None = None) -> Report:
    asked: list[Key] = []
    policies = Policies()
    policies.remember(state)
    world = SimpleNamespace(
        policies=policies, upkeep=upkeep, backups=backups or stored(), now=lambda: NOW, seconds=lambda: 1000.0,
        enqueue=lambda key: asked.append(key), options=SimpleNamespace(serves=lambda _: True),
    )  # fmt: skip
    report = Report()
    upkeep_turns.look_after(cast(Any, world), state, who, report)
    report.asked = asked  # type: ignore[attr-defined]
    return report


def test_a_policy_asks_once_for_each_repository_and_says_how_it_stands():
    state, upkeep = policy(99 * DAY, **MONDAYS), Upkeep()
    report = said(state, upkeep, record())
    assert report.asked == [Key(UPKEEP, "tenants", "acme")]  # type: ignore[attr-defined]
    assert (
        upkeep_turns.CONDITION not in report.findings
    )  # it is due, and nobody knows whether it failed before
    assert said(state, upkeep, record()).asked == []  # type: ignore[attr-defined]  # it was reckoned just now
    upkeep.failed(TENANT, MAINTENANCE, "RemovalRefused", "Grant the key s3:DeleteObject.", 0)
    found = said(state, upkeep, record()).findings[upkeep_turns.CONDITION]
    assert (found.status, found.reason) == ("False", "RemovalRefused")
    assert "s3:DeleteObject" in found.message
    upkeep.maintained(TENANT, NOW)
    upkeep.looked.clear()  # as each Job's end does
    assert said(state, upkeep, record()).findings[upkeep_turns.CONDITION].reason == "UpToDate"


def test_who_has_no_place_has_no_repository_to_care_for() -> None:
    report = said(policy(99 * DAY, **MONDAYS), Upkeep(), record(admitted=False))
    assert report.asked == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("lacking", [{"claim": ""}, {"admitted": False}], ids=["claim", "place"])
async def test_of_who_has_not_begun_no_backup_is_made(lacking: dict[str, Any]) -> None:
    made: list[Manifest] = []

    async def create(body: Manifest) -> Manifest:
        made.append(body)
        return merged(
            body, {"metadata": {"uid": "1", "resourceVersion": "1", "creationTimestamp": text(NOW)}}
        )

    state, report = policy(99 * DAY, jitter="0s"), Report()
    report.good("ScheduleReady", "Valid", "")
    for who, names in ((record(**lacking), []), (record(), ["acme"])):
        world = SimpleNamespace(
            backups=Backups(), cluster=SimpleNamespace(create=create), now=lambda: NOW,
            tenants=SimpleNamespace(of_policy=lambda *_, who=who: (who,)),
            options=SimpleNamespace(serves=lambda _: True),
        )  # fmt: skip
        await PolicyReconciler(cast(Any, world))._make_due(state, report)
        assert [body["spec"]["tenantRef"]["name"] for body in made] == names


def test_locks_that_would_run_out_between_two_maintenances_are_told():
    spec: dict[str, Any] = {**MONDAYS, "immutability": {"mode": "Governance", "period": "5d"}}
    found = said(policy(99 * DAY, **spec), Upkeep(), record(maintained=NOW)).findings[upkeep_turns.CONDITION]
    assert (found.status, found.reason) == ("False", "LocksRunOut")


def test_only_a_completed_and_verified_backup_counts_as_good():
    key = "eu/0/manifests/{}.json"
    live = []
    for name, over in (("good", {}), ("failed", {"phase": "Failed"}), ("elsewhere", {})):
        body = good(name, DAY)
        path = key.format(name) if name != "elsewhere" else "other/0/manifests/elsewhere.json"
        body["status"] |= {"manifest": {"key": path, "sha256": name}, **over}
        live.append(body)
    live[0]["spec"]["hold"] = True
    found = known_backups(live, "eu/0/manifests/")
    assert {name: (each.verified, each.hold) for name, each in found.items()} == {
        "good": (True, True),
        "failed": (False, False),
    }


def test_locks_last_at_least_until_the_next_maintenance():
    spec: dict[str, Any] = {**MONDAYS, "immutability": {"mode": "Compliance", "period": "10d"}}
    terms = upkeep_work.locks(policy(99 * DAY, **spec).policy, "0" * 32, NOW)
    assert terms is not None
    assert (terms.mode, terms.period_seconds) == ("Compliance", 10 * 86400)
    assert 7 * 86400 < terms.soon_seconds <= 10 * 86400
    assert upkeep_work.locks(policy(**MONDAYS).policy, "0" * 32, NOW) is None


@pytest.mark.parametrize(
    ("status", "hold", "goes"),
    [
        ({"phase": "Completed", "manifest": {"sha256": "abc"}}, False, True),
        ({"phase": "Completed", "manifest": {"sha256": "another of that name"}}, False, False),
        ({"phase": "Completed"}, False, False),
        ({"phase": "Failed", "completionTime": text(NOW - 40 * DAY)}, False, True),
        ({"phase": "Failed", "completionTime": text(NOW - 40 * DAY)}, True, False),
        ({"phase": "Failed", "completionTime": text(NOW - 4 * DAY)}, False, False),
        ({"phase": "Failed", "completionTime": text(NOW - 40 * DAY), "manifest": {"key": "k"}}, False, False),
    ],
)
async def test_objects_follow_what_is_stored(status, hold, goes, monkeypatch):
    body = {
        "metadata": {"name": "first", "namespace": "tenants", "uid": "1"},
        "spec": {"hold": hold},
        "status": status,
    }
    deleted: list[str] = []

    async def forgotten(*_: Any) -> dict[str, str]:
        return {"first": "abc"}

    async def objects(*_: Any) -> list[Manifest]:
        return [body]

    async def delete(ref: Any, uid: str) -> None:
        deleted.append(ref.name)

    monkeypatch.setattr(follow_store, "_forgotten", forgotten)
    monkeypatch.setattr(follow_store, "objects_of", objects)
    world = SimpleNamespace(cluster=SimpleNamespace(delete=delete), now=lambda: NOW)
    await follow_store.follow(cast(Any, world), record(), policy())
    assert deleted == (["first"] if goes else [])


def test_the_moment_of_a_maintenance_is_read_back_from_the_status():
    upkeep = Upkeep()
    earlier, later = NOW - DAY, NOW
    upkeep.maintained(TENANT, earlier)
    assert upkeep.last_maintained(record(maintained=later)) == later
    assert upkeep.last_maintained(record()) == earlier


async def test_a_backup_that_lost_a_part_counts_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maintenance found it, whether or not it came to its end."""
    body = good("a", HOUR)
    body["metadata"] |= {"generation": 1}
    body["spec"] |= {"reason": "OnDemand"}
    backups, policies, told = stored(body), Policies(), list[str]()
    policies.remember(policy())

    async def patch_status(_: Any, difference: Manifest) -> Manifest:
        status = merged(body["status"], difference)
        return {**body, "metadata": body["metadata"] | {"resourceVersion": "2"}, "status": status}

    async def get(_: Any) -> Manifest:
        return {"apiVersion": API_VERSION, "kind": "TenantBackup", **body}

    async def publish(_: Any, __: str, reason: str, ___: str) -> None:
        told.append(reason)

    world = cast(Any, SimpleNamespace(
        cluster=SimpleNamespace(get=get, patch_status=patch_status), events=SimpleNamespace(publish=publish),
        backups=backups, policies=policies, now=lambda: NOW, enqueue=lambda _: None,
    ))  # fmt: skip
    report = Report()
    await UpkeepReconciler(world)._broken(record(), ("a",))
    backup_health.tell(world, tenant(), report)
    assert told == ["SnapshotMissing"]
    found = report.findings["BackupHealthy"]
    assert (found.status, found.reason) == ("False", "NotVerified")
    assert "SnapshotMissing" in found.message
