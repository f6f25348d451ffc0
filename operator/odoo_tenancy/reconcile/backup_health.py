"""Whether a tenant's promise of a recovery point holds: from the backups that are remembered, without reading anything."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

from odoo_tenancy.api.errors import OperatorError
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.api.types import duration_seconds
from odoo_tenancy.desired.effective import TIERS
from odoo_tenancy.desired.schedule import Plan
from odoo_tenancy.reconcile.backup_digest import Digest
from odoo_tenancy.reconcile.backup_memory import BackupRecord, PolicyState
from odoo_tenancy.reconcile.report import Report
from odoo_tenancy.reconcile.world import World

CONDITION = "BackupHealthy"


def tell(world: World, tenant: OdooTenant, report: Report) -> None:
    """Say it: True with a recovery point that was verified and is no older than ``objectives.rpo``."""
    if tenant.spec.backup is None:
        message = "spec.backup.policyRef names no BackupPolicy, so this tenant is not backed up"
        if tenant.spec.deletion.policy == "Backup":
            message += "; deletion.policy Backup behaves as Retain: database and volume stay"
        report.found(CONDITION, "Unknown", "NotProvided", message)
        return
    name = tenant.spec.backup.policy_ref.name
    state = world.policies.get(tenant.metadata.namespace, name)
    if state is None:
        message = f"There is no BackupPolicy {tenant.metadata.namespace}/{name}: create it, or name another"
        report.found(CONDITION, "False", "PolicyNotFound", message)
        return
    _tell_of(world, tenant, state, report)


def _tell_of(world: World, tenant: OdooTenant, state: PolicyState, report: Report) -> None:
    digest, now, rpo = _digest(world, tenant), world.now(), rpo_of(tenant)
    point, last = digest.recovery_point(now), digest.last_finished
    trouble = (
        f" The last one, {last.key.name}, failed: {last.reason}."
        if last is not None and _has_failed(last)
        else ""
    )
    if (ahead := digest.ahead(now)) and (point is None or now - point > rpo):
        _tell_of_ahead(ahead, report)
    elif point is None:
        _tell_of_none(tenant, state, last, now, rpo, report)
    elif now - point > rpo:
        rare = _too_rare(tenant, state, now, rpo)
        message = (
            f"The newest recovery point that was verified is of {_text(point)}, older than objectives.rpo ({_span(rpo)}) "
            f"allows.{trouble} See kubectl get otb.{f' And {rare}.' if rare else ''}"
        )
        report.found(CONDITION, "False", "RecoveryPointTooOld", message)
    elif rotten := digest.rotten:
        shown = ", ".join(each.key.name for each in rotten[:3])
        message = (
            f"{len(rotten)} stored backups were good once and are not any more ({shown}: {rotten[0].reason}), so they do "
            f"not count; the newest that does is of {_text(point)}. See kubectl describe otb {rotten[0].key.name}; where "
            "it can't be mended, delete that TenantBackup"
        )
        report.found(CONDITION, "False", "NotVerified", message)
    elif last is not None and _has_failed(last) and last.checked is not None:
        message = f"TenantBackup {last.key.name} was read back and is not good ({last.reason}), so it does not count"
        report.found(
            CONDITION, "False", "NotVerified", f"{message}; the newest that does is of {_text(point)}"
        )
    elif trouble:
        report.good(
            CONDITION, "LastBackupFailed", f"The recovery point of {_text(point)} still holds.{trouble}"
        )
    elif rare := _too_rare(tenant, state, now, rpo):
        report.good(CONDITION, "ScheduleTooRare", f"The recovery point of {_text(point)} holds, but {rare}")
    else:
        report.good(CONDITION, "Verified", f"The recovery point of {_text(point)} was verified")


def _too_rare(tenant: OdooTenant, state: PolicyState, now: datetime, rpo: timedelta) -> str:
    """Why the schedule can't keep the promise; empty where it can, and where nobody expects it to."""
    gap = _gap(state.plan, tenant.status.claim, now.date())
    if gap <= rpo or state.policy.spec.suspend:
        return ""
    return (
        f"the schedule of BackupPolicy {state.policy.metadata.name} leaves up to {_span(gap)} between two backups, and "
        f"objectives.rpo is {_span(rpo)}: make it more frequent"
    )


