"""A tenant's backup repository: restic as a child process, its words as typed data and our own errors.

One repository is a :class:`Repository`. Who may open it: the tenant's own key, and for each recovery key the password of
:func:`derived_password`.
"""

from odoo_tenancy.services.restic.contents import (
    Change,
    Checked,
    Forgotten,
    Keep,
    OnProgress,
    RepositoryKey,
    RepositoryLock,
    Restored,
    Snapshot,
    StoredFile,
)
from odoo_tenancy.services.restic.errors import (
    CommandFailed,
    RepositoryDamaged,
    RepositoryLocked,
    RepositoryMissing,
    RepositoryPasswordWrong,
    SourceUnreadable,
)
from odoo_tenancy.services.restic.passwords import derived_password
from odoo_tenancy.services.restic.repository import DumpStream, Repository

__all__ = [
    "Change",
    "Checked",
    "CommandFailed",
    "DumpStream",
    "Forgotten",
    "Keep",
    "OnProgress",
    "Repository",
    "RepositoryDamaged",
    "RepositoryKey",
    "RepositoryLock",
    "RepositoryLocked",
    "RepositoryMissing",
    "RepositoryPasswordWrong",
    "Restored",
    "Snapshot",
    "SourceUnreadable",
    "StoredFile",
    "derived_password",
]
