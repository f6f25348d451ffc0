"""What is remembered of policies and of backups: enough to tell what is due, what runs and what can be recovered,
without reading anything. Filled by a watch, so that it is whole before the first decision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from sys import intern
from typing import Any, Protocol

from odoo_tenancy.api.backup import CLOCKS_DIFFER
from odoo_tenancy.api.errors import OperatorError
from odoo_tenancy.api.meta import GROUP, Key, Manifest
from odoo_tenancy.api.policy import BackupPolicy, BackupPolicySpec
from odoo_tenancy.api.types import duration_seconds
from odoo_tenancy.desired.context import Peer
from odoo_tenancy.desired.schedule import Cron, Plan
from odoo_tenancy.reconcile.backup_digest import Digest, digest_of
from odoo_tenancy.reconcile.report import Finding
from odoo_tenancy.services.object_store import Bucket, BucketAddress, Credentials

SCHEDULED_FOR = f"{GROUP}/scheduled-for"
"""Annotation of a TenantBackup that a policy made: the moment that its schedule names."""

_STARTED = frozenset({"Running", "Verifying"})
_FINISHED = frozenset({"Completed", "Failed"})


@dataclass(frozen=True, slots=True)
class BackupRecord:
    """A TenantBackup. Under a KB, with all that finds it: there may be tens of thousands."""

    key: Key
    uid: str
    version: int
    """resourceVersion: of two states the higher one is the later."""
    tenant: Key
    created: datetime
    phase: str
    slot: datetime | None
    recovery_point: datetime | None
    completed: datetime | None
    verified: bool
    """Found good when it was last checked."""
    checked: datetime | None
    reason: str
    """Why it failed; of one that was not found good, why not."""
    hold_due: bool = False
    """The store doesn't know yet what ``spec.hold`` says."""
    policy: str = ""
    """The BackupPolicy that it names; empty: its tenant's."""
    bucket: str = ""
    """In which it was stored; empty as long as nothing is, and where an earlier version stored it."""
    below: str = ""
    """All of its tenant's lies below this in the bucket; empty as long as nothing is stored."""

    @property
    def claim(self) -> str:
        """Of the tenant that was stored; empty as long as nothing is. A former tenant of the same name had another one."""
        return self.below.rpartition("/")[2]

    @property
    def finished(self) -> bool:
        """Nothing of it is left to do."""
        return self.phase in _FINISHED

    @property
    def recoverable(self) -> bool:
        """It counts: it is whole, and that was checked."""
        return self.phase == "Completed" and self.verified and self.recovery_point is not None

    def is_ahead(self, now: datetime) -> bool:
        """Its recovery point is yet to come: some clock is wrong, or somebody wrote it who would have it young for ever."""
        return self.recovery_point is not None and self.recovery_point > now + CLOCKS_DIFFER

    def counts(self, now: datetime) -> bool:
        """It is recoverable, and it can be told how old it is."""
        return self.recoverable and not self.is_ahead(now)


