"""PostgreSQL's own programs, of the server's major version: a newer pg_dump writes what an older server refuses."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.work import DatabasePlace
from odoo_tenancy.services.postgres.address import CONNECT_TIMEOUT

INSTALLED = Path("/usr/lib/postgresql")
"""Debian's layout: ``<major>/bin``."""


def program(name: str, major: int, path: str | None = None, installed: Path = INSTALLED) -> str:
    """Where a program is.

    Args:
        name: such as ``pg_dump``.
        major: of the server.
        path: where it is looked for beside ``installed``; default: the process's ``PATH``.

    Raises:
        Refused: there is none of this version.
    """
    candidates = [str(installed / str(major) / "bin" / name), shutil.which(name, path=path) or ""]
    versions = {candidate: _major(candidate) for candidate in candidates if candidate}
    for candidate, found in versions.items():
        if found == major:
            return candidate
    others = sorted({*(v for v in versions.values() if v), *_majors(installed, name)})
    raise Refused(
        "ClientMissing",
        f"The server is PostgreSQL {major}, and this image has {name} of"
        f" {', '.join(map(str, others)) or 'no version'}. Use an operator's image with postgresql-client-{major}.",
    )


def environment(place: DatabasePlace, password: str) -> Mapping[str, str]:
    """libpq's variables: the password is in no argument."""
    found = {
        "PGHOST": place.host,
        "PGPORT": str(place.port),
        "PGUSER": place.user,
        "PGPASSWORD": password,
        "PGDATABASE": place.name,
        "PGSSLMODE": place.ssl_mode,
        "PGSSLCERTMODE": "disable",
        "PGGSSENCMODE": "disable",
        "PGCONNECT_TIMEOUT": str(CONNECT_TIMEOUT),
        "PGAPPNAME": "odoo-tenancy",
    }
    if place.ssl_mode.startswith("verify"):
        found["PGSSLROOTCERT"] = place.ca_file or "/etc/ssl/certs/ca-certificates.crt"
    return found


def _major(candidate: str) -> int | None:
    try:
        said = subprocess.run(
            [candidate, "--version"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"\) (\d+)", said)
    return int(found[1]) if found else None


def _majors(installed: Path, name: str) -> list[int]:
    found = (each.parents[1].name for each in installed.glob(f"*/bin/{name}"))
    return [int(each) for each in found if each.isdigit()]
