"""Pieces of a spec that more than one kind has: references, peers of a NetworkPolicy, TLS, object stores."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from odoo_tenancy.api.meta import ApiModel
from odoo_tenancy.api.rules import Rule, Schema
from odoo_tenancy.api.types import Cidr, HostName, Namespace, ObjectName, Port, Quantity, Url


class LocalRef(ApiModel):
    """An object beside this one, by name: in its own namespace, or of the cluster."""

    name: ObjectName
    """Name of the object."""


class SecretRef(ApiModel):
    """A Secret in the namespace of the object that refers to it (a pool's: in the operator's), and nowhere
    else."""

    name: ObjectName
    """Name of the Secret."""


class SecretSource(ApiModel):
    """Something that stands in a Secret."""

    secret_ref: SecretRef
    """The Secret."""


class NamespacedRef(ApiModel):
    """An object in a namespace that the platform team names."""

    namespace: Namespace
    """Namespace of the object."""
    name: ObjectName
    """Name of the object."""


_LABEL_KEY = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"

LabelKey = Annotated[
    str,
    Schema(
        Rule(
            f"self.matches('{_LABEL_KEY}')",
            "must be the name of a label, such as stage or example.com/stage",
        ),
        maxLength=317,
        minLength=1,
    ),
]
LabelValue = Annotated[
    str,
    Schema(
        Rule(
            "self.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$')",
            "must be the value of a label: letters, digits, '-', '_' and '.', at most 63",
        ),
        maxLength=63,
    ),
]
Labels = Annotated[
    dict[str, LabelValue],
    Schema(
        Rule(
            f"self.all(name, name.matches('{_LABEL_KEY}'))",
            "keys must be names of labels, such as stage or example.com/stage: mend the key",
        ),
        maxProperties=16,
    ),
]


class LabelExpression(ApiModel):
    """One requirement on a label."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
            "In and NotIn need values, Exists and DoesNotExist have none: add or remove values",
            field=".values",
        ),
    )

    key: LabelKey
    """Name of the label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label is compared."""
    values: Annotated[tuple[LabelValue, ...], Schema(maxItems=16, **{"x-kubernetes-list-type": "set"})] = ()
    """What it is compared with; only for In and NotIn."""


class LabelSelector(ApiModel):
    """A ``metav1.LabelSelector``: all of it must match; an empty one matches everything."""

    match_labels: Labels = Field(default_factory=dict)
    """Labels with their values."""
    match_expressions: Annotated[
        tuple[LabelExpression, ...], Schema(maxItems=8, **{"x-kubernetes-list-type": "atomic"})
    ] = ()
    """Requirements on labels."""


class Peer(ApiModel):
    """Where an address leads to, for a NetworkPolicy: a network, or pods by labels."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.cidr) != has(self.namespaceSelector)",
            "a peer is either cidr or namespaceSelector (with podSelector, if only some pods): set exactly "
            "one",
        ),
        Rule(
            "!has(self.podSelector) || has(self.namespaceSelector)",
            "needs namespaceSelector beside it: a peer is never in the tenant's own namespace",
            field=".podSelector",
        ),
    )

    cidr: Cidr | None = None
    """A network outside the cluster."""
    namespace_selector: LabelSelector | None = None
    """Namespaces inside the cluster."""
    pod_selector: LabelSelector | None = None
    """Pods in these namespaces; default: all."""


Peers = Annotated[tuple[Peer, ...], Schema(maxItems=16, **{"x-kubernetes-list-type": "atomic"})]


class EgressRule(ApiModel):
    """A network that tenants may reach beyond what they need to run."""

    cidr: Cidr
    """The network."""
    ports: Annotated[tuple[Port, ...], Schema(maxItems=16, **{"x-kubernetes-list-type": "set"})] = ()
    """TCP ports; empty: all."""


class NetworkSpec(ApiModel):
    """What is let through the default-deny policies, beyond DNS, Traefik, PostgreSQL and Redis."""

    egress: Annotated[
        tuple[EgressRule, ...], Schema(maxItems=32, **{"x-kubernetes-list-type": "atomic"})
    ] = ()
    """Networks that may be reached; empty: none."""


class ServerTls(ApiModel):
    """TLS towards a server, in libpq's words."""

    mode: Literal["disable", "require", "verify-ca", "verify-full"] = "verify-full"
    """``disable``: plain text; ``require``: encrypted, whoever answers; ``verify-ca``: the certificate is
    checked; ``verify-full``: and the host name in it."""
    ca_secret_ref: SecretRef | None = None
    """Secret with ``ca.crt``; default: the certificate authorities of the image."""


