"""NetworkPolicies: nothing in, nothing out, but for what a tenant needs. They add up, so none of them may
open more.

Probes come from the kubelet, whose traffic from the pod's own node is let through without a rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.desired import labels, names, odoo_conf
from odoo_tenancy.desired.context import Peer, TenantContext
from odoo_tenancy.desired.namespace import of

_METADATA = ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128")
"""Link-local, where clouds answer with the node's own credentials. Never opened, whatever a spec says."""
_INSIDE = (
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "fc00::/7",
    "::1/128",
)
"""Where pods, Services and nodes usually are. A wider network in a spec means the internet, so these are left
out of it; one that lies within is opened as it was asked for."""

_Network = IPv4Network | IPv6Network


def build(ctx: TenantContext) -> list[Manifest]:
    """The tenant's policies. Each selects the tenant's own pods by its UID, so that tenants that share a
    namespace are kept from each other even without the namespace's own policy."""
    namespace = of(ctx)
    marks = labels.for_tenant(ctx.tenant, "network")
    policies = [
        _policy(
            names.child(ctx.tenant, ctx.claim, "isolation"),
            namespace,
            marks,
            {
                "podSelector": {**_but_backups(), "matchLabels": labels.of_tenant(ctx.uid)},
                "policyTypes": ["Ingress", "Egress"],
                "egress": _egress(ctx),
            },
        ),
        _policy(
            names.child(ctx.tenant, ctx.claim, "from-traefik"),
            namespace,
            marks,
            {
                "podSelector": {"matchLabels": labels.of_component(ctx.uid, "web")},
                "policyTypes": ["Ingress"],
                "ingress": [_from_traefik(ctx)],
            },
        ),
    ]
    if ctx.tenant.spec.tenancy == "Dedicated":
        policies.append(default_deny(namespace, marks))
    return policies


def _but_backups() -> Manifest:
    """The Jobs of a backup have policies of their own (``backup_jobs.py``), which open less and the store."""
    others = {"key": labels.COMPONENT, "operator": "NotIn", "values": list(labels.BACKUP_COMPONENTS)}
    return {"matchExpressions": [others]}


def default_deny(namespace: str, marks: dict[str, str]) -> Manifest:
    """For every pod of the namespace, also those that nobody knows of."""
    spec: Manifest = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    return _policy("default-deny", namespace, marks, spec)


def _policy(name: str, namespace: str, marks: dict[str, str], spec: Manifest) -> Manifest:
    return labels.manifest("networking.k8s.io/v1", "NetworkPolicy", name, namespace, marks, spec=spec)


def _from_traefik(ctx: TenantContext) -> Manifest:
    ports = (
        [odoo_conf.HTTP_PORT, odoo_conf.GEVENT_PORT] if ctx.tenant.spec.web.workers else [odoo_conf.HTTP_PORT]
    )
    traefik = {"kubernetes.io/metadata.name": ctx.pool.pool.spec.traefik.namespace}
    return {"from": [{"namespaceSelector": {"matchLabels": traefik}}], "ports": _tcp(ports)}


def _egress(ctx: TenantContext) -> list[Manifest]:
    asked = [
        Peer(cidr=rule.cidr, ports=tuple(rule.ports))
        for rules in (ctx.pool.pool.spec.network.egress, ctx.tenant.spec.network.egress)
        for rule in rules
    ]
    redis = ctx.redis.peers if ctx.redis is not None else ()
    # The server stays open beside its pooler: pods of before a pooler was named go on until the new ones serve.
    pooler = ctx.pooler.peers if ctx.pooler is not None else ()
    servers = (*ctx.database_peers, *pooler, *redis)
    return [dns(), *to_peers(servers), *to_peers(asked)]


def dns() -> Manifest:
    """The egress rule that lets names be looked up in the cluster's own resolver."""
    resolver = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    return {"to": [resolver], "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}


def to_peers(peers: Iterable[Peer]) -> list[Manifest]:
    """One egress rule for each.

    Raises:
        Refused: ``EgressNotAllowed``.
    """
    return [
        {"to": [_destination(peer)], **({"ports": _tcp(peer.ports)} if peer.ports else {})} for peer in peers
    ]


def _destination(peer: Peer) -> Manifest:
    if peer.cidr:
        return {"ipBlock": _block(peer.cidr)}
    destination: Manifest = {
        "namespaceSelector": {"matchLabels": dict(sorted(peer.namespace_labels.items()))}
    }
    if peer.pod_labels:
        destination["podSelector"] = {"matchLabels": dict(sorted(peer.pod_labels.items()))}
    return destination


def _block(cidr: str) -> Manifest:
    """An ``ipBlock`` without the metadata services, and, where it is wider than they are, without private
    networks.

    Raises:
        Refused: ``EgressNotAllowed``: it lies within a network that is never opened.
    """
    left_out = _left_out(cidr)
    return {"cidr": cidr, **({"except": list(left_out)} if left_out else {})}


@lru_cache(maxsize=1024)
def _left_out(cidr: str) -> tuple[str, ...]:
    """Most tenants ask for the same few, at every look."""
    network = ip_network(cidr)
    for forbidden in map(ip_network, _METADATA):
        if _within(network, forbidden):
            raise Refused(
                "EgressNotAllowed",
                f"network.egress names {cidr}, which is within {forbidden}: node-local addresses, where "
                "cloud metadata services hand out the node's credentials, are never opened. Take it out.",
            )
    specials = map(ip_network, (*_METADATA, *_INSIDE))
    return tuple(str(s) for s in specials if s != network and _within(s, network))


def _within(inner: _Network, outer: _Network) -> bool:
    if isinstance(inner, IPv4Network) and isinstance(outer, IPv4Network):
        return inner.subnet_of(outer)
    if isinstance(inner, IPv6Network) and isinstance(outer, IPv6Network):
        return inner.subnet_of(outer)
    return False


def _tcp(ports: Iterable[int]) -> list[Manifest]:
    return [{"port": port, "protocol": "TCP"} for port in sorted(set(ports))]
