"""What is remembered of restores: who has a tenant in its hands, when Odoo is stopped, and what is answered to whom."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast, get_args
from unittest.mock import Mock

import pytest
from tests.unit.reconcile.objects import known, pool, tenant
from tests.unit.reconcile.test_backup import HOUR, NOW, backup, bad, good, policy, rotten, text
from tests.unit.reconcile.test_upkeep import record

from odoo_tenancy.api.errors import Waiting
from odoo_tenancy.api.meta import API_VERSION, Key, Manifest
from odoo_tenancy.api.restore import RestoreStep
from odoo_tenancy.cluster.children import Children
from odoo_tenancy.desired import labels
from odoo_tenancy.reconcile import restore_begin
from odoo_tenancy.reconcile.active_restore import ActiveRestore, RestoreEnded
from odoo_tenancy.reconcile.backup_memory import Backups, Policies
from odoo_tenancy.reconcile.memory import Pools, Tenants
from odoo_tenancy.reconcile.restore_begin import check_turn
from odoo_tenancy.reconcile.restore_memory import TURN, Restores
from odoo_tenancy.reconcile.restore_status import SAYS
from odoo_tenancy.reconcile.restore_steps import STEPS, UNDONE_BY
from odoo_tenancy.reconcile.restoring import still_running, stop
from odoo_tenancy.reconcile.upkeep_memory import Upkeep
from odoo_tenancy.reconcile.world import World

TENANT = Key("OdooTenant", "tenants", "acme")


def key(name: str) -> Key:
    return Key("TenantRestore", "tenants", name)


def restore(
    name: str,
    phase: str = "",
    step: str = "",
    *,
    version: int = 1,
    uid: str = "",
    tenant: str = "acme",
    reason: str = "",
    **metadata: Any,
) -> Manifest:
    said = {"conditions": [{"type": "Ready", "reason": reason}]} if reason else {}
    return {
        "metadata": {
            "name": name,
            "namespace": "tenants",
            "uid": uid or name,
            "resourceVersion": str(version),
            **metadata,
        },
        "spec": {"tenantRef": {"name": tenant}},
        "status": {"phase": phase, "step": step, **said} if phase else {},
    }


def test_the_latest_is_the_tenants_own_and_lies_where_its_policy_says() -> None:
    """Not a former tenant's of the same name, nor one below a former prefix, nor one that is yet to come."""
    backups, policies = Backups(), Policies()
    policies.remember(policy())
    for name, age, below in (
        ("own", 3, "0" * 32),
        ("to-come", -1, "0" * 32),
        ("former-tenant", 1, "f" * 32),
        ("former-prefix", 2, f"eu/{'0' * 32}"),
    ):
        manifest = {"key": f"{below}/manifests/{name}.json", "bucket": "backups"}
        backups.saw("ADDED", good(name, age * HOUR, manifest=manifest))
    world = SimpleNamespace(backups=backups, policies=policies, tenants={TENANT: record()}, now=lambda: NOW)
    found = restore_begin._latest(cast(Any, world), cast(Any, SimpleNamespace(tenant=TENANT)))
    assert found.key.name == "own"


def begins(
    backups: Backups, source: str = "", *, going: bool = False, restores: Restores | None = None
) -> tuple[World, ActiveRestore]:
    """A restore of ``acme`` that may be about to begin, from the backup of this name."""
    meant = {"backupRef": {"name": source}} if source else {"latest": True}
    body = restore("one")
    active = ActiveRestore.of(
        {
            "apiVersion": API_VERSION,
            "kind": "TenantRestore",
            **body,
            "spec": {
                **body["spec"],
                "source": meant,
                "confirm": "acme",
                "notAfter": text(NOW + HOUR),
            },
        }
    )
    world = SimpleNamespace(
        backups=backups,
        tenants={TENANT: record(going=going)},
        restores=restores or Restores(),
        pools=Pools(),
        upkeep=Upkeep(),
        children=Children(),
        now=lambda: NOW,
    )
    return cast(World, world), active


