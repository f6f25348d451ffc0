"""What the Job that maintains a repository is told, what it found, and what it leaves beside the repository."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from odoo_tenancy.api.meta import ApiModel
from odoo_tenancy.api.work import Outcome, RepositoryPlace


class KnownBackup(ApiModel):
    """What the operator knows of a stored backup: the store alone can't be believed, a tenant's Job writes to it."""

    sha256: str
    """Of its manifest."""
    hold: bool = False
    """It stays, whatever the rules say."""
    verified: bool = False
    """It was found good when it was last looked at."""


class KeepRules(ApiModel):
    """As ``spec.retention`` of the policy. What any of them keeps stays."""

    within_seconds: int = 0
    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    time_zone: str = "Etc/UTC"
    """In which days, weeks, months and years begin."""


class LockTerms(ApiModel):
    """As ``spec.immutability``."""

    mode: Literal["Governance", "Compliance"]
    period_seconds: int
    """A lock that is made longer then lasts for so long."""
    soon_seconds: int
    """One that ends within this is made longer."""


class MaintainWork(ApiModel):
    """For ``python -m odoo_tenancy.jobs.maintain``: one repository."""

    repository: RepositoryPlace
    prefix: str
    """The policy's, without a slash at either end; may be empty."""
    claim: str
    keep: KeepRules
    backups: dict[str, KnownBackup] = Field(default_factory=dict)
    """By name: those whose TenantBackups exist and that were stored there."""
    strays_after_seconds: int = 2 * 86400
    """Age from which a snapshot that no manifest names is nobody's."""
    immutability: LockTerms | None = None
    pods_alive: tuple[str, ...] = ()
    """Names of the pods that may be at work in the repository. There should be none."""
    pod_prefixes: tuple[str, ...] = ()
    """How the names of pods begin that work there for the operator: such a one that isn't alive is gone."""

    @property
    def manifests(self) -> str:
        """Below which the backups' manifests are, with a slash at its end."""
        return f"{self.repository.path.rpartition('/')[0]}/manifests/"

    @property
    def record_key(self) -> str:
        """Of the :class:`ForgottenBackups`: in the operator's own part of the bucket, where no tenant's session reaches."""
        return forgotten_key(self.prefix, self.claim)


class MaintainOutcome(Outcome):
    """What was done. Also of one that failed in between."""

    kept: int = 0
    """Backups that stay."""
    forgotten: int = 0
    """Backups that are gone."""
    strays: int = 0
    """Snapshots of no backup that are gone: of those that failed."""
    freed_bytes: int = 0
    """Of the repository, as the bucket lists it: former versions are not in there."""
    stored_bytes: int = 0
    """What is left of it."""
    locks_extended: int = 0
    """Objects whose lock was made longer."""
    locks_removed: int = 0
    """restic's own, of Jobs that are gone."""
    broken: tuple[str, ...] = ()
    """Backups that stay, were good when they were last looked at, and lack a snapshot now; the first of them."""
    seconds: dict[str, float] = Field(default_factory=dict)
    """Of each step."""


class ForgottenBackups(ApiModel):
    """Which backups are gone for good, so that their objects may go too."""

    schema_version: Literal["1"] = "1"
    backups: dict[str, str] = Field(default_factory=dict)
    """By name, the SHA-256 of the manifest that each had; the newest last."""
    going: dict[str, str] = Field(default_factory=dict)
    """The same of those whose snapshots are being removed, or were when a run was killed: what is left of them goes."""


def forgotten_key(prefix: str, claim: str) -> str:
    """Where a repository's :class:`ForgottenBackups` is, beside its ledger of locks."""
    return "/".join(part for part in (prefix, "ledgers", f"{claim}.forgotten.json") if part)
