"""Where things are: what survives (cache), what ``down`` takes away (state), and this source tree."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DEV = REPOSITORY / "dev"
MANIFESTS = DEV / "manifests"

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "odoo-tenancy"
"""Tools and images that were built; nothing in it is needed to be right, all of it saves time."""

_STATE = Path("/var/lib/odoo-tenancy-dev") if os.geteuid() == 0 else CACHE / "state"
STATE = Path(os.environ.get("ODOO_TENANCY_STATE") or _STATE)
"""A running cluster's files, logs and sockets. Short, because the path of a Unix socket ends at 107 bytes."""
