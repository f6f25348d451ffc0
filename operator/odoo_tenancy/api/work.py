"""What a Job of backup, verification or restore is told, and what it says at its end.

A Job has no rights at the API server. It reads its work (one of the models of this module and its neighbours, as JSON)
from a file out of a Secret, prints a :class:`Progress` now and then, and leaves an :class:`Outcome` as its container's
termination message, of which Kubernetes keeps 4,096 bytes.
"""

from __future__ import annotations

from typing import Literal

from odoo_tenancy.api.meta import ApiModel

WORK_FILE = "/etc/odoo-tenancy/job/work.json"
"""Where a Job finds its work."""
PASSWORD_FILE = "/etc/odoo-tenancy/job/repository-password"  # noqa: S105 - a path
"""And the password that opens the repository."""
STORE_CA_FILE = "/etc/odoo-tenancy/job/store-ca.crt"
"""And the authority of the store's certificate, where it has one of its own."""
TERMINATION_MESSAGE = "/dev/termination-log"

DONE = "Done"
""":attr:`Outcome.reason` of a Job whose work is done."""


class StorePlace(ApiModel):
    """A bucket. Who may do what in it, the environment says, in AWS's own variables (``AWS_ACCESS_KEY_ID``,
    ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``)."""

    endpoint: str
    """URL of the S3 service."""
    region: str
    bucket: str
    ca_file: str = ""
    """Path of a file of certificate authorities; empty: those of the image."""


class RepositoryPlace(ApiModel):
    """A tenant's restic repository."""

    store: StorePlace
    path: str
    """Below the bucket, without a slash at either end: ``<prefix>/<claim>/restic``. Passwords for it are derived from
    this text."""
    password_file: str = PASSWORD_FILE


class DatabasePlace(ApiModel):
    """A database and as whom; the password is in ``PGPASSWORD``."""

    host: str
    port: int = 5432
    user: str
    name: str
    ssl_mode: Literal["disable", "require", "verify-ca", "verify-full"] = "verify-full"
    ca_file: str = ""
    """Path of a file of certificate authorities; empty: the system's."""


class Progress(ApiModel):
    """One line on a Job's standard output, at most a few times a minute."""

    step: str
    """One word: ``database``, ``filestore``, ``check``, …"""
    done_bytes: int = 0
    total_bytes: int = 0
    """Zero where it isn't known."""


class Outcome(ApiModel):
    """How a Job ended; each kind of Job adds what it found."""

    reason: str
    """CamelCase; ``Done``, or why it failed."""
    message: str
    """What happened, to what, why, what to do. Where all of it is too long, its beginning is left out."""
    again: bool = False
    """Whether the same attempt may succeed later, by itself."""
