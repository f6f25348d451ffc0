"""Which bucket of which S3 service, and who we are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from odoo_tenancy.api.work import StorePlace


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key id and its secret; of a session also its token, and when it ends."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    expires: datetime | None = None

    @property
    def environment(self) -> dict[str, str]:
        """In AWS's own variables, which restic reads too."""
        found = {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_SESSION_TOKEN": self.session_token,
        }
        return {name: value for name, value in found.items() if value}

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Credentials:
        """Out of these variables; empty where one is missing, which the store will reject."""
        return cls(
            environment.get("AWS_ACCESS_KEY_ID", ""),
            environment.get("AWS_SECRET_ACCESS_KEY", ""),
            environment.get("AWS_SESSION_TOKEN", ""),
        )


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """One bucket, and as whom."""

    endpoint: str
    """URL of the S3 service."""
    region: str
    bucket: str
    credentials: Credentials
    ca_pem: str | None = field(default=None, repr=False)
    """Certificates of the authorities that may have signed the service's; ``None``: those of the image."""

    def __str__(self) -> str:
        return f"{self.bucket} at {self.endpoint}"

    @classmethod
    def of(cls, place: StorePlace, environment: Mapping[str, str]) -> BucketAddress:
        """As a Job is told it.

        Raises:
            OSError: the file of authorities can't be read.
        """
        ca_pem = Path(place.ca_file).read_text(encoding="utf-8") if place.ca_file else None
        return cls(place.endpoint, place.region, place.bucket, Credentials.of(environment), ca_pem)
