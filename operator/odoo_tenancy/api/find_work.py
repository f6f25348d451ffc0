"""What the Job is told that looks into a repository whose cluster is lost, and which backup it found there."""

from __future__ import annotations

from datetime import datetime

from odoo_tenancy.api.backup_work import RecoveryPassword
from odoo_tenancy.api.meta import ApiModel
from odoo_tenancy.api.work import Outcome, RepositoryPlace

LATEST = "latest"
""":attr:`FindWork.at`: the newest there is."""


class FindWork(ApiModel):
    """For ``python -m odoo_tenancy.jobs.find``: one backup in one repository. Nothing is written."""

    repository: RepositoryPlace
    """Its password file isn't used: the tenant's own key may be gone."""
    claim: str
    recovery: tuple[RecoveryPassword, ...]
    """One of them opens it."""
    at: str = LATEST
    """``latest``, or a moment (RFC 3339): the newest recovery point until then."""


class FindOutcome(Outcome):
    """Which one. Of a run that failed nothing counts but reason and message."""

    backup: str = ""
    namespace: str = ""
    """Of the tenant that was, as the manifest says."""
    manifest_sha256: str = ""
    """By which the manifest is read from now on."""
    recovery_point: datetime | None = None
    recovery_key: str = ""
    """Id of the recovery key that opens the repository."""
