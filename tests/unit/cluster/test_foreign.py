"""Which of a stranger's objects open a namespace."""

from __future__ import annotations

import pytest
from tests.unit.cluster.samples import live

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.foreign import opening
from odoo_tenancy.cluster.objects import ObjectRef

OPENS: list[tuple[str, Manifest, str]] = [
    ("NetworkPolicy", {"ingress": [{}], "egress": [{}]}, "lets traffic in and out"),
    ("NetworkPolicy", {"egress": [{"to": []}]}, "lets traffic out"),
    ("Ingress", {"rules": [{"host": "a.example.com"}, {"host": "a.example.com"}]}, "routes a.example.com"),
    ("Ingress", {"defaultBackend": {}}, "routes every host"),
    ("Ingress", {"rules": [{"host": h} for h in "abcde"]}, "routes a, b, c and 2 more"),
    ("IngressRoute", {"routes": [{"match": "Host(`a`)"}]}, "routes Host(`a`)"),
    (
        "Service",
        {"type": "LoadBalancer", "ports": [{"port": 80}, {"port": 443}]},
        "is a LoadBalancer on port 80, 443",
    ),
    ("Service", {"type": "NodePort", "ports": [{"port": 80}]}, "is a NodePort on port 80"),
    ("Service", {"externalIPs": ["192.0.2.1"], "ports": [{"port": 80}]}, "answers at 192.0.2.1 on port 80"),
]

CLOSED: list[tuple[str, Manifest]] = [
    ("NetworkPolicy", {"policyTypes": ["Ingress", "Egress"]}),
    ("NetworkPolicy", {"ingress": [], "egress": []}),
    ("Service", {"type": "ClusterIP", "ports": [{"port": 80}]}),
    ("ConfigMap", {}),
]


@pytest.mark.parametrize(("kind", "spec", "opens"), OPENS)
def test_what_opens_is_named(kind: str, spec: Manifest, opens: str) -> None:
    body = live(kind, "theirs", spec=spec)
    found = opening(ObjectRef.of(body), body)
    assert found is not None
    assert (found.kind, found.name, found.opens) == (kind, "theirs", opens)


@pytest.mark.parametrize(("kind", "spec"), CLOSED)
def test_what_opens_nothing_is_not(kind: str, spec: Manifest) -> None:
    body = live(kind, "theirs", spec=spec)
    assert opening(ObjectRef.of(body), body) is None
