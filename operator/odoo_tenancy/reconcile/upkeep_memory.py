"""What is remembered of the care for repositories: who is at it, what failed and rests, what was done."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from odoo_tenancy.api.meta import Key
from odoo_tenancy.cluster.children import Child, Children
from odoo_tenancy.cluster.objects import Owner
from odoo_tenancy.cluster.readiness import JobRun
from odoo_tenancy.reconcile.backup_memory import Backups
from odoo_tenancy.reconcile.memory import TenantRecord

UPKEEP: Final = "RepositoryUpkeep"
"""In the queue's keys: the care for a tenant's repository, by the tenant's name. No kind of the API."""
MAINTENANCE = "maintenance"
"""What was tried, where it was no backup's verification."""
FIRST_REST = 3600.0
"""Seconds after a failure; twice as long after each further one."""
LONGEST_REST = 86400.0


@dataclass(frozen=True, slots=True)
class Failure:
    """Of the last attempt."""

    reason: str
    message: str
    times: int
    until: float
    """Seconds of a clock that never goes back: it rests until then."""


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing was due."""

    reckoned_from: tuple[object, ...]
    until: datetime
    """If none of these changes: then the next turn comes."""


@dataclass
class Upkeep:
    """Nothing of it must outlast the operator: what is due is reckoned from what is stored."""

    _works: dict[Key, str] = field(default_factory=dict)
    """By tenant: its pool."""
    _verifying: set[Key] = field(default_factory=set)
    """Of them, those whose Job runs where the tenant does."""
    _failures: dict[tuple[Key, str], Failure] = field(default_factory=dict)
    _maintained: dict[Key, datetime] = field(default_factory=dict)
    looked: dict[Key, tuple[int, float, float]] = field(default_factory=dict)
    """By policy, of which generation: when it was last reckoned what is due, and when something will be next."""
    idle: dict[Key, Idle] = field(default_factory=dict)
    """By tenant, so that what a tenant has stored is gone through once for each change of it."""

    def begin(self, tenant: Key, pool: str, *, verifies: bool = False) -> None:
        """A Job for its repository is on its way. No await between the question and this.

        Args:
            verifies: it takes what a backup takes: room where the tenant runs, and connections where it restores.
        """
        self._works[tenant] = pool
        if verifies:
            self._verifying.add(tenant)

    def end(self, tenant: Key) -> None:
        """It has ended."""
        self._works.pop(tenant, None)
        self._verifying.discard(tenant)

    def works(self, tenant: Key) -> bool:
        """Whether one is on its way, or runs."""
        return tenant in self._works

    def beside(self, pool: str, but: Key) -> int:
        """How many of a pool's other tenants have one."""
        return sum(where == pool for tenant, where in self._works.items() if tenant != but)

    def verifying(self, pool: str, but: Key) -> int:
        """Of them, those that take what a backup takes."""
        return sum(self._works.get(tenant) == pool for tenant in self._verifying if tenant != but)

    def failed(self, tenant: Key, what: str, reason: str, message: str, now: float) -> None:
        """It rests for a while, longer each time."""
        known = self._failures.get((tenant, what))
        times = known.times + 1 if known is not None else 1
        rest = min(LONGEST_REST, FIRST_REST * 2 ** (times - 1))
        self._failures[tenant, what] = Failure(reason, message, times, now + rest)

    def succeeded(self, tenant: Key, what: str) -> None:
        """What failed before is mended."""
        self._failures.pop((tenant, what), None)

    def rests(self, tenant: Key, what: str, now: float) -> bool:
        """Whether it failed a short while ago."""
        known = self._failures.get((tenant, what))
        return known is not None and now < known.until

    def has_failed(self, tenant: Key) -> bool:
        """Whether something of its repository's care did, and was not done since."""
        return any(who == tenant for who, _ in self._failures)

    def failures(self, tenants: Set[Key]) -> list[tuple[Key, Failure]]:
        """Those of these tenants' repositories."""
        return [(key, failure) for (key, _), failure in self._failures.items() if key in tenants]

    def forget_what_is_gone(self, backups: Backups) -> None:
        """What failed of a backup that is there no more is nobody's trouble."""
        for tenant, what in tuple(self._failures):
            key = Key("TenantBackup", tenant.namespace, what)
            if what != MAINTENANCE and backups.get(key) is None:
                del self._failures[tenant, what]

    def maintained(self, tenant: Key, begun: datetime) -> None:
        """A maintenance that began then did all that it had to."""
        self._maintained[tenant] = begun
        self.succeeded(tenant, MAINTENANCE)

    def last_maintained(self, record: TenantRecord) -> datetime | None:
        """The same, also as the tenant's status has it."""
        found = (self._maintained.get(record.key), record.maintained)
        return max((moment for moment in found if moment is not None), default=None)

    def forget(self, tenant: Key) -> None:
        """It is gone."""
        self.end(tenant)
        self.idle.pop(tenant, None)
        self._maintained.pop(tenant, None)
        for each in [each for each in self._failures if each[0] == tenant]:
            del self._failures[each]


def owner_of(record: TenantRecord) -> Owner:
    """Whose the Jobs are."""
    return Owner(UPKEEP, record.key.namespace, record.key.name, record.claim)


def upkeep_job(children: Children, record: TenantRecord) -> Child | None:
    """The Job that cares for the tenant's repository, or did; the Jobs are the truth."""
    jobs = (child for child in children.of(owner_of(record)) if child.ref.kind == "Job")
    return next((job for job in jobs if not job.terminating), None)


def upkeep_runs(children: Children, record: TenantRecord) -> bool:
    """Whether it may still be at work."""
    job = upkeep_job(children, record)
    return job is not None and isinstance(job.readiness, JobRun) and job.readiness.outcome == "Running"
