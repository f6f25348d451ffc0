"""Strangers' objects that open a namespace: NetworkPolicies add up, a route or a load balancer leads in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.objects import ObjectRef

KINDS = (
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("networking.k8s.io/v1", "Ingress"),
    ("v1", "Service"),
    ("traefik.io/v1alpha1", "IngressRoute"),
    ("traefik.io/v1alpha1", "IngressRouteTCP"),
    ("traefik.io/v1alpha1", "IngressRouteUDP"),
)
"""What has to be watched for it, whatever its labels."""

_SHOWN = 3
"""Host names that are named of one object."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """One such object, and what it opens."""

    kind: str
    namespace: str
    name: str
    opens: str
    """For a sentence: ``NetworkPolicy allow-all lets traffic in and out``."""
    uid: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name} {self.opens}"


def opening(ref: ObjectRef, body: Manifest) -> Foreign | None:
    """What an object of somebody else's opens; ``None`` where it opens nothing."""
    reader = _READERS.get(ref.kind)
    opens = reader(body.get("spec") or {}) if reader else ""
    return Foreign(ref.kind, ref.namespace, ref.name, opens, body["metadata"]["uid"]) if opens else None


def _policy(spec: Manifest) -> str:
    """A policy without a rule only closes."""
    ways = [word for word, rules in (("in", spec.get("ingress")), ("out", spec.get("egress"))) if rules]
    return f"lets traffic {' and '.join(ways)}" if ways else ""


def _ingress(spec: Manifest) -> str:
    return _routes(rule.get("host") or "every host" for rule in spec.get("rules") or [{}])


def _route(spec: Manifest) -> str:
    return _routes(route.get("match") or "everything" for route in spec.get("routes") or [])


def _service(spec: Manifest) -> str:
    ports = ", ".join(str(port["port"]) for port in spec.get("ports") or [])
    if spec.get("type") in ("LoadBalancer", "NodePort"):
        return f"is a {spec['type']} on port {ports}"
    if spec.get("externalIPs"):
        return f"answers at {_few(spec['externalIPs'])} on port {ports}"
    return ""


def _routes(hosts: Iterable[str]) -> str:
    text = _few(dict.fromkeys(hosts))
    return f"routes {text}" if text else ""


def _few(words: Iterable[str]) -> str:
    listed = list(words)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


_READERS: dict[str, Callable[[Manifest], str]] = {
    "NetworkPolicy": _policy,
    "Ingress": _ingress,
    "Service": _service,
    "IngressRoute": _route,
    "IngressRouteTCP": _route,
    "IngressRouteUDP": _route,
}
