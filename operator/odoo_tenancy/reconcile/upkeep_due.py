"""Which care a tenant's repository is due: maintenance, or that a stored backup is verified again. Reckoned from what is
stored; nothing is asked of anybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil

from odoo_tenancy.api.meta import Key
from odoo_tenancy.api.policy import BackupPolicy
from odoo_tenancy.desired.schedule import Cron, Plan
from odoo_tenancy.reconcile.backup_memory import BackupRecord, Backups, Policies
from odoo_tenancy.reconcile.backup_place import stored_here
from odoo_tenancy.reconcile.memory import TenantRecord
from odoo_tenancy.reconcile.upkeep_memory import MAINTENANCE, Upkeep

SPREAD = timedelta(hours=6)
"""Over which the repositories of a policy are maintained, or the time to the next turn, if that is less."""
TURNS = 8
"""A turn looks at one in so many of the stored backups again, so that it is about so many until all were looked at."""
_WHENEVER = timedelta(days=36500)
"""Care is late, but never too late."""
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Due:
    """The next that is to be done."""

    verify: Key | None = None
    """This TenantBackup is verified again; ``None``: the repository is maintained."""


def maintenance(policy: BackupPolicy) -> Plan:
    """When repositories are maintained."""
    spec = policy.spec
    return _plan(spec.maintenance.schedule, spec.time_zone)


def verification(policy: BackupPolicy) -> Plan:
    """When what is stored is verified again."""
    spec = policy.spec
    return Plan(Cron(spec.verification.schedule, spec.time_zone), None, _WHENEVER)


def due(
    policy: BackupPolicy,
    record: TenantRecord,
    backups: Backups,
    policies: Policies,
    upkeep: Upkeep,
    now: datetime,
    seconds: float,
) -> Due | None:
    """What is to be done for a tenant's repository now.

    Args:
        seconds: of the clock that failures rest by.

    Raises:
        Refused: a schedule means nothing.
    """
    stored = list(stored_here(backups, policies, record, policy))
    if not stored:
        return None
    if not upkeep.rests(record.key, MAINTENANCE, seconds):
        since = upkeep.last_maintained(record) or _first(policy, record)
        if maintenance(policy).due(record.claim, since, now) is not None:
            return Due()
    for each in _unchecked(policy, record, stored, now):
        if not upkeep.rests(record.key, each.key.name, seconds):
            return Due(each.key)
    return None


def overdue(
    policy: BackupPolicy,
    record: TenantRecord,
    backups: Backups,
    policies: Policies,
    upkeep: Upkeep,
    now: datetime,
) -> bool:
    """Whether maintenance is due, also where it rests after a failure."""
    if not any(stored_here(backups, policies, record, policy)):
        return False
    since = upkeep.last_maintained(record) or _first(policy, record)
    return maintenance(policy).due(record.claim, since, now) is not None


def seconds_to_next(policy: BackupPolicy, record: TenantRecord, now: datetime) -> float:
    """Until something may be due that isn't now."""
    coming = (plan.next(record.claim, now) for plan in (maintenance(policy), verification(policy)))
    return min(((turn.at - now).total_seconds() for turn in coming if turn is not None), default=86400.0)


def longest_gap(policy: BackupPolicy, claim: str, now: datetime) -> timedelta:
    """Between two of a repository's maintenances, if none fails."""
    return maintenance(policy).longest_gap(claim, now)


def _unchecked(
    policy: BackupPolicy, record: TenantRecord, stored: Sequence[BackupRecord], now: datetime
) -> list[BackupRecord]:
    """Those to be verified again in this turn: all that nobody ever looked at, as they were found in the store, the newest
    first; then a share of the others, first what nobody has looked at for longest. A turn's work is done when so many were
    looked at since, beside new backups."""
    turn = verification(policy).due(record.claim, _LONG_AGO, now)
    if turn is None or turn.slot < _first(policy, record):
        return []
    never = [each for each in stored if each.checked is None]
    looked = [each for each in stored if each.checked is not None]
    waiting = [each for each in looked if _last_look(each) < turn.slot]
    done = len([each for each in looked if _last_look(each) >= turn.slot and _stored_at(each) < turn.slot])
    wanted = ceil((len(waiting) + done) / TURNS) - done
    never.sort(key=lambda each: (each.recovery_point or _LONG_AGO, each.key.name), reverse=True)
    waiting.sort(key=lambda each: (_last_look(each), each.key.name))
    return never + waiting[: max(0, wanted)]


def _last_look(backup: BackupRecord) -> datetime:
    return backup.checked or _stored_at(backup)


def _stored_at(backup: BackupRecord) -> datetime:
    return backup.completed or backup.created


def _first(policy: BackupPolicy, record: TenantRecord) -> datetime:
    return max(policy.metadata.creation_timestamp or record.created, record.created)


def _plan(expression: str, time_zone: str) -> Plan:
    return Plan(Cron(expression, time_zone), SPREAD, _WHENEVER)
