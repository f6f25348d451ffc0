"""What is written to a TenantBackup: one patch for each step of its life."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from odoo_tenancy.api.backup import BackupProgress, Verification
from odoo_tenancy.api.backup_work import BackupOutcome
from odoo_tenancy.api.errors import OperatorError
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.api.verify_work import VerifyOutcome
from odoo_tenancy.cluster.status import merge_difference, merged
from odoo_tenancy.reconcile.active_backup import ActiveBackup
from odoo_tenancy.reconcile.report import Report, turned
from odoo_tenancy.reconcile.world import World, announce
from odoo_tenancy.services.object_store.catalogue import StoredManifest

if TYPE_CHECKING:
    from odoo_tenancy.reconcile.backup_run import Stage

_GOES_ON = frozenset(
    {"Preparing", "Storing", "Verifying", "Starting", "NotLookedAtYet", "PostgresNotLookedAt", "PoolNotFound"}
)
"""Reasons of a backup that runs, and of an operator that has just started: they say nothing new of it."""
_NO_PROGRESS: Manifest = {"progress": None}


def has_begun(active: ActiveBackup, condition: str, reason: str) -> bool:
    """Whether the status says that this stage's Job was let go."""
    return any(c.type == condition and c.reason == reason for c in active.backup.status.conditions)


async def waits(world: World, active: ActiveBackup, error: OperatorError) -> None:
    """It has not begun, or doesn't get on, and why."""
    report = Report()
    _busy(report, error.reason, error.message)
    # What a Job that runs says changes at each look; the stage is what people want to know.
    if active.backup.status.phase in (None, "Pending"):
        await _write(world, active, report, {"phase": "Pending"})
    elif error.reason not in _GOES_ON:
        await _write(world, active, report, {})


async def begins(world: World, active: ActiveBackup, stage: Stage) -> None:
    """Its Job is made and is let go next."""
    if active.backup.status.phase == stage.phase and has_begun(active, stage.condition, stage.reason):
        return
    report = Report()
    _busy(report, stage.reason, stage.message)
    if stage.condition:
        report.found(stage.condition, "False", stage.reason, stage.message)
    started = active.backup.status.start_time or world.now()
    await _write(world, active, report, {"phase": stage.phase, "startTime": _text(started)})


def stored(world: World, active: ActiveBackup, left: BackupOutcome, bucket: str) -> None:
    """What the Job of the backup left, in which bucket; written with the next word on it."""
    assert left.snapshots is not None
    assert left.recovery_point is not None
    started = active.backup.status.start_time or world.now()
    seconds = max(1, round(left.seconds or (world.now() - started).total_seconds()))
    active.unsaid |= {
        **_NO_PROGRESS,
        "recoveryPoint": _text(left.recovery_point),
        "snapshots": {"database": left.snapshots.database, "filestore": list(left.snapshots.filestore)},
        "databaseBytes": left.database_bytes,
        "filestoreBytes": left.filestore_bytes,
        "uploadedBytes": left.uploaded_bytes,
        "durationSeconds": seconds,
        "uploadBytesPerSecond": left.uploaded_bytes // seconds,
        "manifest": {"key": left.manifest_key, "sha256": left.manifest_sha256, "bucket": bucket},
    }


async def progresses(world: World, active: ActiveBackup, progress: BackupProgress) -> None:
    """How far it is."""
    said = progress.model_dump(mode="json", by_alias=True)
    await _write(world, active, Report(), {"progress": said})


async def completed(world: World, active: ActiveBackup, checked: VerifyOutcome) -> None:
    """It is whole, and that was checked."""
    report, now = Report(), world.now()
    message = f"Stored, read back at level {checked.level} and found good"
    report.good("Ready", "Completed", message)
    report.good("Stored", "Stored", "Database, filestore and manifest are stored")
    report.good("Verified", "Passed", message)
    _at_rest(report, "False", "Completed", "Nothing is left to do")
    found = Verification(level=checked.level, result="Passed", checked_at=now, message=checked.message)
    status = {
        **_NO_PROGRESS,
        "phase": "Completed",
        "completionTime": _text(now),
        "verification": _verification(found),
    }
    await _write(world, active, report, status)


