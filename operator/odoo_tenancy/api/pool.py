"""``HostingPool``: what tenants share."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from odoo_tenancy.api.meta import ApiModel, ApiObject, Column, Definition, Status
from odoo_tenancy.api.rules import Rule, Schema
from odoo_tenancy.api.shared import (
    HostPort,
    Labels,
    NamespacedRef,
    NetworkSpec,
    Peers,
    QuotaSpec,
    SecretRef,
    ServerTls,
    Toleration,
)
from odoo_tenancy.api.types import (
    AccessMode,
    Amount,
    Count,
    HostName,
    ImageName,
    Namespace,
    ObjectName,
    Port,
    PositiveCount,
    Size,
)

ATOMIC = {"x-kubernetes-list-type": "atomic"}
EntryPoint = Annotated[str, Schema(maxLength=63)]


class Pooler(HostPort):
    """PgBouncer in session mode: transaction mode would break Odoo's LISTEN and NOTIFY."""

    port: Port = 6432
    """TCP port."""


class PostgresSpec(ApiModel):
    """The PostgreSQL server that the pool's tenants share."""

    host: HostName
    """Name or IPv4 address."""
    port: Port = 5432
    """TCP port."""
    admin_secret_ref: SecretRef
    """Secret in the operator's namespace with ``username`` and ``password``; CREATEDB and CREATEROLE are
    enough, no superuser."""
    tls: ServerTls = ServerTls()
    """How the server is trusted."""
    peers: Peers = ()
    """Where the host leads to; derived for a ``.svc`` name."""
    connection_budget: PositiveCount
    """Connections of all tenants' limits together, with what rotation, backups and read-only roles need. A
    tenant that doesn't fit stays Pending."""
    overcommit: Annotated[float, Schema(minimum=0.1, maximum=100)] = 1.0
    """Factor on the budget."""
    pooler: Pooler | None = None
    """A pooler for all that Odoo says to its database; ``tls`` counts for it too. Default: none."""
    read_replica: HostPort | None = None
    """A hot standby for ``readOnlyAccess``; ``tls`` counts for it too. Default: none."""


class PoolRedisSpec(ApiModel):
    """The Redis that the pool's tenants share."""

    host: HostName
    """Name or IPv4 address."""
    port: Port = 6379
    """TCP port."""
    admin_secret_ref: SecretRef
    """Secret in the operator's namespace with ``username`` and ``password``."""
    tls: ServerTls = ServerTls()
    """How the server is trusted."""
    memory_budget: Size = "2Gi"
    """Bytes of all tenants' ``maxMemory`` together."""
    peers: Peers = ()
    """Where the host leads to; derived for a ``.svc`` name."""


class IssuerRef(ApiModel):
    """An issuer of cert-manager."""

    kind: Literal["ClusterIssuer", "Issuer"] = "ClusterIssuer"
    """Kind of the issuer; an ``Issuer`` must be in the tenant's namespace."""
    name: ObjectName
    """Name of the issuer."""


class TraefikTls(ApiModel):
    """Where certificates come from."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.defaultStore) && self.defaultStore, has(self.certResolver), has(self.issuerRef)]"
            ".filter(given, given).size() == 1",
            "certificates come from one place: set exactly one of defaultStore (true), certResolver, "
            "issuerRef",
        ),
    )

    default_store: bool | None = None
    """Traefik's own default certificate."""
    cert_resolver: Annotated[str, Schema(maxLength=63, minLength=1)] | None = None
    """A certificate resolver of Traefik's static configuration."""
    issuer_ref: IssuerRef | None = None
    """cert-manager: a Certificate for each tenant."""


class TraefikSpec(ApiModel):
    """The Traefik that serves the pool's tenants."""

    namespace: Namespace = "traefik"
    """Where its pods are; they are let through to Odoo."""
    entry_points: Annotated[
        tuple[Annotated[str, Schema(maxLength=63, minLength=1)], ...],
        Schema(maxItems=8, minItems=1, **{"x-kubernetes-list-type": "set"}),
    ] = ("websecure",)
    """Entry points on which HTTPS is served."""
    redirect_entry_point: EntryPoint = "web"
    """Entry point on which HTTP is redirected to HTTPS; empty: none."""
    tls: TraefikTls = TraefikTls(default_store=True)
    """Where certificates come from."""
    tls_option_ref: NamespacedRef | None = None
    """A TLSOption with the versions and ciphers that are allowed; default: Traefik's."""
    middlewares: Annotated[tuple[NamespacedRef, ...], Schema(maxItems=16, **ATOMIC)] = ()
    """The platform's own middlewares, before ours."""
    trusted_proxy_depth: Annotated[int, Schema(minimum=0, maximum=16, format="int32")] = 0
    """Which X-Forwarded-For entry, counted from the right, is the client for allowFrom and rateLimit; 0: the
    address of the connection."""