class HostPort(ApiModel):
    """A server's address."""

    host: HostName
    """Name or IPv4 address."""
    port: Port = 5432
    """TCP port."""
    peers: Peers = ()
    """Where the host leads to; derived for a ``.svc`` name."""


_Resources = Annotated[
    dict[str, Quantity],
    Schema(
        Rule(
            "self.all(name, name in ['cpu', 'memory', 'ephemeral-storage'])",
            "knows cpu, memory and ephemeral-storage: remove the others",
        ),
        maxProperties=3,
    ),
]


class ResourceRequirements(ApiModel):
    """Requests and limits of a container, as in a pod."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits) || "
            "quantity(string(self.requests[name])).compareTo(quantity(string(self.limits[name]))) <= 0)",
            "must be at most what limits says of the same resource: lower requests or raise limits",
            field=".requests",
        ),
    )

    requests: _Resources = Field(default_factory=dict)
    """What the scheduler sets aside: ``cpu`` in cores, ``memory`` and ``ephemeral-storage`` in bytes."""
    limits: _Resources = Field(default_factory=dict)
    """What the container is held to, in the same units."""


class QuotaSpec(ApiModel):
    """A budget for what runs for good; Jobs have one of their own."""

    cpu: Quantity | None = None
    """Sum of CPU limits, in cores; default: not limited."""
    memory: Quantity | None = None
    """Sum of memory limits, in bytes; default: not limited."""
    storage: Quantity | None = None
    """Sum of the volumes asked for, in bytes; default: not limited."""
    pods: Annotated[int, Schema(minimum=0, maximum=100_000, format="int32")] | None = None
    """Number of pods; default: not limited."""


class S3Store(ApiModel):
    """A bucket, and how to get at it."""

    endpoint: Url
    """URL of the S3 service."""
    bucket: Annotated[
        str,
        Schema(
            Rule(
                "self.matches('^[a-z0-9][-a-z0-9.]{1,61}[a-z0-9]$')",
                "must be the name of a bucket: 3 to 63 lower case letters, digits, '-' and '.'",
            ),
            maxLength=63,
        ),
    ]
    """Name of the bucket; it must exist."""
    prefix: Annotated[
        str,
        Schema(
            Rule(
                "self.matches('^([A-Za-z0-9_=-][A-Za-z0-9._=-]*(/[A-Za-z0-9_=-][A-Za-z0-9._=-]*)*)?$')",
                "must be a prefix such as eu or backups/eu, without a slash at either end",
            ),
            maxLength=253,
        ),
    ] = ""
    """Everything is kept below it; empty: at the bucket's top."""
    region: Annotated[str, Schema(maxLength=63, minLength=1)] = "us-east-1"
    """Region that requests are signed for."""
    credentials_secret_ref: SecretRef
    """Secret with ``access-key-id`` and ``secret-access-key``."""
    ca_secret_ref: SecretRef | None = None
    """Secret with ``ca.crt``; default: the certificate authorities of the image."""
    peers: Peers = ()
    """Where the endpoint leads to; derived for a ``.svc`` name."""


class Toleration(ApiModel):
    """A taint of nodes that pods put up with, as in a pod."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.operator != 'Exists' || !has(self.value) || self.value == ''",
            "must be empty with operator Exists: remove value, or use operator Equal",
            field=".value",
        ),
        Rule(
            "self.key != '' || self.operator == 'Exists'",
            "an empty key means every taint and goes with operator Exists only: name the taint, or use Exists",
            field=".key",
        ),
        Rule(
            "!has(self.tolerationSeconds) || self.effect == 'NoExecute'",
            "goes with effect NoExecute only: remove tolerationSeconds, or change effect",
            field=".tolerationSeconds",
        ),
    )

    key: Annotated[str, Schema(maxLength=317)] = ""
    """The taint's key; empty with operator Exists: every taint."""
    operator: Literal["Equal", "Exists"] = "Equal"
    """Whether the value counts."""
    value: LabelValue | None = None
    """The taint's value, with operator Equal."""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    """The taint's effect; empty: every effect."""
    toleration_seconds: Annotated[int, Schema(minimum=0, format="int64")] | None = None
    """Seconds that a pod stays on a node after a NoExecute taint; default: for good."""