async def found(world: World, active: ActiveBackup, stored: StoredManifest, bucket: str) -> None:
    """It was stored in this bucket before this object was made. Whether it is good, nobody has written down."""
    report, manifest = Report(), stored.manifest
    message = "Found in the store, and not read back since: it counts once it was verified"
    report.good("Ready", "FoundInStore", message)
    report.good("Stored", "Stored", "Database, filestore and manifest are stored")
    report.found("Verified", "Unknown", "NotVerifiedYet", message)
    _at_rest(report, "False", "FoundInStore", "Nothing is left to do")
    status = {
        "phase": "Completed",
        "startTime": _text(manifest.started_at),
        "completionTime": _text(manifest.completed_at),
        "recoveryPoint": _text(manifest.recovery_point),
        "snapshots": {
            "database": manifest.snapshots.database,
            "filestore": list(manifest.snapshots.filestore),
        },
        "databaseBytes": manifest.database.dump_bytes,
        "filestoreBytes": manifest.filestore.bytes,
        "uploadedBytes": manifest.uploaded_bytes,
        "manifest": {"key": stored.key, "sha256": stored.sha256, "bucket": bucket},
    }
    await _write(world, active, report, status)


async def failed(
    world: World,
    active: ActiveBackup,
    reason: str,
    message: str,
    verification: Verification | None = None,
) -> None:
    """Nothing of it counts."""
    report, now = Report(), world.now()
    report.found("Ready", "False", reason, message)
    if active.backup.status.phase == "Verifying":
        report.found("Verified", "False", reason, message)
    elif active.backup.status.phase == "Running":
        report.found("Stored", "False", reason, message)
    _at_rest(report, "True", reason, message)
    status: Manifest = {**_NO_PROGRESS, "phase": "Failed", "completionTime": _text(now)}
    if verification is not None:
        status["verification"] = _verification(verification.model_copy(update={"checked_at": now}))
    await _write(world, active, report, status)


async def verified_again(world: World, active: ActiveBackup, found: Verification, reason: str) -> None:
    """A backup that was stored long ago was looked at again. Where it is bad, it does not count any more."""
    report, now = Report(), world.now()
    good = found.result == "Passed"
    if good:
        message = f"Stored, read back at level {found.level} and found good"
        report.good("Ready", "Completed", message)
        report.good("Verified", "Passed", message)
        _at_rest(report, "False", "Completed", "Nothing is left to do")
    else:
        message = f"It was good when it was made, and isn't any more: {found.message}"
        report.found("Ready", "False", reason, message)
        report.found("Verified", "False", reason, message)
        _at_rest(report, "True", reason, message)
    checked = found.model_copy(update={"checked_at": now})
    await _write(world, active, report, {"verification": _verification(checked)})


async def is_held(world: World, active: ActiveBackup, held: bool, reason: str, message: str) -> None:
    """Whether the store knows that it is to stay."""
    report = Report()
    report.found("Held", "True" if held else "False", reason, message)
    await _write(world, active, report, {})


def _busy(report: Report, reason: str, message: str) -> None:
    report.found("Ready", "False", reason, message)
    report.found("Reconciling", "True", reason, message)
    report.found("Stalled", "False", "NotStalled", "Nothing needs a person")


def _at_rest(report: Report, stalled: Literal["True", "False"], reason: str, message: str) -> None:
    report.found("Reconciling", "False", reason, "")
    report.found("Stalled", stalled, reason, message)


async def _write(world: World, active: ActiveBackup, report: Report, status: Manifest) -> None:
    """One patch, or none where it would change nothing. The answer is remembered: it is newer than any event."""
    backup, live = active.backup, active.manifest.get("status") or {}
    before = backup.status.conditions
    conditions = report.conditions(before, backup.metadata.generation, world.now())
    after = {
        **live,
        "observedGeneration": backup.metadata.generation,
        "conditions": [c.model_dump(mode="json", by_alias=True) for c in conditions],
        **active.unsaid,
        **status,
    }
    difference = merge_difference(live, {key: value for key, value in after.items() if value is not None})
    if not difference:
        return
    if active.keep is not None:
        whole = {**active.manifest, "status": merged(live, difference)}
        await active.keep(whole)
        active.unsaid.clear()
        active.became(whole)
        return
    written = await world.cluster.patch_status(active.ref, difference)
    active.unsaid.clear()
    active.became(written)
    world.backups.saw("MODIFIED", written)
    if (active.backup.status.phase) in ("Completed", "Failed"):
        for condition in turned(before, conditions):
            if condition.type == "Ready":
                await announce(world, written, condition)


def _verification(found: Verification) -> Manifest:
    said: Manifest = found.model_dump(mode="json", by_alias=True, exclude_none=True)
    if found.checked_at is not None:
        said["checkedAt"] = _text(found.checked_at)
    return said


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
