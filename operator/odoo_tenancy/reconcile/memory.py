"""What the operator remembers between two looks: small typed records, never bodies. A restart fills them anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from odoo_tenancy.api.errors import OperatorError
from odoo_tenancy.api.meta import Key
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.desired import names
from odoo_tenancy.desired.context import PoolFacts
from odoo_tenancy.services.postgres import Inventory, PostgresServer, TenantDatabase


@dataclass(frozen=True, slots=True)
class TenantRecord:
    """What other tenants of a pool must know of this one."""

    key: Key
    uid: str
    created: datetime
    pool: str
    claim: str
    hosts: tuple[str, ...]
    admitted: bool
    """It was let into its pool: it holds a place, and its connections are reserved."""
    connections: int
    """How many its status says were reserved: who was there before a restart is not turned away after it."""
    granted: tuple[str, ...]
    """The host names that are routed to it: nobody else gets them while it asks for them."""
    template: str
    """The template database that it is a clone of, or could be."""

    @property
    def seniority(self) -> tuple[datetime, str]:
        """Of two tenants that want the same host name, the lesser one has it."""
        return (self.created, self.uid)


class Tenants:
    """All tenants, by key, pool, host name and claim."""

    def __init__(self) -> None:
        self._records: dict[Key, TenantRecord] = {}
        self._by_pool: dict[str, set[Key]] = {}
        self._by_host: dict[str, set[Key]] = {}
        self._by_claim: dict[str, set[Key]] = {}
        self._reserved: dict[Key, int] = {}
        self._reserved_of: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._records)

    def get(self, key: Key) -> TenantRecord | None:
        """The record of a tenant, where it is known."""
        return self._records.get(key)

    def remember(self, record: TenantRecord) -> set[Key]:
        """Store a record; returns the other tenants whose host names it takes or gives up."""
        before = self._records.get(record.key)
        if before is not None and before.uid == record.uid and before.admitted:
            record = replace(record, admitted=True)
        if (
            before is not None and before.uid != record.uid
        ):  # another tenant of that name, which was not let in yet
            self._reserve(before, 0)
        if before == record:
            return set()
        touched = self._unlink(before) if before else set()
        if before is not None and before.pool != record.pool:
            held = self._reserved.get(record.key, 0)
            self._reserve(before, 0)  # of the one pool's sum
            self._reserve(record, held)
        self._records[record.key] = record
        if record.admitted:
            self._reserve(record, self._reserved.get(record.key, record.connections))
        self._by_pool.setdefault(record.pool, set()).add(record.key)
        for host in record.hosts:
            touched |= self._by_host.setdefault(host, set())
            self._by_host[host].add(record.key)
        if record.claim:
            self._by_claim.setdefault(record.claim, set()).add(record.key)
        hosts_changed = before is None or before.hosts != record.hosts
        return touched - {record.key} if hosts_changed else set()

    def forget(self, key: Key) -> set[Key]:
        """Drop a tenant; returns those that waited for one of its host names."""
        record = self._records.pop(key, None)
        if record is None:
            return set()
        self._reserve(record, 0)
        return self._unlink(record) - {key}

    def of_pool(self, pool: str) -> Iterator[TenantRecord]:
        """The tenants that name this pool."""
        return (self._records[key] for key in self._by_pool.get(pool, ()))

    def with_host(self, host: str) -> Iterator[TenantRecord]:
        """The tenants that ask for this host name."""
        return (self._records[key] for key in self._by_host.get(host, ()))

    def with_claim(self, claim: str) -> Iterator[TenantRecord]:
        """The tenants whose status names this claim: more than one means that somebody wrote a status by hand."""
        return (self._records[key] for key in self._by_claim.get(claim, ()))

    def admit(self, key: Key, connections: int) -> None:
        """Give a tenant its place, and hold this many PostgreSQL connections of the pool for it."""
        record = self._records[key] = replace(self._records[key], admitted=True)
        self._reserve(record, connections)

    def held(self, key: Key) -> int:
        """Connections that are reserved for a tenant already."""
        return self._reserved.get(key, 0)

    def grant(self, key: Key, hosts: tuple[str, ...]) -> None:
        """These host names are routed to the tenant from now on."""
        self._records[key] = replace(self._records[key], granted=hosts)

    def reserved(self, pool: str, but: Key | None = None) -> int:
        """Connections that the pool's tenants hold together."""
        record = self._records.get(but) if but is not None else None
        own = self._reserved.get(record.key, 0) if record is not None and record.pool == pool else 0
        return self._reserved_of[pool] - own

    def _reserve(self, record: TenantRecord, connections: int) -> None:
        """The pool's sum is kept, not reckoned: every look at every tenant asks for it."""
        self._reserved_of[record.pool] += connections - self._reserved.pop(record.key, 0)
        if connections:
            self._reserved[record.key] = connections
        if not self._reserved_of[record.pool]:
            del self._reserved_of[record.pool]

    def _unlink(self, record: TenantRecord) -> set[Key]:
        self._by_pool.get(record.pool, set()).discard(record.key)
        others: set[Key] = set()
        for host in record.hosts:
            keys = self._by_host.get(host, set())
            keys.discard(record.key)
            others |= keys
            if not keys:
                self._by_host.pop(host, None)
        if record.claim in self._by_claim:
            self._by_claim[record.claim].discard(record.key)
            if not self._by_claim[record.claim]:
                del self._by_claim[record.claim]
        return others


