"""Fill a tenant's database: make an empty one an Odoo, or install what was asked for later.

Runs in Odoo's own image, by that image's Python, in a Job of the tenant's; it imports nothing of the
operator. May be run again on a database that an earlier run left half done. Two runs at once wait for each
other.

Exit status: 0 done; 64 the spec asks for what the image does not have, so that trying again cannot help;
anything else is worth another attempt. Why it failed stands in the container's termination message.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from odoo.release import version, version_info

WRONG_SPEC = 64
LOCK = 0x0D00_1217
"""Key of the advisory lock in the tenant's database that keeps two runs apart."""
TERMINATION_MESSAGE = "/dev/termination-log"
LONGEST_MESSAGE = 2048


class WrongSpecError(Exception):
    """The spec asks for what the image does not have."""


def main() -> int:
    """Parse the arguments, do the work, say how it went."""
    options = _options()
    try:
        if version_info < (19, 0):
            raise WrongSpecError(f"the image has Odoo {version}; this operator runs 19.0 and later")
        # The first of Odoo's modules to be imported: it patches libraries, and sets the time zone.
        import odoo.init  # noqa: F401

        _configure(options)
        _work(options)
    except WrongSpecError as error:
        _say_why(str(error))
        return WRONG_SPEC
    except Exception:
        traceback.print_exc()
        _say_why(traceback.format_exc())
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="/etc/odoo/odoo.conf")
    parser.add_argument(
        "--initialize", action="store_true", help="the database is new: attachments stay in it"
    )
    parser.add_argument("--demo", action="store_true", help="with demonstration data")
    parser.add_argument("--modules", required=True, type=_names)
    parser.add_argument("--languages", required=True, type=_names)
    parser.add_argument("--connections", default="4", help="db_maxconn")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _configure(options: argparse.Namespace) -> None:
    from odoo.tools import config

    arguments = [
        f"--config={options.config}",
        "--no-http",
        "--workers=0",
        "--max-cron-threads=0",
        f"--db_maxconn={options.connections}",
        "--with-demo" if options.demo else "--without-demo=True",
    ]
    # en_US is there from the start. Loaded between base and the other modules, whose terms then come along.
    if languages := [language for language in options.languages if language != "en_US"]:
        arguments.append(f"--load-language={','.join(languages)}")
    config.parse_config(arguments, setup_logging=True)


def _work(options: argparse.Namespace) -> None:
    import odoo.addons
    from odoo.api import SUPERUSER_ID, Environment
    from odoo.modules.module import get_module_path, initialize_sys_path
    from odoo.modules.registry import Registry
    from odoo.service.server import load_server_wide_modules
    from odoo.tools import config

    initialize_sys_path()
    if absent := sorted(name for name in options.modules if not get_module_path(name)):
        raise WrongSpecError(
            f"spec.odoo.modules: {', '.join(absent)}: no such module in the image's addons path "
            f"({', '.join(odoo.addons.__path__)}). Mend the name, or use an image that has it."
        )
    load_server_wide_modules()
    (database,) = config["db_name"]
    with _alone(database):
        registry = Registry.new(
            database, update_module=True, install_modules=options.modules, new_db_demo=options.demo
        )
        with registry.cursor() as cr:
            env = Environment(cr, SUPERUSER_ID, {})
            _check_modules(env, options.modules)
            _check_languages(env, options.languages)
            if options.initialize:
                _attachments_into_database(env)
    print(f"done: {database} has {', '.join(options.modules)}", flush=True)


@contextlib.contextmanager
def _alone(database: str) -> Iterator[None]:
    """Wait until no other run is at this database. The lock goes with the connection: a killed run leaves
    none."""
    from odoo.sql_db import db_connect

    with db_connect(database).cursor() as cr:
        cr.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        # A transaction that stays open would keep vacuum from what the installation leaves behind.
        cr.commit()
        yield


def _check_modules(env: Any, asked: list[str]) -> None:
    """Odoo warns where a module was not installed, and goes on; here that is a failure."""
    env.cr.execute("SELECT name, state FROM ir_module_module WHERE name = ANY(%s)", [asked])
    states = dict(env.cr.fetchall())
    if bad := sorted(name for name in asked if states.get(name) != "installed"):
        found = ", ".join(f"{name} is {states.get(name, 'unknown')}" for name in bad)
        raise WrongSpecError(f"spec.odoo.modules: not installed: {found}")
    env.cr.execute("SELECT name FROM ir_module_module WHERE state LIKE 'to %'")
    if left := sorted(name for (name,) in env.cr.fetchall()):
        raise RuntimeError(f"modules left half done: {', '.join(left)}")


def _check_languages(env: Any, asked: list[str]) -> None:
    env.cr.execute("SELECT code FROM res_lang WHERE active AND code = ANY(%s)", [asked])
    active = {code for (code,) in env.cr.fetchall()}
    if bad := sorted(set(asked) - active):
        raise WrongSpecError(f"spec.odoo.languages: Odoo has no language {', '.join(bad)}")


def _attachments_into_database(env: Any) -> None:
    """So that a copy of the database is a copy of all. Later ones go to the filestore: the parameter is taken
    back."""
    parameters = env["ir.config_parameter"]
    parameters.set_param("ir_attachment.location", "db")
    env["ir.attachment"].force_storage()
    env.flush_all()
    parameters.set_param("ir_attachment.location", False)
    env.cr.execute("SELECT count(*) FROM ir_attachment WHERE store_fname IS NOT NULL")
    ((left,),) = env.cr.fetchall()
    if left:
        raise RuntimeError(f"{left} attachments are still in files")


def _say_why(message: str) -> None:
    """For the condition of the tenant: the end of it, as a traceback says last what happened."""
    print(message, file=sys.stderr, flush=True)
    with contextlib.suppress(OSError), open(TERMINATION_MESSAGE, "w", encoding="utf-8") as file:
        file.write(message[-LONGEST_MESSAGE:])


if __name__ == "__main__":
    sys.exit(main())
