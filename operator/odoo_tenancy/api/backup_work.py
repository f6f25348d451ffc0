"""What the Jobs that prepare a repository and make a backup are told, and how they end."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from odoo_tenancy.api.manifest import StoredSnapshots
from odoo_tenancy.api.meta import ApiModel
from odoo_tenancy.api.work import DatabasePlace, Outcome, RepositoryPlace

DUMP = "database.dump"
"""The one file of a database's snapshot."""


class RecoveryPassword(ApiModel):
    """A password of the repository that was derived from a recovery key."""

    id: str
    """Of the recovery key."""
    password_file: str
    """Where the password is. The key itself is in no Job."""


class PrepareWork(ApiModel):
    """For ``python -m odoo_tenancy.jobs.prepare``: a repository that the tenant's key opens, and every recovery key."""

    repository: RepositoryPlace
    recovery: tuple[RecoveryPassword, ...] = ()
    pods_alive: tuple[str, ...] = ()
    """Names of the pods that may be at work in the repository."""
    pod_prefixes: tuple[str, ...] = ()
    """How the names of pods begin that work there for the operator: such a one that isn't alive is gone."""


class PrepareOutcome(Outcome):
    """How it ended."""

    made: bool = False
    """There was no repository before."""
    recovery_keys: tuple[str, ...] = ()
    """Ids of those that were seen to open it."""
    locks_removed: int = 0
    """restic's own, of Jobs that are gone."""


class Circumstances(ApiModel):
    """What the operator knows of a backup, for its manifest; see there."""

    backup: str
    namespace: str
    tenant: str
    claim: str
    reason: str
    policy: str
    recovery_keys: tuple[str, ...] = ()
    image: str = ""
    custom_resources: tuple[dict[str, Any], ...] = ()
    odoo_conf: str = ""
    secrets: tuple[str, ...] = ()


class BackupWork(ApiModel):
    """For ``python -m odoo_tenancy.jobs.backup``: one consistent set of database and files."""

    repository: RepositoryPlace
    database: DatabasePlace
    filestore: str
    """The directory with the files of this very database: ``<data_dir>/filestore/<database>``."""
    manifest_key: str
    """Where the manifest goes, below the bucket."""
    about: Circumstances
    cache: str = ""
    """A directory for restic's cache; empty: one of the Job's own, gone with it."""
    attempts: int = 3
    """How often database and files are stored again because a file was collected in between."""


class BackupOutcome(Outcome):
    """How it ended. Of a failed one nothing counts but reason and message."""

    snapshots: StoredSnapshots | None = None
    recovery_point: datetime | None = None
    database_bytes: int = 0
    filestore_bytes: int = 0
    filestore_files: int = 0
    uploaded_bytes: int = 0
    """Of all attempts, as the store got them: compressed and encrypted."""
    manifest_key: str = ""
    manifest_sha256: str = ""
    seconds: float = 0
    steps: dict[str, float] = Field(default_factory=dict)
    """Seconds of each step of the last attempt: ``database``, ``filestore``, ``check``."""
    attempts: int = 0
    """How many it took."""
