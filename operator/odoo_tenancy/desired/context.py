"""What the builders are given: everything that was read or looked up, so that they need not ask anybody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from odoo_tenancy.api.pool import HostingPool
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.desired.effective import Effective


@dataclass(frozen=True)
class Peer:
    """Somebody outside the namespace whom the tenant's pods may talk to, as a NetworkPolicy can say it.

    Either ``cidr``, or a selection of namespaces and of pods in them. No ``ports`` means all of them (TCP).
    """

    cidr: str = ""
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    pod_labels: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()


@dataclass(frozen=True)
class PoolFacts:
    """A pool and what was found out about it: the peers of ``.svc`` names come resolved, with their target
    ports."""

    pool: HostingPool
    postgres_peers: tuple[Peer, ...] = ()
    redis_peers: tuple[Peer, ...] = ()


@dataclass(frozen=True)
class Credentials:
    """What was generated for a tenant. Never shown: ``repr`` has no values."""

    database_password: str = field(repr=False)
    master_password: str = field(repr=False)
    admin_password: str = field(repr=False)


@dataclass(frozen=True)
class PullSecret:
    """A Secret of type ``kubernetes.io/dockerconfigjson`` beside the CR, to be copied to where the pods
    run."""

    name: str
    dockerconfigjson: bytes = field(repr=False)


@dataclass(frozen=True)
class TlsPair:
    """A customer's own certificate and key, PEM, as they stand in the Secret beside the CR."""

    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class TenantContext:
    """One tenant, its pool, and all that its manifests need."""

    tenant: OdooTenant
    pool: PoolFacts
    claim: str
    """32 hex digits; every name outside is built from it."""
    credentials: Credentials
    effective: Effective
    database_host: str
    database_port: int = 5432
    postgres_ca: str | None = None
    """PEM of the authority that PostgreSQL's certificate is checked against; ``None``: not checked, or the
    system's."""
    pull_secrets: tuple[PullSecret, ...] = ()
    extra_config: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The options of ``odoo.configFrom``'s Secret."""
    tls: TlsPair | None = None
    operator_namespace: str = "odoo-tenancy-system"

    @property
    def uid(self) -> str:
        return self.tenant.metadata.uid
