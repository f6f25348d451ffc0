"""Which events ask for work, and what is watched."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from odoo_tenancy.cluster.kinds import RESOURCES
from odoo_tenancy.runtime.settings import Settings
from odoo_tenancy.runtime.watch import Interest, children

TENANT: dict[str, Any] = {
    "apiVersion": "odootenancy.io/v1alpha1",
    "kind": "OdooTenant",
    "metadata": {
        "name": "acme",
        "namespace": "tenants",
        "uid": "1-2-3",
        "generation": 1,
        "resourceVersion": "10",
        "finalizers": ["odootenancy.io/finalizer"],
        "annotations": {"argocd.argoproj.io/tracking-id": "a", "odootenancy.io/pause": "no"},
    },
    "spec": {"poolRef": {"name": "eu"}},
    "status": {},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    tenant = deepcopy(TENANT)
    *parents, last = path.split("|")
    target = tenant
    for parent in parents:
        target = target[parent]
    if value is None:
        target.pop(last, None)
    else:
        target[last] = value
    return tenant


@pytest.fixture
def interest() -> Interest:
    interest = Interest()
    assert interest.wants(None, TENANT), "what was never seen asks for work"
    return interest


@pytest.mark.parametrize(
    "tenant",
    [
        changed("metadata|generation", 2),
        changed("metadata|deletionTimestamp", "2026-11-22T12:00:00Z"),
        changed("metadata|annotations|odootenancy.io/pause", "yes"),
        changed("metadata|annotations|odootenancy.io/retry", "now"),
        changed("metadata|finalizers", []),
        changed("metadata|uid", "4-5-6"),
    ],
    ids=["spec", "deletion", "our annotation", "another of ours", "our finalizer lost", "another object"],
)
def test_asks_for_work(interest: Interest, tenant: dict[str, Any]) -> None:
    assert interest.wants("MODIFIED", tenant)
    assert not interest.wants("MODIFIED", tenant)


@pytest.mark.parametrize(
    "tenant",
    [
        changed("metadata|resourceVersion", "11"),
        changed("metadata|annotations|argocd.argoproj.io/tracking-id", "b"),
        changed("metadata|labels", {"team": "a"}),
        changed("metadata|managedFields", [{"manager": "argocd"}]),
        changed("status", {"phase": "Ready"}),
    ],
    ids=["nothing", "Argo CD's annotation", "a label", "managed fields", "status"],
)
def test_asks_for_nothing(interest: Interest, tenant: dict[str, Any]) -> None:
    assert not interest.wants("MODIFIED", tenant)


def test_taking_the_finalizer_asks_for_nothing() -> None:
    interest = Interest()
    interest.wants("ADDED", changed("metadata|finalizers", []))
    assert not interest.wants("MODIFIED", TENANT)


def test_an_object_that_is_gone_asks_for_a_last_look_and_is_forgotten(interest: Interest) -> None:
    assert interest.wants("DELETED", TENANT)
    assert not interest._last


def test_children_are_selected_by_the_server() -> None:
    assert len({w.name for w in children(Settings())}) == len(children(Settings())), "watched twice"
    watched = {w.kind: w.selector for w in children(Settings())}
    strangers = {kind for kind, selector in watched.items() if not selector}
    assert strangers >= {"Service", "NetworkPolicy", "Ingress", "IngressRoute"}
    assert {s for s in watched.values() if s} == {"app.kubernetes.io/managed-by=odoo-tenancy"}
    assert "Pod" not in watched


def test_a_shard_watches_only_the_children_of_its_pools() -> None:
    selectors = {w.selector for w in children(Settings(pools=("eu", "us"))) if w.selector}
    assert selectors == {"app.kubernetes.io/managed-by=odoo-tenancy,odootenancy.io/pool in (eu,us)"}


def test_every_watched_kind_has_a_path() -> None:
    assert {(w.api_version, w.kind) for w in children(Settings())} <= set(RESOURCES)