def test_what_is_deleted_is_not_restored() -> None:
    with pytest.raises(RestoreEnded, match="acme is being deleted") as raised:
        restore_begin.record_of(*begins(Backups(), going=True))
    assert raised.value.reason == "TenantDeleted"


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (backup("named", "Running"), Waiting, "BackupRuns"),
        (bad("named", HOUR, "StoreUnreachable"), RestoreEnded, "BackupNotGood"),
        (rotten("named", HOUR), RestoreEnded, "BackupNotGood"),
        (backup("another"), RestoreEnded, "BackupNotFound"),
    ],
)
def test_a_backup_that_is_not_known_to_be_good_is_not_restored(
    body: Manifest, kind: type[Exception], reason: str
) -> None:
    backups = Backups()
    backups.saw("ADDED", body)
    with pytest.raises(kind, match="named") as raised:
        restore_begin._wanted(*begins(backups, "named"))
    assert cast(Any, raised.value).reason == reason


async def test_a_second_restore_waits_for_the_first() -> None:
    restores = Restores()
    restores.saw("ADDED", restore("first", "Running", "Restoring"))
    with pytest.raises(Waiting, match="TenantRestore first") as raised:
        await restore_begin.begin(*begins(Backups(), "named", restores=restores))
    assert raised.value.reason == "AnotherRestoreRuns"


def test_one_at_a_time_whether_it_was_written_yet_or_not():
    restores = Restores()
    for name in ("one", "two"):
        restores.saw("ADDED", restore(name))
    assert restores.begin(key("one"), TENANT) is None
    assert restores.begin(key("two"), TENANT) == key("one")
    assert restores.begin(key("one"), TENANT) is None
    restores.saw("MODIFIED", restore("one", "Running", "SafetyBackup", version=2))
    assert restores.begin(key("two"), TENANT) == key("one")
    restores.saw("MODIFIED", restore("one", "Completed", version=3))
    assert restores.begin(key("two"), TENANT) is None


def test_one_that_is_deleted_before_it_began_holds_nobody_up():
    restores = Restores()
    for name in ("one", "two"):
        restores.saw("ADDED", restore(name))
    assert restores.begin(key("one"), TENANT) is None
    restores.saw("DELETED", restore("one", version=2))
    assert restores.begin(key("two"), TENANT) is None


def test_odoo_is_stopped_from_the_first_word_of_it_until_the_swap_is_done():
    stopped = set()
    for step in get_args(RestoreStep):
        restores = Restores()
        restores.saw("ADDED", restore("one", "Running", step))
        record = restores.of(TENANT)
        assert record is not None
        stopped |= {step} if record.stops_odoo else set()
    assert stopped == {"Stopping", "Swapping", "GoingBack"}


def test_what_has_ended_stops_nobody():
    restores = Restores()
    restores.saw("ADDED", restore("one", "Failed", "GoingBack"))
    assert restores.of(TENANT) is None
    assert restores.unfinished(TENANT) == ()


def test_an_older_event_undoes_nothing():
    restores = Restores()
    restores.saw("MODIFIED", restore("one", "Running", "Stopping", version=7))
    assert restores.saw("MODIFIED", restore("one", "Running", "Restoring", version=6)) is None
    record = restores.of(TENANT)
    assert record is not None
    assert record.step == "Stopping"
    assert restores.listed(frozenset()) == (key("one"),)
    assert restores.of(TENANT) is None


def test_an_answer_is_for_one_restore_and_news_once():
    restores = Restores()
    assert restores.answer(TENANT, "one", "Stopping/Stopped")
    assert not restores.answer(TENANT, "one", "Stopping/Stopped")
    assert restores.answered(TENANT, "one") == "Stopping/Stopped"
    assert restores.answered(TENANT, "two") == ""


async def test_a_look_that_was_overtaken_by_the_next_step_stops_nothing_and_answers_nothing():
    """It began when Odoo was to be stopped; ``Stopped`` would be read as why Odoo can't start."""
    restores = Restores()
    restores.saw("ADDED", restore("one", "Running", "Starting"))
    look = Mock(spec=["key", "world"], key=TENANT, world=Mock(spec=["restores"], restores=restores))
    with pytest.raises(Waiting, match="gone on"):
        await stop(look)
    assert restores.answered(TENANT, "one") == ""


def test_of_what_has_ended_only_its_deletion_is_worth_a_look():
    restores = Restores()
    assert restores.saw("ADDED", restore("one", "Completed")) is None
    going: dict[str, Any] = {"deletionTimestamp": "2026-11-23T12:00:00Z"}
    assert restores.saw("MODIFIED", restore("one", "Completed", version=2, **going)) is None
    held: dict[str, Any] = {**going, "finalizers": ["odootenancy.io/finalizer"]}
    assert restores.saw("MODIFIED", restore("one", "Completed", version=3, **held)) == key("one")


