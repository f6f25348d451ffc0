"""A Job of an older spec ends before the next begins, and one that failed is tried anew in its time."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.unit.cluster.samples import live
from tests.unit.reconcile.objects import BEGIN, pool, tenant

from odoo_tenancy.api.errors import Waiting
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.children import Child, Children
from odoo_tenancy.cluster.objects import ObjectRef, Owner
from odoo_tenancy.reconcile.jobs import RETRY_JOB, end_others, time_left
from odoo_tenancy.reconcile.look import Look

OWNER = "11111111-0000-0000-0000-000000000001"
OLD = live("Job", "odoo-init-old", api_version="batch/v1", uid="old", spec={}, status={"active": 1})
NEW = ObjectRef("batch/v1", "Job", "odoo-acme", "odoo-init-new")


class FakeCluster:
    """Notes what is deleted; it is gone when the Job controller says so, and not before."""

    def __init__(self) -> None:
        self.deleted: list[str] = []
        self.time = BEGIN

    async def delete(self, ref: ObjectRef, **_: Any) -> None:
        self.deleted.append(ref.name)


def looking(seen: Manifest) -> tuple[Look, FakeCluster, Child]:
    children, cluster = Children(), FakeCluster()
    children.saw("ADDED", seen)
    world = SimpleNamespace(children=children, cluster=cluster, now=lambda: cluster.time)
    owner = Owner("OdooTenant", "tenants", "acme", OWNER)
    child = children.get(ObjectRef.of(seen))
    assert child is not None
    look = SimpleNamespace(world=world, owner=owner, tenant=tenant("acme"), pool=pool())
    return cast(Look, look), cluster, child


async def test_an_earlier_job_is_ended_and_waited_for() -> None:
    look, cluster, _ = looking(OLD)
    with pytest.raises(Waiting, match="odoo-init-old") as raised:
        await end_others(look, NEW)
    assert raised.value.reason == "EarlierJobEnds"
    assert cluster.deleted == ["odoo-init-old"]


async def test_one_that_is_over_is_not_waited_for() -> None:
    done = {"conditions": [{"type": "Complete", "status": "True"}]}
    look, cluster, _ = looking({**OLD, "status": done})
    await end_others(look, NEW)
    assert cluster.deleted == ["odoo-init-old"]


async def test_a_failed_job_is_made_anew_when_its_time_is_over() -> None:
    look, cluster, failed = looking(OLD)
    assert await time_left(look, failed) == RETRY_JOB
    assert cluster.deleted == []
    cluster.time += timedelta(seconds=RETRY_JOB)
    with pytest.raises(Waiting) as raised:
        await time_left(look, failed)
    assert raised.value.reason == "TryingAgain"
    assert cluster.deleted == ["odoo-init-old"]
