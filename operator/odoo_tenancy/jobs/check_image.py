"""May this image serve the database as it is? Not if it is of another Odoo series, lacks an installed module,
or has a newer version of one: that would be an upgrade.

Runs in the image that is asked for, by that image's Python, in a Job of the tenant's; it only reads.

Exit status: 0 yes; 64 no, and the container's termination message says why; anything else: it could not be
told.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import traceback

import odoo
import odoo.release
import odoo.sql_db
from odoo.tools import config

WRONG_SPEC = 64
TERMINATION_MESSAGE = "/dev/termination-log"
LONGEST_MESSAGE = 2048
SHOWN = 5


def main() -> int:
    """Compare, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="/etc/odoo/odoo.conf")
    options = parser.parse_args()
    try:
        config.parse_config([f"--config={options.config}", "--no-http"], setup_logging=True)
        names = config["db_name"]
        database = names if isinstance(names, str) else names[0]  # a list from 19.0 on
        with odoo.sql_db.db_connect(database).cursor() as cr:
            cr.execute(
                "SELECT name, latest_version FROM ir_module_module WHERE state = 'installed' ORDER BY name"
            )
            objection = _objection(dict(cr.fetchall()))
    except Exception:
        traceback.print_exc()
        _say_why(traceback.format_exc())
        return 1
    if objection:
        _say_why(objection)
        return WRONG_SPEC
    print(f"done: Odoo {odoo.release.version} may serve {database}", flush=True)
    return 0


def _objection(installed: dict[str, str]) -> str:
    series = odoo.release.major_version
    before = ".".join(installed["base"].split(".")[:2])
    if series != before:
        return (
            f"the image has Odoo {series}, the database is of {before}: a change of series is not supported "
            "by this version of the operator. Set spec.odoo.image back."
        )
    # From 19.0 on: of another series this line is never reached.
    from odoo.modules.module import Manifest, initialize_sys_path

    initialize_sys_path()
    manifests = {name: Manifest.for_addon(name, display_warning=False) for name in installed}
    absent = [name for name, manifest in manifests.items() if manifest is None]
    if absent:
        return f"the image lacks modules that are installed: {_few(absent)}. Use an image that has them."
    newer = [
        f"{name} {installed[name]} -> {manifest.version}"
        for name, manifest in manifests.items()
        if manifest is not None and _parts(manifest.version) > _parts(installed[name])
    ]
    if newer:
        return (
            f"the image has newer versions of installed modules, and an upgrade of modules is not supported "
            f"by this version of the operator: {_few(newer)}. Use an image with the versions that are "
            "installed."
        )
    return ""


def _parts(version: str) -> list[int]:
    return [int(part) if part.isdigit() else 0 for part in (version or "0").split(".")]


def _few(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _say_why(message: str) -> None:
    """For the condition of the tenant."""
    print(message, file=sys.stderr, flush=True)
    with contextlib.suppress(OSError), open(TERMINATION_MESSAGE, "w", encoding="utf-8") as file:
        file.write(message[-LONGEST_MESSAGE:])


if __name__ == "__main__":
    sys.exit(main())
