"""What is said and counted of what was brought back."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.apply import Change, Drift
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.reconcile.look import Look
from odoo_tenancy.reconcile.world import World, report_drift
from odoo_tenancy.services.difference import Difference

TENANT: Manifest = {"kind": "OdooTenant", "metadata": {"name": "acme", "namespace": "tenants"}}
WEB = ObjectRef("apps/v1", "Deployment", "odoo-acme", "odoo-web")


class Told:
    """A world that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.counted: Counter[tuple[str, str]] = Counter()

    async def publish(self, regarding: Manifest, type_: str, reason: str, note: str) -> None:
        assert (regarding, type_, reason) == (TENANT, "Warning", "DriftRepaired")
        self.notes.append(note)

    def drifted(self, kind: str, manager: str) -> None:
        self.counted[kind, manager] += 1

    @property
    def world(self) -> World:
        return cast(World, SimpleNamespace(events=self, drifted=self.drifted))

    def of_service(self, service: str, *found: Difference) -> None:
        look = Look(self.world, cast(Any, None), TENANT, *cast(Any, (None,) * 4))
        asyncio.run(look.report_drift_of(service, found))


def test_each_writer_is_named_and_counted() -> None:
    told = Told()
    drift = Drift(WEB, "changed", ("spec.replicas", "spec.paused"), ("kubectl-edit", "helm"), "")
    asyncio.run(report_drift(told.world, TENANT, [Change(WEB, "repaired", drift), Change(WEB, "unchanged")]))
    assert told.counted == {("Deployment", "kubectl-edit"): 1, ("Deployment", "helm"): 1}
    assert told.notes == [
        f"{WEB} was changed by kubectl-edit, helm (spec.replicas, spec.paused); brought back"
    ]


def test_who_left_no_trace_is_counted_as_unknown() -> None:
    told = Told()
    asyncio.run(
        report_drift(told.world, TENANT, [Change(WEB, "repaired", Drift(WEB, "deleted", (), (), ""))])
    )
    assert told.counted == {("Deployment", "unknown"): 1}
    assert told.notes == [f"{WEB} was deleted by unknown; brought back"]


def test_every_attribute_of_each_object_of_a_service_is_named() -> None:
    told = Told()
    attributes = [f"attribute {number}" for number in range(9)]
    told.of_service(
        "PostgreSQL",
        *(Difference("role t_1_a", attribute, "no", "yes") for attribute in attributes),
        Difference("database t_1", "owner", "odoo_admin", "t_1"),
    )
    assert told.counted == {("PostgreSQL role", "unknown"): 1, ("PostgreSQL database", "unknown"): 1}
    role, database = told.notes
    assert role.startswith("PostgreSQL role t_1_a was changed by unknown and brought back: ")
    assert all(f"{attribute} is yes, should be no" in role for attribute in attributes)
    assert database.endswith(
        "database t_1 was changed by unknown and brought back: owner is t_1, should be odoo_admin"
    )
