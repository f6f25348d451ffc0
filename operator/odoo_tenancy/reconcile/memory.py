"""What the operator remembers between two looks: small typed records, never bodies. A restart fills them anew."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from odoo_tenancy.api.errors import OperatorError
from odoo_tenancy.api.meta import Key
from odoo_tenancy.api.pool import HostingPool
from odoo_tenancy.api.tenant import EffectiveSpec, OdooTenant
from odoo_tenancy.desired import names
from odoo_tenancy.desired.context import PoolFacts
from odoo_tenancy.reconcile.fronts import Fronts
from odoo_tenancy.reconcile.server_state import ServerState
from odoo_tenancy.services.redis import DedicatedUser, QuotaState, RedisServer, TenantUser
from odoo_tenancy.services.redis import Inventory as RedisInventory


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a tenant holds of its pool's budgets."""

    connections: int = 0
    """To PostgreSQL."""
    redis_bytes: int = 0

    def __add__(self, other: Reservation) -> Reservation:
        return Reservation(self.connections + other.connections, self.redis_bytes + other.redis_bytes)

    def __sub__(self, other: Reservation) -> Reservation:
        return Reservation(self.connections - other.connections, self.redis_bytes - other.redis_bytes)


NOTHING = Reservation()


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
    reservation: Reservation
    """What its status says was reserved: who was there before a restart is not turned away after it."""
    granted: tuple[str, ...]
    """The host names that are routed to it: nobody else gets them while it asks for them."""
    template: str
    """The template database that it is a clone of, or could be; empty where its server is its own."""
    policy: str = ""
    """The BackupPolicy beside it that it names."""
    going: bool = False
    """It is being deleted."""
    maintained: datetime | None = None
    """When the last maintenance of its repository began that ended well, as its status has it."""

    @property
    def begun(self) -> bool:
        """It has a place and an identity: what is not taken over yet has nothing to be looked after."""
        return self.admitted and bool(self.claim)

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
        self._by_policy: dict[tuple[str, str], set[Key]] = {}
        self._reserved: dict[Key, Reservation] = {}
        self._reserved_of: dict[str, Reservation] = {}
        self._sizes: dict[str, Counter[int]] = {}
        """By pool: how many tenants hold so many connections. There are few sizes."""

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
            self._reserve(before, NOTHING)
        if before == record:
            return set()
        touched = self._unlink(before) if before else set()
        if before is not None and before.pool != record.pool:
            held = self._reserved.get(record.key, NOTHING)
            self._reserve(before, NOTHING)  # of the one pool's sum
            self._reserve(record, held)
        self._records[record.key] = record
        if record.admitted:
            self._reserve(record, self._reserved.get(record.key, record.reservation))
        self._by_pool.setdefault(record.pool, set()).add(record.key)
        for host in record.hosts:
            touched |= self._by_host.setdefault(host, set())
            self._by_host[host].add(record.key)
        if record.claim:
            self._by_claim.setdefault(record.claim, set()).add(record.key)
        if record.policy:
            self._by_policy.setdefault((record.key.namespace, record.policy), set()).add(record.key)
        hosts_changed = before is None or before.hosts != record.hosts
        return touched - {record.key} if hosts_changed else set()

    def forget(self, key: Key) -> set[Key]:
        """Drop a tenant; returns those that waited for one of its host names."""
        record = self._records.pop(key, None)
        if record is None:
            return set()
        self._reserve(record, NOTHING)
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

    def of_policy(self, namespace: str, policy: str) -> Iterator[TenantRecord]:
        """The tenants that name this BackupPolicy."""
        return (self._records[key] for key in self._by_policy.get((namespace, policy), ()))

    def admit(self, key: Key, reservation: Reservation) -> None:
        """Give a tenant its place, and hold this much of the pool for it."""
        record = self._records[key] = replace(self._records[key], admitted=True)
        self._reserve(record, reservation)

    def held(self, key: Key) -> Reservation:
        """What is reserved for a tenant already."""
        return self._reserved.get(key, NOTHING)

    def grant(self, key: Key, hosts: tuple[str, ...]) -> None:
        """These host names are routed to the tenant from now on."""
        self._records[key] = replace(self._records[key], granted=hosts)

    def reserved(self, pool: str, but: Key | None = None) -> Reservation:
        """What the pool's tenants hold together."""
        record = self._records.get(but) if but is not None else None
        own = self.held(record.key) if record is not None and record.pool == pool else NOTHING
        return self._reserved_of.get(pool, NOTHING) - own

    def largest(self, pool: str, but: Key) -> int:
        """The most connections that another tenant of the pool holds."""
        record, own = self._records.get(but), self.held(but).connections
        alone = 1 if record is not None and record.pool == pool else 0
        sizes = self._sizes.get(pool, Counter())
        return max(
            (size for size, count in sizes.items() if count > (alone if size == own else 0)), default=0
        )

    def _reserve(self, record: TenantRecord, reservation: Reservation) -> None:
        """The pool's sum is kept, not reckoned: every look at every tenant asks for it."""
        former = self._reserved.pop(record.key, NOTHING)
        after = self._reserved_of.get(record.pool, NOTHING) - former + reservation
        self._count(record.pool, former.connections, reservation.connections)
        if reservation != NOTHING:
            self._reserved[record.key] = reservation
        if after == NOTHING:
            self._reserved_of.pop(record.pool, None)
        else:
            self._reserved_of[record.pool] = after

    def _count(self, pool: str, former: int, connections: int) -> None:
        sizes = self._sizes.setdefault(pool, Counter())
        sizes.update({former: -1} if former else {})
        sizes.update({connections: 1} if connections else {})
        if former and not sizes[former]:
            del sizes[former]
        if not sizes:
            del self._sizes[pool]

    def _unlink(self, record: TenantRecord) -> set[Key]:
        self._by_pool.get(record.pool, set()).discard(record.key)
        backed_up_by = (record.key.namespace, record.policy)
        self._by_policy.get(backed_up_by, set()).discard(record.key)
        if not self._by_policy.get(backed_up_by):
            self._by_policy.pop(backed_up_by, None)
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
class PoolRedis:
    """A pool's Redis as it was last looked at."""

    server: RedisServer | None = None
    inventory: RedisInventory | None = None
    problem: OperatorError | None = None
    ca: str | None = None
    """PEM of the authority of the server's certificate."""
    wanted: dict[Key, TenantUser] = field(default_factory=dict)
    """The user that each tenant should have: compared with the inventory once a resync."""
    limits: dict[Key, int] = field(default_factory=dict)
    """Bytes that each tenant may use."""
    told: dict[Key, int] = field(default_factory=dict)
    """Bytes that each tenant uses, as its status says."""
    quota: QuotaState = field(default_factory=QuotaState)
    measuring: asyncio.Task[None] | None = None

    def forget(self, tenant: Key) -> None:
        """Want nothing any more of a tenant that goes."""
        for known in (self.wanted, self.limits, self.told):
            known.pop(tenant, None)