class Backups:
    """All TenantBackups by key and by tenant, and those that run by pool. What a look asks for is reckoned once for each
    change of one of a tenant's, so that a look costs the same however many there are."""

    def __init__(self) -> None:
        self._records: dict[Key, BackupRecord] = {}
        self._by_tenant: dict[Key, set[Key]] = {}
        self._running: dict[Key, str] = {}
        self._unfinished: dict[Key, None] = {}
        """In the order in which they were heard of."""
        self._digests: dict[Key, Digest] = {}
        self._last_slots: dict[Key, datetime | None] = {}
        """Both by tenant, until something of its backups changes."""
        self._changes: dict[Key, int] = {}
        """By tenant: which of all changes was the last one of its backups."""
        self._count = 0

    def __len__(self) -> int:
        return len(self._records)

    def get(self, key: Key) -> BackupRecord | None:
        """What is known of one that exists."""
        return self._records.get(key)

    def of_tenant(self, tenant: Key) -> Iterator[BackupRecord]:
        """A tenant's, in no order."""
        return (self._records[key] for key in self._by_tenant.get(tenant, ()))

    def with_claim(self, namespace: str, claim: str) -> tuple[BackupRecord, ...]:
        """Those of one namespace that a tenant of this claim stored, whatever it was called. Looks at all of them."""
        return tuple(
            record
            for record in self._records.values()
            if record.claim == claim and record.key.namespace == namespace
        )

    def unfinished(self) -> tuple[Key, ...]:
        """Those that something is left to do of."""
        return tuple(self._unfinished)

    def digest(self, tenant: Key, claim: str) -> Digest:
        """What a tenant's come to, but for those of a former tenant of its name."""
        known = self._digests.get(tenant)
        if known is None or known.claim != claim:
            own = (record for record in self.of_tenant(tenant) if record.claim in ("", claim))
            known = self._digests[tenant] = digest_of(claim, own)
        return known

    def saw(self, event_type: str, body: Manifest) -> Key | None:
        """Take in an event, or the answer to a write; its key where it is worth a look: what our own writes explain, and
        what is finished, is not."""
        record = record_of(body)
        known = self._records.get(record.key)
        if known is not None and known.uid == record.uid and record.version <= known.version:
            return None
        if event_type == "DELETED":
            return record.key if self._forget(record.key, record.uid) else None
        if known is not None and known.uid != record.uid:
            self._forget(known.key, known.uid)
        self._records[record.key] = record
        self._by_tenant.setdefault(record.tenant, set()).add(record.key)
        self._changed(record.tenant)
        if record.finished:
            self._unfinished.pop(record.key, None)
            self._running.pop(record.key, None)
        else:
            self._unfinished.setdefault(record.key)
        if record.phase in _STARTED:
            self._running.setdefault(record.key, "")
        return None if record.finished and not record.hold_due else record.key

    def listed(self, uids: frozenset[str]) -> tuple[Key, ...]:
        """Take in which exist; those that went while no watch ran."""
        gone = [record for record in self._records.values() if record.uid not in uids]
        for record in gone:
            self._forget(record.key, record.uid)
        return tuple(record.key for record in gone)

    def begin(self, key: Key, pool: str) -> None:
        """It runs from now on, and counts against its pool. No await between the question and this."""
        self._running[key] = pool

    def end(self, key: Key) -> None:
        """It runs no longer."""
        self._running.pop(key, None)

    def running(self, but: Key) -> tuple[tuple[Key, str], ...]:
        """Those that run, with their pools; empty: the operator started since, and has not looked at it again."""
        return tuple((key, pool) for key, pool in self._running.items() if key != but)

    def last_slot(self, tenant: Key) -> datetime | None:
        """The last turn of the tenant's schedule that was taken."""
        if tenant not in self._last_slots:
            slots = (record.slot for record in self.of_tenant(tenant) if record.slot is not None)
            self._last_slots[tenant] = max(slots, default=None)
        return self._last_slots[tenant]

    def changes(self, tenant: Key) -> int:
        """A number that is another one as soon as anything of a tenant's has changed."""
        return self._changes.get(tenant, 0)

    def _changed(self, tenant: Key) -> None:
        self._count += 1
        self._changes[tenant] = self._count
        self._digests.pop(tenant, None)
        self._last_slots.pop(tenant, None)

    def _forget(self, key: Key, uid: str) -> bool:
        record = self._records.get(key)
        if record is None or record.uid != uid:
            return False
        del self._records[key]
        self._changed(record.tenant)
        self._unfinished.pop(key, None)
        self._running.pop(key, None)
        keys = self._by_tenant.get(record.tenant, set())
        keys.discard(key)
        if not keys:
            self._by_tenant.pop(record.tenant, None)
            self._changes.pop(record.tenant, None)
        return True


def record_of(body: Manifest) -> BackupRecord:
    """Read by hand: of tens of thousands at a start, a model of each would take seconds."""
    metadata, spec, status = body["metadata"], body["spec"], body.get("status") or {}
    check = status.get("verification") or {}
    version, namespace = metadata.get("resourceVersion", ""), intern(metadata["namespace"])
    annotations: Mapping[str, Any] = metadata.get("annotations") or {}
    stored: Mapping[str, Any] = status.get("manifest") or {}
    manifest_key = stored.get("key") or ""
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    held = conditions.get("Held", {}).get("status") == "True"
    return BackupRecord(
        key=Key("TenantBackup", namespace, metadata["name"]),
        uid=metadata["uid"],
        version=int(version) if version.isdigit() else 0,
        tenant=Key("OdooTenant", namespace, intern(spec["tenantRef"]["name"])),
        created=_moment(metadata.get("creationTimestamp")) or datetime.now(UTC),
        phase=intern(status.get("phase") or "Pending"),
        slot=_moment(annotations.get(SCHEDULED_FOR)),
        recovery_point=_moment(status.get("recoveryPoint")),
        completed=_moment(status.get("completionTime")),
        verified=check.get("result") == "Passed",
        checked=_moment(check.get("checkedAt")),
        reason=intern(conditions.get("Ready", {}).get("reason", "")),
        hold_due=status.get("phase") == "Completed" and bool(manifest_key) and bool(spec.get("hold")) != held,
        policy=intern((spec.get("policyRef") or {}).get("name") or ""),
        bucket=intern(stored.get("bucket") or ""),
        below=intern(_below(manifest_key)),
    )


