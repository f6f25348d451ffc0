"""A PostgreSQL of a Dedicated tenant's own: a CloudNativePG ``Cluster`` in ``<namespace>-data``, beside its pods.

What is said here of CloudNativePG was tried with 1.28 on the local cluster; the fields are described at
https://cloudnative-pg.io/documentation/current/cloudnative-pg.v1/.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.api.shared import Peer as SpecPeer
from odoo_tenancy.api.tenant import DedicatedDatabase, OdooTenant
from odoo_tenancy.api.types import parse_quantity
from odoo_tenancy.desired import labels, names, namespace, network, pods
from odoo_tenancy.desired.budget import own_server_need
from odoo_tenancy.desired.context import Peer, TenantContext
from odoo_tenancy.desired.effective import Resources

API_VERSION = "postgresql.cnpg.io/v1"
NAME = "postgres"
"""Of the Cluster, and of the policy around it."""
ADMIN_SECRET = f"{NAME}-admin"
AUTHORITY = f"{NAME}-ca"
"""The Secret that CloudNativePG makes; it holds the authority's key too, which is nobody else's business."""
ADMIN = "odoo_admin"
PORT = 5432
TLS = "verify-full"
_STATUS_PORT = 8000
"""Where CloudNativePG, and its instances among themselves, ask an instance how it is."""
_PODS = {"cnpg.io/cluster": NAME}
_MEBI = 1024**2

_RESERVED = 10
"""Connections beyond the tenant's: three for superusers, and what CloudNativePG holds itself."""
_STEP = 50
"""``max_connections`` is a multiple of it: each change of it restarts the instances."""

RESOURCES: Mapping[str, Resources] = {
    "Sandbox": Resources("50m", "512Mi", "1", "512Mi"),
    "Standard": Resources("100m", "1Gi", "2", "1Gi"),
    "Business": Resources("250m", "2Gi", "2", "2Gi"),
    "Critical": Resources("500m", "4Gi", "4", "4Gi"),
}
"""Of each instance, by tier. Memory is requested whole: PostgreSQL's share of it is taken for good."""


@dataclass(frozen=True)
class DedicatedPostgres:
    """What was chosen, generated and looked up for it."""

    password: str = field(repr=False)
    """The admin's."""
    image: str
    """Empty: CloudNativePG's default."""
    operator_namespace: str
    """CloudNativePG's."""
    api_server: tuple[Peer, ...]
    """Each instance tells the API server how it is, and asks it who is primary."""


def data_namespace(tenant: OdooTenant, pool_namespace: str) -> str:
    """Where it is."""
    return names.data_namespace(tenant, pool_namespace)


def host(where: str) -> str:
    """What leads to the primary, whichever it is, and is a name in its certificate. ``where``: the namespace."""
    return f"{NAME}-rw.{where}.svc"


def peer(where: str) -> Peer:
    """Its pods, for the policy of those who use it."""
    return Peer(namespace_labels={"kubernetes.io/metadata.name": where}, pod_labels=_PODS, ports=(PORT,))


def settings(tenant: OdooTenant) -> DedicatedDatabase:
    """Its size, as asked for or by default."""
    return tenant.spec.database.dedicated or DedicatedDatabase()


def build(ctx: TenantContext, postgres: DedicatedPostgres) -> list[Manifest]:
    """The admin's login, the policy, and last the Cluster."""
    return [_secret(ctx, postgres), _policy(ctx, postgres), _cluster(ctx, postgres)]


def retained() -> tuple[tuple[str, str, str], ...]:
    """``(apiVersion, kind, name)`` of all in the data namespace that must stay for the Cluster to stay as it is."""
    return (
        (API_VERSION, "Cluster", NAME),
        ("v1", "Secret", ADMIN_SECRET),
        ("v1", "ServiceAccount", namespace.SERVICE_ACCOUNT),
        ("v1", "LimitRange", "odoo"),
        ("v1", "ResourceQuota", "odoo-objects"),
        ("networking.k8s.io/v1", "NetworkPolicy", NAME),
        ("networking.k8s.io/v1", "NetworkPolicy", "default-deny"),
    )


def _where(ctx: TenantContext) -> str:
    return data_namespace(ctx.tenant, ctx.pool.pool.spec.namespace)


def _marks(ctx: TenantContext) -> dict[str, str]:
    return labels.for_tenant(ctx.tenant, NAME)


def _secret(ctx: TenantContext, postgres: DedicatedPostgres) -> Manifest:
    """By that one label CloudNativePG sees a change of it at once."""
    data = {
        "username": b64encode(ADMIN.encode()).decode(),
        "password": b64encode(postgres.password.encode()).decode(),
    }
    marks = {**_marks(ctx), "cnpg.io/reload": "true"}
    return labels.manifest(
        "v1", "Secret", ADMIN_SECRET, _where(ctx), marks, type="kubernetes.io/basic-auth", data=data
    )


