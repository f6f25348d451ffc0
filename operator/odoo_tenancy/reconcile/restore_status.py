"""What is written to a TenantRestore: one patch for each step of its life."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from odoo_tenancy.api.backup import BackupProgress
from odoo_tenancy.api.errors import OperatorError
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.api.restore import RestoreStep
from odoo_tenancy.cluster.status import merge_difference
from odoo_tenancy.reconcile.active_restore import ActiveRestore
from odoo_tenancy.reconcile.report import Report, bounded, turned
from odoo_tenancy.reconcile.world import World, announce

SAYS: dict[RestoreStep, str] = {
    "SafetyBackup": "A safety backup is made before anything is touched",
    "Restoring": "The backup is laid beside what lives, and compared with its manifest; Odoo runs",
    "Neutralizing": "What was restored is neutralized, and looked at; Odoo runs on what lives",
    "Stopping": "Odoo is stopped",
    "Swapping": "Database and files take the places of what lived, which is kept beside them",
    "Starting": "Odoo starts on what was restored",
    "ClearingAway": "Odoo runs on what was restored; what lived before is removed",
    "GoingBack": "What lived before is brought back",
    "GivingUp": "Odoo runs on what lived before; what was restored is removed",
}
_GOES_ON = frozenset(
    {*SAYS, "Starting", "NotLookedAtYet", "PostgresNotLookedAt", "PoolNotFound", "DatabaseInUse"}
)
"""Reasons of a restore that runs, and of an operator that has just started: they say nothing new of it."""


async def waits(world: World, active: ActiveRestore, error: OperatorError) -> None:
    """It has not begun, or doesn't get on, and why."""
    report = Report()
    _busy(report, error.reason, error.message)
    if active.restore.status.phase in (None, "Pending"):
        await _write(world, active, report, {"phase": "Pending", "message": bounded(error.message)})
    elif error.reason not in _GOES_ON:
        await _write(world, active, report, {})


async def enters(world: World, active: ActiveRestore, step: RestoreStep, **more: str) -> None:
    """A step begins; with the first one the restore itself. Written before anything of it is done."""
    report, now, status = Report(), world.now(), active.restore.status
    _busy(report, step, SAYS[step])
    await _write(
        world,
        active,
        report,
        {
            "phase": "Running",
            "startTime": _text(status.start_time or now),
            "step": step,
            "stepTime": _text(now),
            "progress": None,
            "message": status.message if step in ("GoingBack", "GivingUp") else SAYS[step],
            **more,
        },
    )


async def turns_back(
    world: World, active: ActiveRestore, step: RestoreStep, reason: str, message: str
) -> None:
    """It failed for this reason, which the end says again, and is undone first."""
    await enters(world, active, step, reason=reason, message=bounded(message))


async def progresses(world: World, active: ActiveRestore, progress: BackupProgress) -> None:
    """How far its Job is."""
    await _write(world, active, Report(), {"progress": progress.model_dump(mode="json", by_alias=True)})


async def ends(
    world: World,
    active: ActiveRestore,
    phase: Literal["Completed", "Failed", "Expired"],
    reason: str,
    message: str,
) -> None:
    """Nothing is left to do."""
    report = Report()
    if phase == "Completed":
        report.good("Ready", reason, message)
    else:
        report.found("Ready", "False", reason, message)
    report.found("Reconciling", "False", reason, "")
    report.found("Stalled", "False" if phase == "Completed" else "True", reason, message)
    over = {"phase": phase, "step": None, "stepTime": None, "progress": None, "message": bounded(message)}
    failed = {} if phase == "Completed" else {"reason": reason}
    await _write(world, active, report, {**over, **failed, "completionTime": _text(world.now())})


def _busy(report: Report, reason: str, message: str) -> None:
    report.found("Ready", "False", reason, message)
    report.found("Reconciling", "True", reason, message)
    report.found("Stalled", "False", "NotStalled", "Nothing needs a person")


async def _write(world: World, active: ActiveRestore, report: Report, status: Manifest) -> None:
    """One patch, or none where it would change nothing. The answer is remembered: it is newer than any event."""
    restore, live = active.restore, active.manifest.get("status") or {}
    before = restore.status.conditions
    conditions = report.conditions(before, restore.metadata.generation, world.now())
    after = {
        **live,
        "observedGeneration": restore.metadata.generation,
        "conditions": [c.model_dump(mode="json", by_alias=True) for c in conditions],
        **status,
    }
    difference = merge_difference(live, {key: value for key, value in after.items() if value is not None})
    if not difference:
        return
    written = await world.cluster.patch_status(active.ref, difference)
    active.became(written)
    world.restores.saw("MODIFIED", written)
    for condition in turned(before, conditions):
        if condition.type == "Ready":
            await announce(world, written, condition)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