def _below(manifest_key: str) -> str:
    """Of ``<prefix>/<claim>/manifests/<name>.json`` what comes before ``/manifests``."""
    return manifest_key.rpartition("/")[0].rpartition("/")[0]


def _moment(text: object) -> datetime | None:
    """``None`` also for what a person wrote and nobody can read."""
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """A policy's bucket: as whom, how it is trusted, and where it is."""

    key_id: str
    secret_key: str = field(repr=False)
    ca: str | None = field(repr=False)
    """PEM; ``None``: the authorities of the image."""
    peers: tuple[Peer, ...]


@dataclass(frozen=True, slots=True)
class PolicyState:
    """A policy as it was last looked at."""

    policy: BackupPolicy
    store: StoreAccess | None = None
    recovery_keys: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    """Ids with keys."""
    derived: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Where the keys are not at hand: by id, what they open one tenant's repository by. See ``kept_policy.py``."""
    login: Credentials | None = field(default=None, repr=False)
    """Where a tenant's own Secret is gone: what its Jobs last got at the store with. See ``kept_policy.py``."""
    problem: OperatorError | None = None
    """Why nobody can be backed up by it."""
    checked: float | None = None
    """When its Secrets and its bucket were last looked at and found right, in seconds of a clock that never goes back."""
    findings: Mapping[str, Finding] = field(default_factory=dict)
    """What was said of them then."""

    @property
    def plan(self) -> Plan:
        """Its schedule."""
        spec = self.policy.spec
        return Plan(
            Cron(spec.schedule, spec.time_zone),
            None if spec.jitter is None else timedelta(seconds=duration_seconds(spec.jitter)),
            timedelta(seconds=duration_seconds(spec.starting_deadline)),
        )


@dataclass
class CataloguePass:
    """How far a policy's store was gone through for backups without an object."""

    spec: BackupPolicySpec
    """Of the policy that it was begun for."""
    due: float
    """When the next one begins, in seconds of a clock that never goes back."""
    claims: list[str] = field(default_factory=list)
    """Those that are still to be looked at in this one."""
    passed_by: set[str] = field(default_factory=set)
    """Claims of another namespace, and keys of what can't be read: they are not read again."""


class Policies:
    """The policies that were looked at, by key."""

    def __init__(self) -> None:
        self._states: dict[Key, PolicyState] = {}
        self.changes = 0
        """How often a policy came, went, or named another store."""

    def get(self, namespace: str, name: str) -> PolicyState | None:
        """The policy of that name beside an object."""
        return self._states.get(Key("BackupPolicy", namespace, name))

    def remember(self, state: PolicyState) -> PolicyState | None:
        """Store it; what was known before."""
        before = self._states.get(state.policy.key)
        if before is None or before.policy.spec.store != state.policy.spec.store:
            self.changes += 1
        self._states[state.policy.key] = state
        return before

    def forget(self, key: Key) -> None:
        """It is gone."""
        self.changes += 1
        self._states.pop(key, None)


class ConnectBucket(Protocol):
    """Makes the client of a bucket; nothing is connected before it is first used."""

    def __call__(self, address: BucketAddress) -> Bucket: ...


class Buckets:
    """The clients of the policies' buckets."""

    def __init__(self, connect: ConnectBucket) -> None:
        self._connect = connect
        self._buckets: dict[Key, Bucket] = {}

    def of(self, policy: Key, address: BucketAddress) -> Bucket:
        """A policy's; a new one where its address or its credentials changed."""
        known = self._buckets.get(policy)
        if known is None or known.address != address:
            self.forget(policy)
            known = self._buckets[policy] = self._connect(address)
        return known

    def forget(self, policy: Key) -> None:
        """The policy is gone, or its bucket is another one."""
        known = self._buckets.pop(policy, None)
        if known is not None:
            known.close()

    def close(self) -> None:
        """At the end of the operator."""
        for policy in tuple(self._buckets):
            self.forget(policy)