@dataclass(frozen=True, slots=True)
class OwnRedis:
    """A Redis of a tenant's own as it was last left."""

    user: DedicatedUser
    run_id: str
    """What differs later from what was left, without a start in between, somebody changed."""


@dataclass
class PoolState:
    """A pool as it was last looked at."""

    facts: PoolFacts
    postgres: ServerState
    """Its tenants' PostgreSQL, but for those that have one of their own."""
    namespace_problem: OperatorError | None = None
    failed: dict[str, datetime] = field(default_factory=dict)
    """By UID: when a Job was first seen to have failed."""
    fronts: Fronts = field(default_factory=Fronts)
    """Its PgBouncer and its replica."""
    redis: PoolRedis | None = None
    """``None``: the pool has none."""

    @classmethod
    def of(cls, pool: HostingPool) -> PoolState:
        """A pool that was not looked at yet."""
        return cls(PoolFacts(pool), ServerState(pool.key, pool.metadata.name))

    def forget(self, tenant: Key) -> None:
        """Want nothing any more of a tenant that goes."""
        self.postgres.forget(tenant)
        if self.redis is not None:
            self.redis.forget(tenant)


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
        reservation=_reserved_before(tenant.status.effective),
        granted=tenant.status.effective.hosts,
        template=template_of(tenant, cluster_id) if _is_on_pool(tenant) else "",
        policy=tenant.spec.backup.policy_ref.name if tenant.spec.backup is not None else "",
        going=meta.deletion_timestamp is not None,
        maintained=tenant.status.backup.last_maintained,
    )


def _reserved_before(status: EffectiveSpec) -> Reservation:
    on_pool = status.database_placement in (None, "Pool")
    connections = (status.connection_limit or 0) + (status.read_only_connections or 0) if on_pool else 0
    return Reservation(connections, status.redis_max_bytes or 0)


def _is_on_pool(tenant: OdooTenant) -> bool:
    return tenant.spec.database.placement in (None, "Pool")


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
