"""What a policy's look does for its tenants' repositories: asks for care that is due, and says how it stands."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from odoo_tenancy.api.errors import OperatorError
from odoo_tenancy.api.meta import Key
from odoo_tenancy.api.types import duration_seconds
from odoo_tenancy.reconcile import upkeep_due
from odoo_tenancy.reconcile.backup_memory import PolicyState
from odoo_tenancy.reconcile.memory import TenantRecord
from odoo_tenancy.reconcile.report import Report
from odoo_tenancy.reconcile.upkeep_memory import UPKEEP, Idle
from odoo_tenancy.reconcile.world import World

CONDITION = "RepositoriesMaintained"
_EVERY = 60.0
"""Seconds between two reckonings of all tenants of a policy: its looks are many, and this care is rare."""
_LEAST = 20.0
_LONGEST = 86400.0
_SHOWN = 3


def look_after(
    world: World, state: PolicyState, tenants: Sequence[TenantRecord], report: Report
) -> float | None:
    """Ask for care that is due, and say how it stands; seconds until something may be due again.

    What failed before this operator began is not known to it: while something is overdue, the former word stays.
    """
    world.upkeep.forget_what_is_gone(world.backups)
    failed = _say_what_failed(world, tenants, report)
    if state.problem is not None:
        return None
    seconds, key, generation = world.seconds(), state.policy.key, state.policy.metadata.generation
    known, looked, coming = world.upkeep.looked.get(key, (generation, 0.0, 0.0))
    if known == generation and seconds < min(coming, looked + _EVERY):
        return coming - seconds
    try:
        wait = _ask(world, state, tenants, seconds)
        if not failed:
            _say_how_it_stands(world, state, tenants, report)
    except OperatorError:  # a schedule that means nothing: ScheduleReady says so
        return None
    world.upkeep.looked[key] = (generation, seconds, seconds + wait)
    return wait


def _ask(world: World, state: PolicyState, tenants: Sequence[TenantRecord], seconds: float) -> float:
    now, waits = world.now(), [_LONGEST]
    for record in tenants:
        if not record.begun or record.going or not world.options.serves(record.pool):
            continue
        if _is_due(world, state, record, now, seconds):
            world.enqueue(Key(UPKEEP, record.key.namespace, record.key.name))
        waits.append(upkeep_due.seconds_to_next(state.policy, record, now))
    return max(_LEAST, min(waits))


def _is_due(world: World, state: PolicyState, record: TenantRecord, now: datetime, seconds: float) -> bool:
    """Whether anything is for this repository. That nothing is holds until a turn comes, or what it was reckoned from
    changes: a tenant may have hundreds of backups, and most days nothing becomes of them."""
    policy, upkeep = state.policy, world.upkeep
    given = (
        policy.key,
        policy.metadata.generation,
        record.claim,
        upkeep.last_maintained(record),
        world.backups.changes(record.key),
        world.policies.changes,
    )
    known = upkeep.idle.get(record.key)
    if known is not None and known.reckoned_from == given and now < known.until:
        return False
    due = upkeep_due.due(policy, record, world.backups, world.policies, upkeep, now, seconds)
    if due is None and not upkeep.has_failed(record.key):
        until = now + timedelta(seconds=upkeep_due.seconds_to_next(policy, record, now))
        upkeep.idle[record.key] = Idle(given, until)
    return due is not None


def _say_what_failed(world: World, tenants: Sequence[TenantRecord], report: Report) -> bool:
    """Whether something did."""
    failed = world.upkeep.failures({record.key for record in tenants})
    if not failed:
        return False
    shown = " ".join(f"{key.name}: {failure.message}" for key, failure in failed[:_SHOWN])
    count = len({key for key, _ in failed})
    message = f"{count} of {len(tenants)} repositories could not be looked after; it is tried again. {shown}"
    report.found(CONDITION, "False", failed[0][1].reason, message)
    return True


def _say_how_it_stands(
    world: World, state: PolicyState, tenants: Sequence[TenantRecord], report: Report
) -> None:
    if _locks_run_out(state, tenants, report):
        return
    now, policy = world.now(), state.policy
    if not any(
        upkeep_due.overdue(policy, record, world.backups, world.policies, world.upkeep, now)
        for record in tenants
    ):
        report.good(CONDITION, "UpToDate", "No repository waits for its maintenance")


def _locks_run_out(state: PolicyState, tenants: Sequence[TenantRecord], report: Report) -> bool:
    """Whether locks of what is kept would end between two maintenances."""
    asked = state.policy.spec.immutability
    if asked is None or not tenants:
        return False
    period = timedelta(seconds=duration_seconds(asked.period))
    day = state.policy.metadata.creation_timestamp or tenants[0].created
    gap = upkeep_due.longest_gap(state.policy, tenants[0].claim, day)
    if gap < period:
        return False
    report.found(
        CONDITION,
        "False",
        "LocksRunOut",
        f"maintenance.schedule leaves up to {gap.days} days between two runs, and locks last for immutability.period"
        f" {asked.period}: what kept backups need would be unlocked in between. Make the schedule more frequent, or the"
        " period longer.",
    )
    return True
