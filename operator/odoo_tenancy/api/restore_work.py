"""What a Job that restores is told, and what then lies ready."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from odoo_tenancy.api.meta import ApiModel
from odoo_tenancy.api.work import DatabasePlace, Outcome, RepositoryPlace, StorePlace


class RestoreWork(ApiModel):
    """One backup, to be laid beside what lives. The Job changes nothing that lives."""

    restore: str
    """An id of this restore: a later attempt with the same one goes on where it can, and may clear away what it left."""
    backup: str
    """Name of the TenantBackup, for messages."""
    repository: RepositoryPlace
    manifest_key: str
    """In the repository's bucket."""
    manifest_sha256: str = ""
    """What its bytes must have; empty only where nothing else is left but the store."""
    database: DatabasePlace
    """A new database, empty but for extensions, whose objects are made by and belong to this role."""
    filestores: str
    """Folder of Odoo's filestores, ``<data_dir>/filestore``."""
    folder: str
    """In it, one that nobody uses: what is restored comes there."""
    scratch: str = "/scratch"
    """A folder with room for the dump."""
    parallel: int = 2
    """Connections of the restore."""


class ArchiveWork(ApiModel):
    """An archive that a customer brings: an Odoo backup (zip) or a dump in pg_dump's custom format."""

    restore: str
    """An id of this load: a later attempt with the same one may clear away what an earlier one left."""
    store: StorePlace
    key: str
    """Of the archive in the bucket."""
    database: DatabasePlace
    """A new database, empty but for extensions, whose objects are made by and belong to this role."""
    filestores: str
    folder: str
    """As in :class:`RestoreWork`."""
    odoo_series: str = ""
    """Such as 19.0: what the tenant's image runs; an archive of another is refused."""
    largest_archive_bytes: int
    """The archive itself."""
    largest_database_bytes: int
    """The dump in it, as a script."""
    largest_filestore_bytes: int
    """All files in it together."""
    scratch: str = "/scratch"
    """A folder with room for the archive."""


class RestoreFigures(ApiModel):
    """What was restored."""

    seconds: dict[str, float] = Field(default_factory=dict)
    """Of each step."""
    tables: int = 0
    rows: int = 0
    files: int = 0
    bytes: int = 0
    """Of these files."""


class RestoreOutcome(Outcome):
    """What lies ready, and was compared with the manifest: swapping it in is the operator's."""

    result: Literal["Ready", "Failed"] = "Failed"
    database: str = ""
    """Ready to be renamed to the living one's name."""
    folder: str = ""
    """Ready likewise, by ``odoo_tenancy.jobs.filestore_swap``."""
    figures: RestoreFigures = RestoreFigures()


class SwapWork(ApiModel):
    """For ``python -m odoo_tenancy.jobs.filestore_swap``: a restored filestore takes the living one's place. With ``new``
    and ``former`` exchanged it is undone."""

    filestores: str
    living: str
    new: str
    former: str
    """A name that nobody uses before the first run; the same in every further one."""


class DiscardWork(ApiModel):
    """For ``python -m odoo_tenancy.jobs.filestore_discard``: folders that nobody needs any more."""

    filestores: str
    folders: tuple[str, ...]
