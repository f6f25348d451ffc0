"""Thirty thousand TenantBackups: what they cost in memory, and that no look at a tenant or a policy goes through them."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.unit.reconcile.test_backup import NOW, policy, tenant, text

from odoo_tenancy.api.meta import Key, Manifest
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.reconcile import backup_digest, backup_health, backup_memory, upkeep_turns
from odoo_tenancy.reconcile.backup_memory import SCHEDULED_FOR, Backups, Policies
from odoo_tenancy.reconcile.backup_policy import PolicyReconciler
from odoo_tenancy.reconcile.memory import Reservation, TenantRecord
from odoo_tenancy.reconcile.report import Report
from odoo_tenancy.reconcile.upkeep_memory import Upkeep

TENANTS = 100
FEW, MANY = 3, 300
"""Of each tenant: three hundred, and thirty thousand."""
GROWTH = 3.0
"""What a look may cost with a hundred times as many, beside one with few. Linear would be far more."""
MOST_BYTES = 1200
"""Of one in memory, with its names and all that finds it."""


def claim(number: int) -> str:
    return f"{number:032x}"


def stored(number: int, turn: int) -> Manifest:
    """One that a schedule made, as the API server returns it."""
    point = NOW - turn * timedelta(hours=2)
    name, key = f"acme-{number}-{point:%Y%m%d%H%M}", f"{claim(number)}/manifests/{number}-{turn}.json"
    return {
        "metadata": {
            "name": name,
            "namespace": "tenants",
            "uid": f"00000000-0000-0000-{number:04}-{turn:012}",
            "resourceVersion": str(1_000_000 + turn),
            "creationTimestamp": text(point),
            "annotations": {SCHEDULED_FOR: text(point)},
        },
        "spec": {
            "tenantRef": {"name": f"acme-{number}"},
            "policyRef": {"name": "gold"},
            "reason": "Scheduled",
        },
        "status": {
            "phase": "Completed",
            "recoveryPoint": text(point),
            "completionTime": text(point),
            "verification": {"result": "Passed", "checkedAt": text(point)},
            "manifest": {"key": key, "sha256": "a" * 64, "bucket": "backups"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "Completed"}],
        },
    }


def filled(each: int) -> Backups:
    backups = Backups()
    for number in range(TENANTS):
        for turn in range(each):
            backups.saw("ADDED", stored(number, turn))
    return backups


class Everybody:
    """A hundred tenants of one policy, and whoever looks at them."""

    def __init__(self, backups: Backups) -> None:
        self.state = policy(schedule="0 */2 * * *", jitter="0s", verification={"schedule": "@yearly"})
        self.policies, self.backups, self.upkeep = Policies(), backups, Upkeep()
        self.policies.remember(self.state)
        self.records = [_record(number) for number in range(TENANTS)]
        self.tenants = [_tenant(number) for number in range(TENANTS)]
        self.made = list[object]()
        self.world = cast(Any, SimpleNamespace(
            backups=backups, policies=self.policies, upkeep=self.upkeep, now=lambda: NOW, seconds=lambda: 1000.0,
            enqueue=self.made.append, options=SimpleNamespace(serves=lambda _: True),
            tenants=SimpleNamespace(of_policy=lambda *_: self.records),
        ))  # fmt: skip

    def look_at_tenants(self) -> None:
        """What each tenant's look says of its backups."""
        for each in self.tenants:
            report = Report()
            backup_health.tell(self.world, each, report)
            assert report.findings["BackupHealthy"].reason == "Verified"
            assert backup_health.summary(self.world, each)

    def look_at_turns(self) -> None:
        """Whose turn it is, as each of a policy's looks asks."""
        for record in self.records:
            since = PolicyReconciler(self.world)._recorded(record, self.state.policy)
            assert self.state.plan.due(record.claim, since, NOW) is None

    def look_after(self) -> None:
        """Which repository is due some care, as it is asked once a minute."""
        self.upkeep.looked.clear()
        upkeep_turns.look_after(self.world, self.state, self.records, Report())
        assert not self.made

    def look_for_work(self) -> None:
        """Who waits, as it is asked whenever one has ended."""
        for _ in range(TENANTS):
            assert self.backups.unfinished() == ()


def _record(number: int) -> TenantRecord:
    return TenantRecord(
        key=Key("OdooTenant", "tenants", f"acme-{number}"), uid=str(number), created=NOW - timedelta(days=99),
        pool="main", claim=claim(number), hosts=(), admitted=True, reservation=Reservation(), granted=(),
        template="", policy="gold", maintained=NOW,
    )  # fmt: skip


def _tenant(number: int) -> OdooTenant:
    one = tenant()
    metadata = one.metadata.model_copy(update={"name": f"acme-{number}"})
    status = one.status.model_copy(update={"claim": claim(number)})
    return one.model_copy(update={"metadata": metadata, "status": status})


@pytest.fixture(scope="module")
def few() -> Everybody:
    return Everybody(filled(FEW))


@pytest.fixture(scope="module")
def many() -> Everybody:
    return Everybody(filled(MANY))


def cost(look: Callable[[], None]) -> float:
    """Processor seconds of a look, the best of several: what a busy machine adds is no part of it."""
    look()
    seconds = []
    for _ in range(7):
        started = time.thread_time()
        look()
        seconds.append(time.thread_time() - started)
    return min(seconds)


@pytest.mark.parametrize("what", ["look_at_tenants", "look_at_turns", "look_after", "look_for_work"])
def test_a_look_costs_the_same_however_many_there_are(few: Everybody, many: Everybody, what: str) -> None:
    assert cost(getattr(many, what)) < GROWTH * cost(getattr(few, what))


def test_only_the_tenant_of_which_something_changed_is_reckoned_anew(
    many: Everybody, monkeypatch: pytest.MonkeyPatch
) -> None:
    reckoned = list[str]()

    def digest_of(claim: str, backups: Any) -> backup_digest.Digest:
        reckoned.append(claim)
        return backup_digest.digest_of(claim, backups)

    many.look_at_tenants()
    monkeypatch.setattr(backup_memory, "digest_of", digest_of)
    many.look_at_tenants()
    assert reckoned == []
    many.backups.saw("ADDED", stored(7, MANY))
    many.look_at_tenants()
    assert reckoned == [claim(7)]


def test_one_takes_little_memory() -> None:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        everybody = Everybody(Backups())
        empty, _ = tracemalloc.get_traced_memory()
        for number in range(TENANTS):
            for turn in range(MANY // 10):
                everybody.backups.saw("ADDED", stored(number, turn))
        everybody.look_at_tenants()
        full, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert before <= empty
    assert len(everybody.backups) == TENANTS * MANY // 10
    assert (full - empty) / len(everybody.backups) < MOST_BYTES
