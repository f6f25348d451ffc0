"""Every place where the installed Odoo reaches for the shared database is one that the addon moves or that nobody calls."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from devcluster import rootfs
from odoo_addons.odoo_tenancy.expected import PLACES

SOURCE = Path("usr/lib/python3/dist-packages/odoo")
MANAGEMENT = {"exp_duplicate_database", "exp_drop", "exp_rename"}
"""Of service/db.py: refused by ``list_db = False``, and moved like the others."""
NAMES = re.compile(r"""['"]postgres['"]|imbus|cron_trigger\b""")


@cache
def sources() -> tuple[tuple[str, str], ...]:
    """Path and text of what names the database or a channel, tests aside."""
    root = rootfs.rootfs("odoo-19.0") / SOURCE
    files = ((str(path.relative_to(root)), path.read_text("utf-8")) for path in sorted(root.rglob("*.py")))
    return tuple((file, text) for file, text in files if "/tests/" not in f"/{file}" and NAMES.search(text))


def openers(text: str) -> set[str]:
    """Functions with any call that is given the name ``postgres``."""
    found = set()
    for outer in ast.walk(ast.parse(text)):
        functions = outer.body if isinstance(outer, ast.ClassDef | ast.Module) else []
        for function in (each for each in functions if isinstance(each, ast.FunctionDef)):
            calls = (each for each in ast.walk(function) if isinstance(each, ast.Call))
            arguments = (
                argument for call in calls for argument in [*call.args, *(k.value for k in call.keywords)]
            )
            if any(isinstance(each, ast.Constant) and each.value == "postgres" for each in arguments):
                found.add(function.name)
    return found


def test_every_call_that_names_the_shared_database_is_known() -> None:
    known = {place.function.rpartition(".")[2] for place in PLACES} | MANAGEMENT
    assert set().union(*(openers(text) for _, text in sources())) == known


def test_the_channels_are_named_nowhere_else() -> None:
    speaking = {
        file
        for file, text in sources()
        if re.search(r"(?i)\b(listen|notify)\b.*(imbus|cron_trigger)|'imbus'", text)
    }
    assert speaking == {"addons/bus/models/bus.py", "service/server.py"}
    notifying = {file for file, text in sources() if re.search(r"'cron_trigger'", text)}
    assert notifying == {"addons/base/models/ir_cron.py", "service/server.py"}
