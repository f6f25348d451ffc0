"""Is this an Odoo that the addon was tried with? What it leans on is looked up in the installed source at start.

A patch that no longer meets what it was made for fails in silence: a bus that is heard by others, sessions that are
lost. So everything is checked before anything is patched, and whatever differs ends the start.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .settings import ConfigurationError

VERSIONS = ((19, 0),)
"""Those that the tests really run."""


@dataclass(frozen=True)
class Place:
    """A function of Odoo's that opens the shared database."""

    module: str
    file: str
    """Within the module's package."""
    function: str
    channel: str = ""
    """On which it speaks or listens there."""


PLACES = (
    Place("odoo.addons.bus", "models/bus.py", "BusBus._ensure_hooks", "imbus"),
    Place("odoo.addons.bus", "models/bus.py", "ImDispatch.loop", "imbus"),
    Place("odoo.addons.base", "models/ir_cron.py", "IrCron._notifydb", "cron_trigger"),
    Place("odoo.service", "server.py", "ThreadedServer.cron_thread", "cron_trigger"),
    Place("odoo.service", "server.py", "WorkerCron.start", "cron_trigger"),
    Place("odoo.service", "db.py", "_create_empty_database"),
    Place("odoo.service", "db.py", "list_dbs"),
    Place("odoo.addons.web", "controllers/home.py", "Home.health"),
)

STORE = frozenset(
    (
        "delete",
        "delete_from_identifiers",
        "delete_old_sessions",
        "generate_key",
        "get",
        "get_missing_session_identifiers",
        "get_session_filename",
        "is_valid_key",
        "list",
        "new",
        "rotate",
        "save",
        "save_if_modified",
        "vacuum",
    )
)
"""What Odoo's session store offers: one method more, and ours would answer it out of files that don't exist."""


def check() -> None:
    """Look at everything.

    Raises:
        ConfigurationError: with all that differs.
    """
    found = [*_version(), *(fault for place in PLACES for fault in _place(place)), *_patched()]
    if found:
        raise ConfigurationError(
            f"this Odoo isn't as expected: {'; '.join(found)}. Use an image of Odoo "
            f"{' or '.join('.'.join(map(str, version)) for version in VERSIONS)} that this release was tested with, "
            "or a release of the operator that knows this one."
        )


def faults(source: str, function: str, channel: str) -> Iterator[str]:
    """How a function differs from one that opens the shared database in the way that is patched."""
    tree = ast.parse(source)
    node = _find(tree, function)
    if node is None:
        yield "is missing"
        return
    if not any(_opens_shared(child) for child in ast.walk(node)):
        yield "doesn't call sql_db.db_connect('postgres')"
    if channel and not any(
        isinstance(child, ast.Constant) and isinstance(child.value, str) and channel in child.value
        for child in ast.walk(node)
    ):
        yield f"doesn't name the channel {channel}"


def _version() -> Iterator[str]:
    from odoo.release import version, version_info

    if version_info[:2] not in VERSIONS:
        yield f"its version is {version}"


def _place(place: Place) -> Iterator[str]:
    spec = importlib.util.find_spec(place.module)
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    file = next((path for folder in folders if (path := Path(folder, place.file)).is_file()), None)
    if file is None:
        yield f"{place.module} has no {place.file}"
        return
    source = file.read_text("utf-8")
    yield from (
        f"{place.function} in {place.module} {fault}"
        for fault in faults(source, place.function, place.channel)
    )


def _patched() -> Iterator[str]:
    from odoo import http, sql_db

    parameters = tuple(inspect.signature(sql_db.db_connect).parameters)
    if parameters != ("to", "allow_uri", "readonly"):
        yield f"sql_db.db_connect takes {', '.join(parameters)}"
    if not isinstance(vars(http.Application).get("session_store"), functools.cached_property):
        yield "http.Application.session_store is no cached property"
    if not (hasattr(http, "RegistryError") and hasattr(http.Request, "_serve_db")):
        yield "http has no RegistryError, or Request no _serve_db"
    offered = frozenset(name for name in dir(http.FilesystemSessionStore) if not name.startswith("_"))
    if offered != STORE:
        yield f"its session store differs in {', '.join(sorted(offered ^ STORE))}"


def _find(tree: ast.AST, dotted: str) -> ast.AST | None:
    node: ast.AST | None = tree
    for name in dotted.split("."):
        children = getattr(node, "body", [])
        kinds = (ast.ClassDef, ast.FunctionDef)
        node = next((child for child in children if isinstance(child, kinds) and child.name == name), None)
    return node


def _opens_shared(node: ast.AST) -> bool:
    """``sql_db.db_connect('postgres')``, or the same of ``odoo.sql_db``: looked up when it is called."""
    if not (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "db_connect"
    ):
        return False
    owner = node.func.value
    of_module = (isinstance(owner, ast.Name) and owner.id == "sql_db") or (
        isinstance(owner, ast.Attribute) and owner.attr == "sql_db"
    )
    return of_module and [argument.value for argument in node.args if isinstance(argument, ast.Constant)] == [
        "postgres"
    ]
