"""What keeps a route from being there: no Traefik, a certificate that is not issued yet. And pods that are refused."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.unit.cluster.samples import live
from tests.unit.reconcile.objects import known, tenant

from odoo_tenancy.api.errors import OperatorError, Refused, Waiting
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.children import Children
from odoo_tenancy.cluster.objects import Owner
from odoo_tenancy.cluster.readiness import Rollout, readiness
from odoo_tenancy.reconcile import route, workload
from odoo_tenancy.reconcile.look import Look
from odoo_tenancy.reconcile.memory import Tenants
from odoo_tenancy.reconcile.report import Report

OWNER = Owner("OdooTenant", "tenants", "acme", "11111111-0000-0000-0000-000000000001")


@dataclass
class Context:
    """As much of one as the stage itself asks for: what it makes of it is ``desired``'s."""

    tls: None = None


def looking(refused: OperatorError | None = None, *seen: Manifest) -> Look:
    """At a tenant whose route can't be made, or whose children were seen last as these."""

    async def apply(manifests: list[Manifest]) -> None:
        if refused is not None:
            raise refused

    asks, children, tenants = tenant("acme"), Children(), Tenants()
    tenants.remember(known(asks))
    for body in seen:
        children.saw("ADDED", body)
    world = SimpleNamespace(tenants=tenants, cluster=None, children=children)
    look: dict[str, Any] = {"tenant": asks, "key": asks.key, "owner": OWNER, "hosts": (), "report": Report()}
    return cast(Look, SimpleNamespace(world=world, context=Context(), apply=apply, **look))


@pytest.fixture(autouse=True)
def nothing_to_make(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odoo_tenancy.desired.tenant.routing", lambda context: [])


async def test_without_traefiks_kinds_a_person_is_needed() -> None:
    missing = Waiting("KindNotServed", "The kind IngressRoute is not served: install it")
    with pytest.raises(Refused, match="Traefik's, or cert-manager's") as raised:
        await route.stage(looking(missing))
    assert raised.value.reason == "RouterMissing"
    other = Waiting("Conflict", "somebody else wrote first")
    with pytest.raises(Waiting) as waited:
        await route.stage(looking(other))
    assert waited.value is other


def certificate(status: str) -> Manifest:
    issued = {"conditions": [{"type": "Ready", "status": status, "message": "the order is pending"}]}
    return live("Certificate", "odoo-tls", api_version="cert-manager.io/v1", spec={}, status=issued)


async def test_a_certificate_is_waited_for() -> None:
    with pytest.raises(Waiting, match="the order is pending") as raised:
        await route.stage(looking(None, certificate("False")))
    assert raised.value.reason == "CertificatePending"
    look = looking(None, certificate("True"))
    await route.stage(look)
    assert look.report.findings["RouteReady"].reason == "Applied"


async def test_pods_that_the_cluster_refuses_are_named_with_its_words() -> None:
    refusal = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods=20"}
    web = live("Deployment", "odoo-web", api_version="apps/v1", spec={}, status={"conditions": [refusal]})
    rollout = readiness(web)
    assert isinstance(rollout, Rollout)
    with pytest.raises(Waiting, match=r"odoo-web: exceeded quota: pods=20") as raised:
        await workload._explain(cast(Any, SimpleNamespace()), web, rollout)
    assert raised.value.reason == "PodsRefused"
