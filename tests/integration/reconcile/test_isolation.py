"""NetworkPolicies add up: what strangers put into a namespace of ours and what opens it is named, until it is gone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.integration.reconcile.stage import Stage, Tenants, condition, pool_ref
from tests.support.kube import ApiError
from tests.support.operator_process import OperatorProcess
from tests.support.waiting import eventually

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.objects import ObjectRef

OPENINGS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "NetworkPolicy": (
        "networking.k8s.io/v1",
        {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]},
        ("lets traffic in",),
    ),
    "Ingress": (
        "networking.k8s.io/v1",
        {
            "rules": [
                {
                    "host": "back.example.com",
                    "http": {
                        "paths": [
                            {
                                "path": "/",
                                "pathType": "Prefix",
                                "backend": {"service": {"name": "odoo-web", "port": {"number": 8069}}},
                            }
                        ]
                    },
                }
            ]
        },
        ("routes back.example.com",),
    ),
    "Service": (
        "v1",
        {"ports": [{"port": 8069}], "externalIPs": ["203.0.113.9"], "selector": {"a": "b"}},
        ("answers at 203.0.113.9", "8069"),
    ),
    "IngressRoute": (
        "traefik.io/v1alpha1",
        {
            "routes": [
                {
                    "kind": "Rule",
                    "match": "Host(`door.example.com`)",
                    "services": [{"name": "odoo-web", "port": 1}],
                }
            ]
        },
        ("routes Host(`door.example.com`)",),
    ),
}


@pytest.fixture(scope="module")
def fenced(stage: Stage, neighbour: Tenants) -> Iterator[Tenants]:
    tenants = Tenants(stage, "fenced")
    stage.namespace("fenced")
    tenants.create("acme")
    tenants.until_ready("acme")
    yield tenants
    tenants.clear()


@pytest.mark.parametrize("kind", OPENINGS)
def test_a_stranger_that_opens_the_namespace_is_named(
    stage: Stage, fenced: Tenants, neighbour: Tenants, kind: str
) -> None:
    api_version, spec, words = OPENINGS[kind]
    namespace = fenced.namespace_of("acme")
    metadata = {"name": "stranger", "namespace": namespace}
    stage.kube.create({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})
    found = fenced.until_condition("acme", "NetworkIsolated", "False", "OpenedByStranger")
    for word in (f"{kind} {namespace}/stranger", "Delete it", *words):
        assert word in found["message"]
    fenced.until_event("acme", "OpenedByStranger", f"{kind} {namespace}/stranger")
    fenced.until_condition("acme", "Ready", "False", "OpenedByStranger")
    assert neighbour.is_ready("healthy")
    stage.kube.delete(ObjectRef(api_version, kind, namespace, "stranger"))
    fenced.until_condition("acme", "NetworkIsolated", "True", "Enforced")
    fenced.until_ready("acme")


def test_what_only_closes_is_let_be(stage: Stage, fenced: Tenants) -> None:
    """A stranger's policy without a rule; and a Service within the cluster."""
    namespace = fenced.namespace_of("acme")
    for api_version, kind, spec in (
        ("networking.k8s.io/v1", "NetworkPolicy", {"podSelector": {}, "policyTypes": ["Ingress"]}),
        ("v1", "Service", {"ports": [{"port": 80}], "selector": {"a": "b"}}),
        ("networking.k8s.io/v1", "NetworkPolicy", {"podSelector": {}, "egress": [{}]}),
    ):
        name = "opens" if spec.get("egress") else "closes"
        metadata = {"name": name, "namespace": namespace}
        stage.kube.create({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})
    found = fenced.until_condition("acme", "NetworkIsolated", "False", "OpenedByStranger")
    assert "closes" not in found["message"]
    stage.kube.delete(ObjectRef("networking.k8s.io/v1", "NetworkPolicy", namespace, "opens"))
    fenced.until_ready("acme")


@pytest.mark.parametrize("type_", ["LoadBalancer", "NodePort"])
def test_a_service_that_leads_in_is_not_even_made(stage: Stage, fenced: Tenants, type_: str) -> None:
    metadata = {"name": "door", "namespace": fenced.namespace_of("acme")}
    spec = {"type": type_, "ports": [{"port": 8069}], "selector": {"a": "b"}}
    with pytest.raises(ApiError, match="exceeded quota"):
        stage.kube.create({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})


@pytest.mark.parametrize("type_", ["LoadBalancer", "NodePort"])
def test_one_that_was_made_while_no_quota_was_there_is_named(
    stage: Stage, operator: OperatorProcess, fenced: Tenants, neighbour: Tenants, type_: str
) -> None:
    namespace = fenced.namespace_of("acme")
    door = ObjectRef("v1", "Service", namespace, "door")
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": door.name, "namespace": namespace},
        "spec": {"type": type_, "ports": [{"port": 8069}], "selector": {"a": "b"}},
    }
    operator.close()
    for quota in stage.kube.list("v1", "ResourceQuota", namespace):
        stage.kube.delete(ObjectRef.of(quota))
    eventually(lambda: is_let_in(stage, body), "no quota refuses it any more")
    operator.start()
    found = fenced.until_condition("acme", "NetworkIsolated", "False", "OpenedByStranger")
    for word in (f"Service {namespace}/door", "Delete it", f"is a {type_} on port 8069"):
        assert word in found["message"]
    fenced.until_event("acme", "OpenedByStranger", f"Service {namespace}/door", type_)
    assert neighbour.is_ready("healthy")
    stage.kube.delete(door)
    fenced.until_ready("acme")
    with pytest.raises(ApiError, match="exceeded quota"):
        stage.kube.create(body)


def is_let_in(stage: Stage, body: Manifest) -> bool:
    """Whether the API server takes it: it hears of a quota's end a moment later."""
    try:
        stage.kube.create(body)
    except ApiError as error:
        if "exceeded quota" not in error.message:
            raise
        return False
    return True


def test_a_shared_namespace_that_is_opened_concerns_the_pool_and_all_in_it(
    stage: Stage, operator: OperatorProcess, neighbour: Tenants
) -> None:
    namespace = "odoo-pool-main"
    policy = ObjectRef("networking.k8s.io/v1", "NetworkPolicy", namespace, "stranger")
    spec = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]}
    metadata = {"name": "stranger", "namespace": namespace}
    stage.kube.create(
        {"apiVersion": policy.api_version, "kind": policy.kind, "metadata": metadata, "spec": spec}
    )
    neighbour.until_condition("healthy", "NetworkIsolated", "False", "OpenedByStranger")
    opened = stage.kube.until(
        pool_ref("main"),
        lambda live: condition(live, "NetworkIsolated").get("status") == "False",
        "pool is opened",
    )

    operator.close()  # who starts anew knows what is there before it says that all is well
    operator.start()
    operator.await_line("reconciled", name="healthy", outcome="refused")
    since = condition(stage.kube.live(pool_ref("main")), "NetworkIsolated")["lastTransitionTime"]
    assert since == condition(opened, "NetworkIsolated")["lastTransitionTime"]

    stage.kube.delete(policy)
    neighbour.until_ready("healthy")
    stage.kube.until(
        pool_ref("main"), lambda live: condition(live, "Ready").get("status") == "True", "pool is closed"
    )
