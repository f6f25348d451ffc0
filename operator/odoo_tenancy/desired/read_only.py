"""``database.readOnlyAccess``: the login that people are given, and the way to the server for who runs beside Odoo.

A NetworkPolicy governs pods of its own namespace alone, so what can be opened here is the way out of pods in the tenant's
own namespace. Who comes from another namespace, or from outside the cluster, is let out there and let in by the server's
own policies, which are not the operator's on a pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.api.shared import LabelSelector, Peer
from odoo_tenancy.desired import labels, names, network, secrets
from odoo_tenancy.desired.context import Endpoint, TenantContext
from odoo_tenancy.desired.namespace import POD_SECURITY, of


def secret(ctx: TenantContext) -> Manifest:
    """``<tenant>-readonly`` beside the CR: all that a client needs, each by itself and as a URI."""
    user, database = names.read_only_role(ctx.claim), names.database(ctx.claim)
    password, mode = ctx.credentials.read_only_password, ctx.database_tls
    server = _server(ctx)
    where = f"{server.host}:{server.port}/{database}"
    values = {
        "host": server.host,
        "port": str(server.port),
        "dbname": database,
        "user": user,
        "password": password,
        "sslmode": mode,
        "uri": f"postgresql://{user}:{quote(password, safe='')}@{where}?sslmode={mode}",
    }
    if ctx.postgres_ca is not None:
        values["ca.crt"] = ctx.postgres_ca
    files = {name: value.encode() for name, value in values.items()}
    return secrets.beside_tenant(ctx, names.read_only_secret(ctx.tenant), "read-only", files)


def policies(ctx: TenantContext) -> list[Manifest]:
    """The way to PostgreSQL, or to its replica, for the peers that are pods in the tenant's own namespace.

    None in a pool's namespace: by a selector of its own choice a tenant would speak for its neighbours' pods.

    Raises:
        Refused: ``NotSupported``: a peer with ``matchExpressions``.
    """
    access = ctx.tenant.spec.database.read_only_access
    if not access.enabled or ctx.tenant.spec.tenancy != "Dedicated":
        return []
    here = [peer for peer in access.peers if _is_here(ctx, peer)]
    return [_policy(ctx, number, peer) for number, peer in enumerate(here)]


def _server(ctx: TenantContext) -> Endpoint:
    """The pool's replica where it has one, else the server itself: never its PgBouncer, which is Odoo's."""
    return ctx.replica or Endpoint(ctx.database_host, ctx.database_port, ctx.database_peers)


def _policy(ctx: TenantContext, number: int, peer: Peer) -> Manifest:
    spec: Manifest = {
        "podSelector": {"matchLabels": dict(sorted(_labels(peer.pod_selector).items()))},
        "policyTypes": ["Egress"],
        "egress": [network.dns(), *network.to_peers(_server(ctx).peers)],
    }
    name = names.child(ctx.tenant, ctx.claim, f"read-only-{number}")
    marks = labels.for_tenant(ctx.tenant, "network")
    return labels.manifest("networking.k8s.io/v1", "NetworkPolicy", name, of(ctx), marks, spec=spec)


def _is_here(ctx: TenantContext, peer: Peer) -> bool:
    """Whether the peer's selector matches the labels that the tenant's namespace has from us and from Kubernetes."""
    if peer.namespace_selector is None:
        return False
    ours = {
        "kubernetes.io/metadata.name": of(ctx),
        **labels.for_tenant(ctx.tenant, "namespace"),
        **POD_SECURITY,
        labels.CLAIM: ctx.claim,
    }
    return _labels(peer.namespace_selector).items() <= ours.items()


def _labels(selector: LabelSelector | None) -> Mapping[str, str]:
    if selector is None:
        return {}
    if selector.match_expressions:
        raise Refused(
            "NotSupported",
            "spec.database.readOnlyAccess.peers: matchExpressions are not supported: use matchLabels.",
        )
    return selector.match_labels
