"""What a tenant's TenantBackups come to, as far as its looks ask for it: reckoned once for each change of one of them, and
not at each look, as there may be tens of thousands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from odoo_tenancy.reconcile.backup_memory import BackupRecord


@dataclass(frozen=True, slots=True)
class Digest:
    """Of those of one claim."""

    claim: str
    recoverable: tuple[BackupRecord, ...]
    """By their recovery points, the newest first; which of them count, the clock says too."""
    last_finished: BackupRecord | None
    rotten: tuple[BackupRecord, ...]
    """Those that were Completed, and did not pass when they were looked at again; the newest first."""
    last_successful: datetime | None
    last_verified: datetime | None

    def recovery_point(self, now: datetime) -> datetime | None:
        """The newest that counts."""
        return next((b.recovery_point for b in self.recoverable if b.counts(now)), None)

    def ahead(self, now: datetime) -> BackupRecord | None:
        """One whose recovery point is yet to come, if there is any: the newest."""
        return next((b for b in self.recoverable[:1] if b.is_ahead(now)), None)


def digest_of(claim: str, backups: Iterable[BackupRecord]) -> Digest:
    """Reckon it."""
    found = tuple(backups)
    good = [(b.recovery_point, b) for b in found if b.recoverable and b.recovery_point is not None]
    good.sort(key=lambda each: each[0], reverse=True)
    rotten = [b for b in found if b.phase == "Completed" and not b.verified and b.checked is not None]
    return Digest(
        claim=claim,
        recoverable=tuple(b for _, b in good),
        last_finished=max((b for b in found if b.finished), key=_ended, default=None),
        rotten=tuple(sorted(rotten, key=_ended, reverse=True)),
        last_successful=max((b.completed for _, b in good if b.completed), default=None),
        last_verified=max((b.checked for _, b in good if b.checked), default=None),
    )


def _ended(backup: BackupRecord) -> datetime:
    return backup.completed or backup.created
