"""What a look says when something breaks in it, or nobody has looked at what it needs yet."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.unit.reconcile.objects import BEGIN, known, pool, tenant

from odoo_tenancy.api.errors import Waiting
from odoo_tenancy.api.meta import API_VERSION, Manifest
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.reconcile import adoption, database, fronts, redis
from odoo_tenancy.reconcile.backup_memory import Backups, Policies
from odoo_tenancy.reconcile.look import Look
from odoo_tenancy.reconcile.memory import PoolRedis, Tenants, template_of
from odoo_tenancy.reconcile.report import Report
from odoo_tenancy.reconcile.restore_memory import Restores
from odoo_tenancy.reconcile.tenant import TenantReconciler


class FakeCluster:
    """Has one tenant, and keeps its status."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest, self.status = manifest, dict[str, Any]()

    async def get(self, ref: ObjectRef) -> Manifest | None:
        return self.manifest if ref.name == self.manifest["metadata"]["name"] else None

    async def patch_status(self, ref: ObjectRef, difference: Manifest) -> Manifest:
        self.status = difference
        return self.manifest


class FakePools:
    """A memory with a defect of its own, as only a mistake in the operator makes one."""

    def get(self, name: str) -> None:
        raise ZeroDivisionError("of no pool")


async def test_a_mistake_of_the_operators_own_is_said_and_then_raised() -> None:
    spec = tenant("acme").model_dump(mode="json", by_alias=True)
    cluster = FakeCluster({**spec, "apiVersion": API_VERSION, "kind": "OdooTenant"})
    published: list[tuple[str, str]] = []

    async def publish(regarding: Manifest, type_: str, reason: str, message: str) -> None:
        published.append((reason, message))

    world = SimpleNamespace(
        cluster=cluster,
        tenants=Tenants(),
        pools=FakePools(),
        backups=Backups(),
        policies=Policies(),
        restores=Restores(),
        events=SimpleNamespace(publish=publish),
        options=SimpleNamespace(cluster_id="a-cluster", serves=lambda pool: True),
        now=lambda: BEGIN,
        enqueue=lambda key: None,
    )
    with pytest.raises(ZeroDivisionError):
        await TenantReconciler(cast(Any, world))(tenant("acme").key)
    conditions = {each["type"]: each for each in cluster.status["conditions"]}
    assert conditions["Ready"]["reason"] == "InternalError"
    assert "ZeroDivisionError: of no pool" in conditions["Ready"]["message"]
    assert "InternalError" in dict(published)
    proven = conditions["RecoveryProven"]
    assert (proven["status"], proven["reason"]) == ("Unknown", "NeverDrilled")


def test_what_was_not_looked_at_yet_is_waited_for() -> None:
    """A pool's servers, after a start of the operator: never taken for gone."""
    pooled = pool(postgres={"host": "db", "adminSecretRef": {"name": "s"}, "connectionBudget": 9,
                            "pooler": {"host": "pgbouncer", "port": 6432}})  # fmt: skip
    for ask in (
        lambda: database.server_of(pooled.postgres),
        lambda: redis._server(PoolRedis(), pooled),
        lambda: fronts.pooler_of(pooled.fronts, pooled.facts),
    ):
        with pytest.raises(Waiting, match="was not looked at yet") as raised:
            ask()
        assert raised.value.reason == "PoolNotReady"


def test_one_tenant_makes_the_template_and_the_others_wait_for_it() -> None:
    tenants, state = Tenants(), pool()
    for name in ("one", "two"):
        tenants.remember(known(tenant(name)))
    options = SimpleNamespace(cluster_id="a-cluster", look_again=1.0)
    world = SimpleNamespace(tenants=tenants, options=options)
    inventory, wanted = SimpleNamespace(databases={}), SimpleNamespace(database="t_0")

    def template(name: str) -> str | None:
        asks = tenant(name)
        look = SimpleNamespace(tenant=asks, key=asks.key, world=world, postgres=state.postgres)
        return database._template(cast(Look, look), cast(Any, inventory), cast(Any, wanted))

    assert template("one") is template("one") is None
    with pytest.raises(Waiting, match="tenants/one initialises the same modules") as raised:
        template("two")
    assert raised.value.reason == "TemplateInTheMaking"
    tenants.forget(tenant("one").key)
    assert template("two") is None
    assert state.postgres.making == {template_of(tenant("two"), "a-cluster"): tenant("two").key}


async def test_what_a_former_tenant_of_the_name_left_is_mentioned() -> None:
    former = SimpleNamespace(retained_since="2026-01-01", claim="f" * 32)

    async def retained(key: Any) -> list[Any]:
        return [former]

    world, report = SimpleNamespace(credentials=SimpleNamespace(retained=retained)), Report()
    await adoption._mention_former(cast(Any, world), tenant("acme"), report)
    found = report.findings["FormerTenantFound"]
    assert (found.status, found.reason) == ("True", "RetainedDataExists")
    assert f"spec.adopt.claim {'f' * 32}" in found.message
