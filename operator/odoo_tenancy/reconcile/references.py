"""Secrets and Services that a spec refers to: read from the referring object's own namespace, and nowhere else."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.api.shared import Peer as SpecPeer
from odoo_tenancy.api.shared import SecretRef, ServerTls
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.desired.context import Peer

LOOK_AGAIN = 15.0
"""Seconds until a reference that was missing is looked for again: Secrets are not watched."""


@dataclass(frozen=True, slots=True)
class SecretReference:
    """Who refers to which Secret, for what, and what it must hold."""

    referrer: str
    field: str
    namespace: str
    name: str
    keys: tuple[str, ...] = ()
    type: str = ""


async def read_secret(cluster: Cluster, reference: SecretReference) -> dict[str, bytes]:
    """The values of a Secret.

    Raises:
        Refused: ``SecretMissing``, ``SecretWrongType`` or ``SecretKeyMissing``, with the mend.
    """
    where = f"Secret {reference.namespace}/{reference.name} ({reference.field} of {reference.referrer})"
    live = await cluster.get(ObjectRef("v1", "Secret", reference.namespace, reference.name))
    if live is None:
        raise Refused("SecretMissing", f"{where} does not exist: create it.", LOOK_AGAIN)
    if reference.type and live.get("type") != reference.type:
        raise Refused(
            "SecretWrongType",
            f"{where} is of type {live.get('type')}, but {reference.type} is needed: delete it and create it anew.",
            LOOK_AGAIN,
        )
    data = live.get("data") or {}
    missing = [key for key in reference.keys if not data.get(key)]
    if missing:
        raise Refused("SecretKeyMissing", f"{where} has no {', '.join(missing)}: add it.", LOOK_AGAIN)
    return {key: base64.b64decode(value) for key, value in data.items()}


@dataclass(frozen=True, slots=True)
class ServerLogin:
    """How a server lets the operator in, and how it is trusted."""

    username: str
    password: str = field(repr=False)
    ca: str | None = None
    """PEM; ``None``: the system's authorities, or it isn't checked."""


async def read_login(
    cluster: Cluster, referrer: str, where: str, namespace: str, admin: SecretRef, tls: ServerTls
) -> ServerLogin:
    """The admin's login and the authority of a server.

    Args:
        where: the field of ``referrer`` that has ``adminSecretRef`` and ``tls``.
        namespace: of the Secrets.

    Raises:
        Refused: a Secret is missing, or lacks a value.
    """
    login = SecretReference(
        referrer, f"{where}.adminSecretRef", namespace, admin.name, ("username", "password")
    )
    values = await read_secret(cluster, login)
    ca = None
    if tls.ca_secret_ref is not None:
        authority = SecretReference(
            referrer, f"{where}.tls.caSecretRef", namespace, tls.ca_secret_ref.name, ("ca.crt",)
        )
        ca = text(await read_secret(cluster, authority), "ca.crt")
    return ServerLogin(text(values, "username"), text(values, "password"), ca)


def text(values: dict[str, bytes], key: str) -> str:
    """One value as text, without the line end that editors leave.

    Raises:
        Refused: ``SecretNotText``.
    """
    try:
        return values[key].decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise Refused(
            "SecretNotText", f"The value {key} of a Secret is not UTF-8 text.", LOOK_AGAIN
        ) from error


def in_cluster(host: str) -> tuple[str, str] | None:
    """``(service, namespace)`` of a ``<service>.<namespace>.svc[.<domain>]`` host name, else ``None``."""
    labels = host.rstrip(".").split(".")
    return (labels[0], labels[1]) if len(labels) >= 3 and labels[2] == "svc" else None


async def peers_of(
    cluster: Cluster, host: str, port: int, given: Sequence[SpecPeer], field: str
) -> tuple[Peer, ...]:
    """Where an address leads to, as a NetworkPolicy must say it: the peers given, or the pods behind a Service.

    Raises:
        Refused: ``ServiceMissing``, ``PortMissing``, or ``PeersNeeded`` where a host can't be resolved to pods.
    """
    if given:
        return tuple(_given(peer, port, field) for peer in given)
    found = in_cluster(host)
    if found is None:
        raise Refused(
            "PeersNeeded",
            f"{host} ({field}) is outside the cluster, and a NetworkPolicy can't name a host: set peers beside it "
            "(CIDRs).",
            LOOK_AGAIN,
        )
    service, namespace = found
    live = await cluster.get(ObjectRef("v1", "Service", namespace, service))
    if live is None:
        raise Refused(
            "ServiceMissing", f"Service {namespace}/{service} ({field}) does not exist.", LOOK_AGAIN
        )
    return (_pods_behind(live, port, field),)


def _pods_behind(live: Manifest, port: int, field: str) -> Peer:
    """The pods that a Service leads to.

    Raises:
        Refused: ``PeersNeeded``: it doesn't say which pods, or which of their ports.
    """
    namespace, service = live["metadata"]["namespace"], live["metadata"]["name"]
    selector = live["spec"].get("selector") or {}
    if not selector:
        raise Refused(
            "PeersNeeded",
            f"Service {namespace}/{service} ({field}) has no selector, so the pods behind it can't be named: "
            "set peers beside it.",
            LOOK_AGAIN,
        )
    targets = [p.get("targetPort", port) for p in live["spec"].get("ports", []) if p["port"] == port]
    if not targets or not all(isinstance(target, int) for target in targets):
        raise Refused(
            "PeersNeeded",
            f"Service {namespace}/{service} ({field}) has no port {port}, or leads to a port by its name: mend "
            "the Service, or set peers beside the host.",
            LOOK_AGAIN,
        )
    return Peer(
        namespace_labels={"kubernetes.io/metadata.name": namespace},
        pod_labels=selector,
        ports=tuple(targets),
    )


def _given(peer: SpecPeer, port: int, field: str) -> Peer:
    if peer.cidr is not None:
        return Peer(cidr=peer.cidr, ports=(port,))
    selectors = [s for s in (peer.namespace_selector, peer.pod_selector) if s is not None]
    if any(s.match_expressions for s in selectors):
        raise Refused(
            "NotSupported", f"peers of {field}: matchExpressions are not supported: use matchLabels."
        )
    return Peer(
        namespace_labels=peer.namespace_selector.match_labels if peer.namespace_selector else {},
        pod_labels=peer.pod_selector.match_labels if peer.pod_selector else {},
        ports=(port,),
    )
