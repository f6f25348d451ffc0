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
class Endpoint:
    """An address beside the server's own, and where it leads to."""

    host: str
    port: int
    peers: tuple[Peer, ...] = ()


@dataclass(frozen=True)
class PoolFacts:
    """A pool and what was found out about it: the peers of ``.svc`` names come resolved, with their target
    ports."""

    pool: HostingPool
    postgres_peers: tuple[Peer, ...] = ()
    redis_peers: tuple[Peer, ...] = ()
    pooler: Endpoint | None = None
    """The PgBouncer that answered; ``None``: none did until now, or there is none."""
    replica_peers: tuple[Peer, ...] = ()


@dataclass(frozen=True)
class Credentials:
    """What was generated for a tenant. Never shown: ``repr`` has no values."""

    database_password: str = field(repr=False)
    master_password: str = field(repr=False)
    admin_password: str = field(repr=False)
    redis_password: str = field(repr=False)
    backup_password: str = field(default="", repr=False)
    read_only_password: str = field(default="", repr=False)
    repository_password: str = field(default="", repr=False)
    """The tenant's own key to its backups. It never rotates: it opens what was written before, too."""
    login_slot: str = "a"
    """Which of the two login roles has ``database_password`` and is Odoo's: it changes with each rotation."""


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
class RedisAccess:
    """A Redis, and the tenant's user on it."""

    host: str
    port: int
    tls: str
    """In libpq's words, as a pool has it."""
    ca: str | None
    """PEM of the authority that its certificate is checked against; ``None``: not checked, or the system's."""
    username: str
    prefix: str
    """Of the tenant's keys and channels, with its delimiter."""
    peers: tuple[Peer, ...] = ()
    """The server, for the policy of the tenant's pods."""


@dataclass(frozen=True)
class OwnServer:
    """A PostgreSQL of the tenant's own."""

    host: str
    port: int
    tls: str
    """In libpq's words."""
    peers: tuple[Peer, ...] = ()
    """The server, for the policy of the tenant's pods."""


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
    """Of the server itself."""
    pooler: Endpoint | None = None
    """The PgBouncer through which Odoo connects; ``None``: straight."""
    replica: Endpoint | None = None
    """Where ``readOnlyAccess`` reads; ``None``: on the server itself."""
    postgres_ca: str | None = None
    """PEM of the authority that PostgreSQL's certificate is checked against; ``None``: not checked, or the
    system's."""
    pull_secrets: tuple[PullSecret, ...] = ()
    extra_config: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The options of ``odoo.configFrom``'s Secret."""
    tls: TlsPair | None = None
    redis: RedisAccess | None = None
    """``None``: sessions are files on the filestore's volume."""
    addon_image: str = ""
    """The operator's own image, from which Odoo's pods take the addon."""
    operator_namespace: str = "odoo-tenancy-system"
    own_server: OwnServer | None = None
    """``None``: its database is on the pool's server."""

    @property
    def odoo_connects_to(self) -> tuple[str, int]:
        """Host and port for the tenant's pods."""
        if self.pooler is not None:
            return self.pooler.host, self.pooler.port
        return self.database_host, self.database_port

    @property
    def uid(self) -> str:
        return self.tenant.metadata.uid

    @property
    def database_tls(self) -> str:
        """How the server of its database is trusted, in libpq's words."""
        return self.own_server.tls if self.own_server else self.pool.pool.spec.postgres.tls.mode

    @property
    def database_peers(self) -> tuple[Peer, ...]:
        """Where that server is."""
        return self.own_server.peers if self.own_server else self.pool.postgres_peers
