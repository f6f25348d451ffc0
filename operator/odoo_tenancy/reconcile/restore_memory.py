"""What is remembered of TenantRestores: which of them has a tenant in its hands, and how far tenant and restore have
answered each other. Filled by a watch, so that it is whole before the first decision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from sys import intern

from odoo_tenancy.api.meta import Key, Manifest

_FINISHED = frozenset({"Completed", "Failed", "Expired"})
TURN = "PoolBusy"
"""Reason of one that waits for its turn and for nothing else."""
_STOPPED = frozenset({"Stopping", "Swapping", "GoingBack"})
"""Steps in which nothing of the tenant's may run."""


@dataclass(frozen=True, slots=True)
class RestoreRecord:
    """A TenantRestore."""

    key: Key
    uid: str
    version: int
    """resourceVersion: of two states the higher one is the later."""
    tenant: Key
    phase: str
    step: str
    safety_backup: str
    going: bool
    """It has a deletion timestamp."""
    held: bool
    """It has our finalizer."""
    created: str = ""
    """When, as the API server writes it: of two the earlier one comes first."""
    reason: str = ""
    """Ready's: of one that has not begun, what it was last found to wait for; empty: nobody has looked."""

    @property
    def finished(self) -> bool:
        """Nothing of it is left to do."""
        return self.phase in _FINISHED

    @property
    def runs(self) -> bool:
        """It has begun, and has not ended."""
        return self.phase == "Running"

    @property
    def in_line(self) -> bool:
        """It would begin if it were its turn, as far as is known."""
        return not (self.finished or self.runs or self.going) and self.reason in ("", TURN)

    @property
    def order(self) -> tuple[str, str, str]:
        """In which they take turns."""
        return self.created, self.key.namespace, self.key.name

    @property
    def stops_odoo(self) -> bool:
        """The tenant is scaled to nothing, and its database is left alone."""
        return self.runs and self.step in _STOPPED


class Restores:
    """All TenantRestores by key and by tenant."""

    def __init__(self) -> None:
        self._records: dict[Key, RestoreRecord] = {}
        self._by_tenant: dict[Key, set[Key]] = {}
        self._begun: dict[Key, Key] = {}
        self._answers: dict[Key, tuple[str, str]] = {}
        self._recalled: dict[Key, tuple[str, str]] = {}

    def get(self, key: Key) -> RestoreRecord | None:
        """What is known of one that exists."""
        return self._records.get(key)

    def of(self, tenant: Key) -> RestoreRecord | None:
        """The one that has this tenant in its hands."""
        return next((record for record in self._of(tenant) if record.runs), None)

    def unfinished(self, tenant: Key | None = None) -> tuple[Key, ...]:
        """Those that something is left to do of: of one tenant, or of all."""
        records = self._records.values() if tenant is None else self._of(tenant)
        return tuple(record.key for record in records if not record.finished)

    def at_work(self) -> tuple[RestoreRecord, ...]:
        """Those that have begun, or are about to."""
        begun = {key for key in self._begun.values() if not self._is_over(key)}
        return tuple(each for each in self._records.values() if each.runs or each.key in begun)

    def before(self, key: Key) -> tuple[RestoreRecord, ...]:
        """Those that stand in line before this one, the first one first."""
        own = self._records.get(key)
        begun = set(self._begun.values())
        line = (each for each in self._records.values() if each.in_line and each.key not in begun)
        return tuple(sorted((e for e in line if own is None or e.order < own.order), key=lambda e: e.order))

    def begin(self, key: Key, tenant: Key) -> Key | None:
        """Give it the tenant, for as long as it exists and has not ended; the other one that has it, where there is one.
        No await in between: two that ask at once get two answers."""
        running = self.of(tenant)
        if running is not None and running.key != key:
            return running.key
        begun = self._begun.get(tenant)
        if begun is not None and begun != key and not self._is_over(begun):
            return begun
        self._begun[tenant] = key
        return None

    def give_way(self, key: Key, tenant: Key) -> None:
        """It has not begun after all."""
        if self._begun.get(tenant) == key:
            del self._begun[tenant]

    def answer(self, tenant: Key, uid: str, answer: str) -> bool:
        """The tenant has done what this restore's step asks for: ``Stopped``, ``Started``, or the reason for which it
        can't. Whether that is news."""
        before, self._answers[tenant] = self._answers.get(tenant), (uid, answer)
        return before != (uid, answer)

    def answered(self, tenant: Key, uid: str) -> str:
        """What it last said to this restore."""
        known, answer = self._answers.get(tenant, ("", ""))
        return answer if known == uid else ""

    def asks(self, tenant: Key, uid: str, step: str) -> bool:
        """Whether this process has not yet asked the tenant's database, for this step, what is installed in it."""
        return self._recalled.get(tenant) != (uid, step)

    def recalled(self, tenant: Key, uid: str, step: str) -> None:
        """It has."""
        self._recalled[tenant] = (uid, step)

    def saw(self, event_type: str, body: Manifest) -> Key | None:
        """Take in an event, or the answer to a write; its key where it is worth a look."""
        record = _record(body)
        known = self._records.get(record.key)
        if known is not None and known.uid == record.uid and record.version <= known.version:
            return None
        if event_type == "DELETED":
            return record.key if self._forget(record.key, record.uid) else None
        if known is not None and known.uid != record.uid:
            self._forget(known.key, known.uid)
        self._records[record.key] = record
        self._by_tenant.setdefault(record.tenant, set()).add(record.key)
        return None if record.finished and not (record.going and record.held) else record.key

    def listed(self, uids: frozenset[str]) -> tuple[Key, ...]:
        """Take in which exist; those that went while no watch ran."""
        gone = [record for record in self._records.values() if record.uid not in uids]
        for record in gone:
            self._forget(record.key, record.uid)
        return tuple(record.key for record in gone)

    def _of(self, tenant: Key) -> Iterator[RestoreRecord]:
        return (self._records[key] for key in self._by_tenant.get(tenant, ()))

    def _is_over(self, key: Key) -> bool:
        record = self._records.get(key)
        return record is None or record.finished

    def _forget(self, key: Key, uid: str) -> bool:
        record = self._records.get(key)
        if record is None or record.uid != uid:
            return False
        del self._records[key]
        self.give_way(key, record.tenant)
        keys = self._by_tenant.get(record.tenant, set())
        keys.discard(key)
        if not keys:
            self._by_tenant.pop(record.tenant, None)
        return True


def _record(body: Manifest) -> RestoreRecord:
    metadata, spec, status = body["metadata"], body["spec"], body.get("status") or {}
    reason = next((c["reason"] for c in status.get("conditions") or () if c["type"] == "Ready"), "")
    version, namespace = metadata.get("resourceVersion", ""), intern(metadata["namespace"])
    return RestoreRecord(
        key=Key("TenantRestore", namespace, metadata["name"]),
        uid=metadata["uid"],
        version=int(version) if version.isdigit() else 0,
        tenant=Key("OdooTenant", namespace, intern(spec["tenantRef"]["name"])),
        phase=intern(status.get("phase") or "Pending"),
        step=intern(status.get("step") or ""),
        safety_backup=status.get("safetyBackup") or "",
        going=bool(metadata.get("deletionTimestamp")),
        held=bool(metadata.get("finalizers")),
        created=metadata.get("creationTimestamp") or "",
        reason=intern(reason),
    )