class StorageSpec(ApiModel):
    """Defaults of the tenants' volumes."""

    storage_class_name: Annotated[str, Schema(maxLength=253)] = ""
    """StorageClass; empty: the cluster's default."""
    access_modes: Annotated[
        tuple[AccessMode, ...], Schema(maxItems=2, minItems=1, **{"x-kubernetes-list-type": "set"})
    ] = ("ReadWriteMany",)
    """As in a PersistentVolumeClaim."""


class ScratchSpec(ApiModel):
    """Volumes for restores, verification and drills."""

    storage_class_name: Annotated[str, Schema(maxLength=253)] = ""
    """StorageClass; empty: the cluster's default."""
    size: Size = "50Gi"
    """Bytes of one volume."""


class DrillsSpec(ApiModel):
    """How drills run in this pool."""

    max_concurrent: PositiveCount = 1
    """Drills at once."""
    postgres_images: Annotated[
        dict[str, ImageName],
        Schema(
            Rule(
                "self.all(major, major.matches('^[1-9][0-9]$'))",
                'keys are major versions of PostgreSQL, such as "17": mend the key',
            ),
            maxProperties=16,
        ),
    ] = Field(default_factory=dict)
    """PostgreSQL's image by major version; a drill restores with the version that was dumped."""


class PoolBackupsSpec(ApiModel):
    """How backups run in this pool."""

    max_concurrent: PositiveCount = 4
    """Backups at once, those that are verified again among them; as many restores may run beside them."""


class NodesSpec(ApiModel):
    """The nodes that tenants run on."""

    selector: Labels = Field(default_factory=dict)
    """Labels of the nodes; empty: every node."""
    tolerations: Annotated[tuple[Toleration, ...], Schema(maxItems=16, **ATOMIC)] = ()
    """Taints that the pods put up with."""


class HostingPoolSpec(ApiModel):
    """What tenants share, and how much of it there is."""

    namespace: Annotated[
        Namespace,
        Schema(
            Rule("self == oldSelf", "can't change after creation, tenants live in it: make a new HostingPool")
        ),
    ]
    """Where Shared tenants live together; the operator makes and owns it. Immutable."""
    quota: QuotaSpec = QuotaSpec()
    """The budget of that namespace."""
    max_tenants: PositiveCount = 200
    """Tenants at most; a further one stays Pending."""
    cordoned: bool = False
    """Whether new tenants are turned away; those that are there stay."""
    postgres: PostgresSpec
    """The shared PostgreSQL."""
    redis: PoolRedisSpec | None = None
    """The shared Redis; default: none."""
    traefik: TraefikSpec = TraefikSpec()
    """The Traefik in front."""
    storage: StorageSpec = StorageSpec()
    """Defaults of the tenants' volumes."""
    scratch: ScratchSpec = ScratchSpec()
    """Volumes for restores, verification and drills."""
    drills: DrillsSpec = DrillsSpec()
    """How drills run."""
    backups: PoolBackupsSpec = PoolBackupsSpec()
    """How backups run."""
    nodes: NodesSpec = NodesSpec()
    """Where tenants run."""
    network: NetworkSpec = NetworkSpec()
    """What every tenant of the pool may reach."""


class HostingPoolStatus(Status):
    """How much of the pool is taken."""

    tenants: Count | None = None
    """Tenants that are placed in it."""
    connections_reserved: Count | None = None
    """Connections of the budget that are spoken for."""
    redis_reserved_bytes: Amount | None = None
    """Bytes of the Redis budget that are spoken for."""


class HostingPool(ApiObject):
    """What tenants share: a PostgreSQL server, a Redis, a namespace, a Traefik, nodes, and the budgets of
    each."""

    definition: ClassVar[Definition] = Definition(
        plural="hostingpools",
        short_name="ohp",
        scope="Cluster",
        columns=(
            Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
            Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
            Column("Tenants", ".status.tenants", "integer"),
            Column("Max", ".spec.maxTenants", "integer"),
            Column("Connections", ".status.connectionsReserved", "integer"),
            Column("Budget", ".spec.postgres.connectionBudget", "integer"),
            Column("Cordoned", ".spec.cordoned", "boolean"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Namespace", ".spec.namespace", wide=True),
            Column("Message", '.status.conditions[?(@.type=="Ready")].message', wide=True),
        ),
    )

    kind: Literal["HostingPool"] = "HostingPool"
    spec: HostingPoolSpec
    """What is shared."""
    status: HostingPoolStatus = HostingPoolStatus()
    """How much of it is taken."""