def test_every_step_is_done_and_said_and_what_has_touched_something_is_undone():
    assert set(STEPS) == set(SAYS) == set(get_args(RestoreStep))
    assert set(STEPS) - set(UNDONE_BY) == {"SafetyBackup", "ClearingAway", "GoingBack", "GivingUp"}


def test_a_pod_that_could_write_keeps_a_tenant_from_being_stopped():
    def pod(phase: str, **marks: Any) -> Manifest:
        return {"metadata": {"name": phase, "labels": marks}, "status": {"phase": phase}}

    running, own = pod("Running"), pod("Running", **{labels.RESTORE_UID: "one"})
    assert still_running([running, own, pod("Succeeded"), pod("Failed"), pod("Pending")]) == [
        running,
        pod("Pending"),
    ]


def world_of(restores: Restores, most: int) -> World:
    """A pool for so many at once, with the tenants that the restores are of; and one other tenant of another pool."""
    tenants = Tenants()
    for name in ("a", "b", "c"):
        tenants.remember(known(tenant(name)))
    tenants.remember(replace(known(tenant("elsewhere")), pool="another"))
    pools = {"main": pool(backups={"maxConcurrent": most})}
    return cast(World, SimpleNamespace(restores=restores, tenants=tenants, pools=pools))


def line(*bodies: Manifest) -> Restores:
    restores = Restores()
    for body in bodies:
        restores.saw("ADDED", body)
    return restores


def made(name: str, second: int, phase: str = "Pending", **more: Any) -> Manifest:
    """A restore of the tenant of that name."""
    more = {"tenant": name.partition("-")[0], "creationTimestamp": f"2026-11-23T12:00:{second:02}Z", **more}
    return restore(name, phase, "Restoring" if phase == "Running" else "", **more)


def turns(restores: Restores, most: int) -> list[str]:
    """Those whose turn it is."""
    world, found = world_of(restores, most), []
    for each in restores.unfinished():
        record = restores.get(each)
        assert record is not None
        if record.runs or record.tenant.name == "elsewhere":
            continue
        with suppress(Waiting):
            check_turn(world, each, "main")
            found.append(each.name)
    return sorted(found)


def test_the_oldest_are_next_and_no_more_than_the_pool_allows() -> None:
    pending = (made("c", 3), made("a", 1, reason=TURN), made("b", 2))
    assert turns(line(*pending), 1) == ["a"]
    assert turns(line(*pending), 2) == ["a", "b"]
    # As a new operator finds it: what runs is written in the objects.
    assert turns(line(made("a", 9, "Running"), *pending[::2]), 1) == []
    assert turns(line(made("a", 9, "Running"), *pending[::2]), 2) == ["b"]
    assert turns(line(made("a", 1, "Completed"), *pending[::2]), 1) == ["b"]
    assert turns(line(made("elsewhere", 0, "Running"), made("elsewhere-2", 0), *pending), 1) == ["a"]


def test_one_that_is_about_to_begin_has_its_place_already() -> None:
    restores = line(made("a", 1), made("b", 2))
    world = world_of(restores, 1)
    check_turn(world, key("a"), "main")
    assert restores.begin(key("a"), Key("OdooTenant", "tenants", "a")) is None
    check_turn(world, key("a"), "main")  # by itself it isn't kept from going on
    with pytest.raises(
        Waiting, match=r"1 restores run in HostingPool main .*maxConcurrent 1: this one is next"
    ):
        check_turn(world, key("b"), "main")
    restores.give_way(key("a"), Key("OdooTenant", "tenants", "a"))
    with pytest.raises(Waiting, match="1 are before this one, and tenants/a is next"):
        check_turn(world, key("b"), "main")


def test_who_waits_for_something_else_holds_nobody_up() -> None:
    assert turns(line(made("a", 1, reason="RotatingCredentials"), made("b", 2), made("c", 3)), 1) == [
        "a",
        "b",
    ]
    going = made("a", 1, deletionTimestamp="2026-11-23T12:00:09Z")
    assert turns(line(going, made("b", 2)), 1) == ["a", "b"]
