"""What a Job of verification is told, and what it found."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from odoo_tenancy.api.meta import ApiModel
from odoo_tenancy.api.work import DatabasePlace, Outcome, RepositoryPlace

VerificationLevel = Literal["Integrity", "Consistency", "Restore"]


class VerifyWork(ApiModel):
    """One backup, to be looked at from the store alone."""

    backup: str
    """Name of the TenantBackup, for messages."""
    level: VerificationLevel
    """Each does what those before it do."""
    read_data_percent: int = 5
    """Percent of the repository's data that is read back."""
    repository: RepositoryPlace
    manifest_key: str
    """In the repository's bucket."""
    manifest_sha256: str
    """What its bytes must have."""
    ledger_key: str
    """Where it is written down which files were proven; see :func:`proven_key`."""
    scratch: str = "/scratch"
    """A folder with room for the dump (level Restore) and for a quarter of the filestore."""
    database: DatabasePlace | None = None
    """At level Restore: an empty database, made for this and dropped afterwards by whoever made it."""
    parallel: int = 2
    """Connections of the restore."""


class VerifyFigures(ApiModel):
    """What was looked at; zero where the level doesn't, or it didn't come to that."""

    seconds: dict[str, float] = Field(default_factory=dict)
    """Of each step."""
    tables: int = 0
    rows: int = 0
    dump_bytes: int = 0
    files: int = 0
    """That the database names."""
    files_read: int = 0
    """The others were proven before."""
    bytes_read: int = 0


class VerifyOutcome(Outcome):
    """What came out. Of a Job that was ended from outside there is no more than its reason."""

    result: Literal["Passed", "Failed", "Error"] = "Error"
    """``Failed``: the backup must not count, and ``reason`` says why. ``Error``: nothing is known of it."""
    level: VerificationLevel | None = None
    figures: VerifyFigures = VerifyFigures()


def proven_key(prefix: str, claim: str) -> str:
    """Where it is written down which files of a tenant were proven: not where a Job that backs up can write, or whoever
    takes one over could have files passed by that are rotten."""
    return "/".join(part for part in (prefix, "ledgers", f"{claim}.proven.json") if part)