def _policy(ctx: TenantContext, postgres: DedicatedPostgres) -> Manifest:
    """In: the tenant's pods, its readers and this operator, to PostgreSQL and nothing else; CloudNativePG to what tells
    how an instance is. Out: its other instances, names, and the API server."""
    between = [{"port": PORT, "protocol": "TCP"}, {"port": _STATUS_PORT, "protocol": "TCP"}]
    itself = {"podSelector": {"matchLabels": dict(_PODS)}}
    spec: Manifest = {
        "podSelector": {"matchLabels": dict(_PODS)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"from": [itself], "ports": between},
            {
                "from": [_pods_of(postgres.operator_namespace, {"app.kubernetes.io/name": "cloudnative-pg"})],
                "ports": between[1:],
            },
            {"from": _clients(ctx), "ports": between[:1]},
        ],
        "egress": [
            {"to": [itself], "ports": between},
            network.dns(),
            *network.to_peers(postgres.api_server),
        ],
    }
    return labels.manifest("networking.k8s.io/v1", "NetworkPolicy", NAME, _where(ctx), _marks(ctx), spec=spec)


def _clients(ctx: TenantContext) -> list[Manifest]:
    operator = {labels.NAME: "odoo-tenancy-operator"}
    return [
        _pods_of(namespace.of(ctx), labels.of_tenant(ctx.uid)),
        _pods_of(ctx.operator_namespace, operator),
        *_readers(ctx),
    ]


def _readers(ctx: TenantContext) -> list[Manifest]:
    """Whom ``readOnlyAccess.peers`` names: this server is the tenant's own to open."""
    access = ctx.tenant.spec.database.read_only_access
    return [_reader(each) for each in access.peers] if access.enabled else []


def _reader(each: SpecPeer) -> Manifest:
    if each.cidr is not None:
        return {"ipBlock": {"cidr": each.cidr}}
    selectors = {"namespaceSelector": each.namespace_selector, "podSelector": each.pod_selector}
    return {
        name: selector.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        for name, selector in selectors.items()
        if selector is not None
    }


def _pods_of(where: str, pod_labels: Mapping[str, str]) -> Manifest:
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": where}},
        "podSelector": {"matchLabels": dict(pod_labels)},
    }


def _cluster(ctx: TenantContext, postgres: DedicatedPostgres) -> Manifest:
    asked, resources = settings(ctx.tenant), RESOURCES[ctx.tenant.spec.tier]
    storage = {"size": asked.storage}
    if class_name := ctx.pool.pool.spec.storage.storage_class_name:
        storage["storageClass"] = class_name
    # Not one of CloudNativePG's managed roles: it would take the memberships from it that PostgreSQL gives to whoever
    # makes a role. The password follows the Secret all the same, as that of every owner does.
    rights = f"ALTER ROLE {ADMIN} CREATEDB CREATEROLE"
    initdb = {"database": "app", "owner": ADMIN, "secret": {"name": ADMIN_SECRET}}
    spec: Manifest = {
        "instances": asked.instances,
        "enableSuperuserAccess": False,
        "storage": storage,
        "resources": resources.manifest(),
        "bootstrap": {"initdb": {**initdb, "postInitApplicationSQL": [rights]}},
        "affinity": _affinity(ctx),
        "postgresql": {
            "parameters": parameters(ctx),
            "pg_hba": ["hostnossl all all all reject"],
            **_synchronous(asked.instances),
        },
        # Odoo's sessions never end by themselves: to wait for them is to wait in vain.
        "smartShutdownTimeout": 1,
        "stopDelay": 30,
        "switchoverDelay": 30,
    }
    if postgres.image:
        spec["imageName"] = postgres.image
    marks = {**_marks(ctx), labels.CLAIM: ctx.claim}
    return labels.manifest(API_VERSION, "Cluster", NAME, _where(ctx), marks, spec=spec)


def _synchronous(instances: int) -> Manifest:
    """A commit is acknowledged when one standby has it too, so that a failover loses none.

    With three and more there is another standby when one is away. With two, the only one being away would stop all
    writing: then the primary goes on alone until it is back.
    """
    if instances < 2:
        return {}
    durability = "required" if instances > 2 else "preferred"
    return {"synchronous": {"method": "any", "number": 1, "dataDurability": durability}}


def _affinity(ctx: TenantContext) -> Manifest:
    """On nodes apart, where there are as many."""
    return {
        "enablePodAntiAffinity": True,
        "podAntiAffinityType": "preferred",
        "topologyKey": "kubernetes.io/hostname",
        **pods.nodes(ctx),
    }


def parameters(ctx: TenantContext) -> dict[str, str]:
    """Of ``postgresql.conf``, from an instance's memory, as its documentation advises
    (https://www.postgresql.org/docs/current/runtime-config-resource.html): a quarter for shared buffers, the rest mostly
    the kernel's cache."""
    memory = int(parse_quantity(RESOURCES[ctx.tenant.spec.tier].memory_limit)) // _MEBI
    need = own_server_need(ctx.effective).total + _RESERVED
    most = -(-need // _STEP) * _STEP
    shared = memory // 4
    # Half of what is left, should every connection sort something at once; a sort may take it several times.
    work = max(1, (memory - shared) // 2 // most)
    return {
        "effective_cache_size": f"{memory * 3 // 4}MB",
        "maintenance_work_mem": f"{max(32, memory // 16)}MB",
        "max_connections": str(most),
        "shared_buffers": f"{shared}MB",
        "work_mem": f"{work}MB",
    }
