"""Neutralize a copy: what Odoo itself does for it, each installed module's ``data/neutralize.sql``.

Runs in Odoo's own image, by that image's Python, in a Job of the tenant's; it imports nothing of the operator. May be run
again. Whether it took is not for this script to say: the operator looks at the rows afterwards.

Exit status: 0 done; 64 the image can't do it, so that trying again cannot help; anything else is worth another attempt.
Why it failed stands in the container's termination message.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import traceback

WRONG_SPEC = 64
TERMINATION_MESSAGE = "/dev/termination-log"
LONGEST_MESSAGE = 2048


class WrongSpecError(Exception):
    """The image doesn't go with the database."""


def main() -> int:
    """Do it, say how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="/etc/odoo/odoo.conf")
    parser.add_argument("--database", default="", help="another one than the configuration names")
    options = parser.parse_args()
    try:
        _neutralize(options.config, options.database)
    except WrongSpecError as error:
        _say_why(str(error))
        return WRONG_SPEC
    except Exception:
        traceback.print_exc()
        _say_why(traceback.format_exc())
        return 1
    return 0


def _neutralize(configuration: str, database: str) -> None:
    import odoo.sql_db
    from odoo.modules.module import get_module_path, initialize_sys_path
    from odoo.modules.neutralize import get_installed_modules, neutralize_database
    from odoo.tools import config

    arguments = [f"--config={configuration}", "--no-http", *([f"--database={database}"] if database else [])]
    config.parse_config(arguments, setup_logging=True)
    # Else Odoo finds no module's file, and doesn't mind.
    initialize_sys_path()
    names = config["db_name"]
    name = names if isinstance(names, str) else names[0]  # a list from 19.0 on
    with odoo.sql_db.db_connect(name).cursor() as cr:
        absent = sorted(module for module in get_installed_modules(cr) if not get_module_path(module))
        if absent:
            raise WrongSpecError(
                f"the image lacks installed modules, so how they are neutralized isn't known: {', '.join(absent[:9])}. "
                "Use an image that has them."
            )
        neutralize_database(cr)
    print(f"done: {name} is neutralized", flush=True)


def _say_why(message: str) -> None:
    """For the condition of the tenant: the end of it, as a traceback says last what happened."""
    print(message, file=sys.stderr, flush=True)
    with contextlib.suppress(OSError), open(TERMINATION_MESSAGE, "w", encoding="utf-8") as file:
        file.write(message[-LONGEST_MESSAGE:])


if __name__ == "__main__":
    sys.exit(main())