def _tell_of_ahead(ahead: BackupRecord, report: Report) -> None:
    assert ahead.recovery_point is not None
    report.found(
        CONDITION,
        "False",
        "RecoveryPointAhead",
        f"TenantBackup {ahead.key.name} says that its recovery point is {_text(ahead.recovery_point)}, which is yet to "
        "come: how old it is nobody knows, so it does not count. Set the clock of the PostgreSQL server or of the "
        "operator's node, whichever is wrong; and see who wrote the manifest",
    )


def _tell_of_none(
    tenant: OdooTenant,
    state: PolicyState,
    last: BackupRecord | None,
    now: datetime,
    rpo: timedelta,
    report: Report,
) -> None:
    """There is nothing that could be restored."""
    name = state.policy.metadata.name
    begun = [tenant.metadata.creation_timestamp or now, state.policy.metadata.creation_timestamp or now]
    if last is not None and (_has_failed(last) or last.checked is not None):
        message = (
            f"No backup of this tenant is good yet; the last one, {last.key.name}, failed: {last.reason}"
        )
        mend = f"{message}. See kubectl describe otb {last.key.name}"
        report.found(CONDITION, "False", "NotVerified" if last.checked is not None else "BackupFailed", mend)
    elif state.problem is not None and state.problem.reason != "NotLookedAtYet":
        report.found(CONDITION, "False", "PolicyNotReady", f"BackupPolicy {name}: {state.problem.message}")
    elif last is not None:
        message = (
            f"The backups of this tenant that are in the store, such as {last.key.name}, were not read back since they "
            "were found there: make a new one, or wait for their verification"
        )
        report.found(CONDITION, "False", "NotVerified", message)
    elif now - max(begun) > rpo:
        message = f"There is no backup, and objectives.rpo is {_span(rpo)}: see kubectl get otb, and BackupPolicy {name}"
        report.found(CONDITION, "False", "RecoveryPointTooOld", message)
    elif rare := _too_rare(tenant, state, now, rpo):
        # Before the first one: whoever writes the two down hears at once that they don't go together.
        message = f"The first backup by BackupPolicy {name} is to come, but {rare}"
        report.found(CONDITION, "Unknown", "ScheduleTooRare", message)
    else:
        report.found(
            CONDITION, "Unknown", "NoBackupYet", f"The first backup by BackupPolicy {name} is to come"
        )


def summary(world: World, tenant: OdooTenant) -> Manifest:
    """``status.backup``, as far as anything is known."""
    digest = _digest(world, tenant)
    found = {
        "lastMaintained": tenant.status.backup.last_maintained,
        "lastSuccessful": digest.last_successful,
        "lastVerified": digest.last_verified,
        "recoveryPoint": digest.recovery_point(world.now()),
    }
    said = {name: _text(moment) for name, moment in found.items() if moment is not None}
    return {"backup": said} if said else {}


def _digest(world: World, tenant: OdooTenant) -> Digest:
    return world.backups.digest(tenant.key, tenant.status.claim)


def rpo_of(tenant: OdooTenant) -> timedelta:
    """How old the newest recovery point may be."""
    asked = tenant.spec.objectives.rpo or TIERS[tenant.spec.tier].rpo
    return timedelta(seconds=duration_seconds(asked))


def _has_failed(backup: BackupRecord | None) -> bool:
    return backup is not None and backup.phase == "Failed"


@lru_cache(maxsize=8192)
def _gap(plan: Plan, claim: str, day: date) -> timedelta:
    """Once a day: every look at every tenant asks for it."""
    try:
        return plan.longest_gap(claim, datetime.combine(day, time(), UTC))
    except OperatorError:  # a schedule that means nothing: the policy says so
        return timedelta()


def _span(span: timedelta) -> str:
    hours = span / timedelta(hours=1)
    return f"{hours:.0f} h" if hours >= 1 else f"{span / timedelta(minutes=1):.0f} min"


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
