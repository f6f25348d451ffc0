"""Where a repository is, in restic's words."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.work import RepositoryPlace

PACK_MIB = 64
"""Four times restic's own: a quarter of the objects whose lock is extended."""
LOCK_PATIENCE = "5m"
"""How long restic waits for another's lock before it gives up."""
CORES = 4
"""Go's runtime counts the node's, not the container's, and restic takes memory for each."""
_DIRECTORY = "file://"


def location(place: RepositoryPlace) -> str:
    """restic's name of it. An endpoint ``file:///…`` means a copy of the bucket in a directory.

    Raises:
        Refused: the endpoint is no URL of an S3 service.
    """
    store = place.store
    if store.endpoint.startswith(_DIRECTORY):
        return str(Path(store.endpoint.removeprefix(_DIRECTORY)) / store.bucket / place.path)
    if not store.endpoint.startswith(("https://", "http://")):
        raise Refused(
            "EndpointInvalid", f"The store's endpoint {store.endpoint!r} must begin with https:// or http://."
        )
    return f"s3:{store.endpoint.rstrip('/')}/{store.bucket}/{place.path}"


def options(place: RepositoryPlace, cache: Path | None) -> tuple[str, ...]:
    """What every command has in common."""
    return (
        "--repo", location(place),
        "--password-file", place.password_file,
        "--pack-size", str(PACK_MIB),
        *(("--no-cache",) if cache is None else ("--cache-dir", str(cache), "--cleanup-cache")),
        *(("--cacert", place.store.ca_file) if place.store.ca_file else ()),
        *(("--option", f"s3.region={place.store.region}") if place.store.region else ()),
    )  # fmt: skip


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """``given``, without what would overrule the options, and with how often restic says how far it is."""
    kept = {name: value for name, value in given.items() if not name.startswith("RESTIC_")}
    return {"GOMAXPROCS": str(min(CORES, os.cpu_count() or 1)), **kept, "RESTIC_PROGRESS_FPS": "0.2"}