@dataclass
class PoolState:
    """A pool as it was last looked at."""

    facts: PoolFacts
    server: PostgresServer | None = None
    inventory: Inventory | None = None
    namespace_problem: OperatorError | None = None
    postgres_problem: OperatorError | None = None
    wanted: dict[Key, TenantDatabase] = field(default_factory=dict)
    """What each admitted tenant should have on the server: compared with the inventory once a resync."""
    making: dict[str, Key] = field(default_factory=dict)
    """By template: the tenant whose initialisation will become it; others of the combination wait for that."""
    images: dict[str, str] = field(default_factory=dict)
    """By template: the image, with its digest, that its clones were last seen to run."""
    failed: dict[str, datetime] = field(default_factory=dict)
    """By UID: when a Job was first seen to have failed."""
    postgres_ca: str | None = None
    """PEM of the authority of the server's certificate."""


class Pools:
    """All pools, by name."""

    def __init__(self) -> None:
        self._states: dict[str, PoolState] = {}

    def get(self, name: str) -> PoolState | None:
        """The pool, where it exists and was looked at."""
        return self._states.get(name)

    def remember(self, state: PoolState) -> None:
        """Store what a look at a pool found."""
        self._states[state.facts.pool.metadata.name] = state

    def forget(self, name: str) -> PoolState | None:
        """Drop a pool that is gone."""
        return self._states.pop(name, None)

    def __iter__(self) -> Iterator[PoolState]:
        return iter(self._states.values())


def record_of(tenant: OdooTenant, cluster_id: str) -> TenantRecord:
    """What is remembered of a tenant."""
    meta = tenant.metadata
    if meta.creation_timestamp is None:
        raise ValueError(f"OdooTenant {meta.namespace}/{meta.name} was not read from an API server")
    return TenantRecord(
        key=Key("OdooTenant", meta.namespace, meta.name),
        uid=meta.uid,
        created=meta.creation_timestamp,
        pool=tenant.spec.pool_ref.name,
        claim=tenant.status.claim,
        hosts=_distinct(host.lower() for host in tenant.spec.routing.hosts),
        admitted=bool(tenant.status.database.name),
        connections=tenant.status.effective.connection_limit or 0,
        granted=tenant.status.effective.hosts,
        template=template_of(tenant, cluster_id),
    )


def template_of(tenant: OdooTenant, cluster_id: str) -> str:
    """The template database of the tenant's combination of image, modules, languages and demo data.

    Its name begins with its pool's prefix: pools of one cluster, and clusters, may share a server, and each template
    has one pool that makes it and drops it.
    """
    odoo = tenant.spec.odoo
    key = names.template_key(odoo.image, odoo.modules, odoo.languages, odoo.demo)
    prefix = template_prefix(tenant.spec.pool_ref.name, cluster_id)
    return prefix + key[: len(key) - _POOL_PART]


def template_prefix(pool: str, cluster_id: str) -> str:
    """How the names of a pool's templates begin."""
    return names.template_database(names.digest(cluster_id, pool, length=_POOL_PART))


_POOL_PART = 12
"""Hex digits of a template's name that tell the pool."""


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(values)))
