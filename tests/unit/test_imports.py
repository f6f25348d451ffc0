"""Imports point one way (docs/architecture.md), kopf stays in ``runtime``, and the lower layers do no I/O."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "operator" / "odoo_tenancy"

MAY_IMPORT = {
    "api": set(),
    "desired": {"api"},
    "cluster": {"api"},
    "services": {"api"},
    "evidence": {"api"},
    "jobs": {"api", "services", "evidence"},
    "reconcile": {"api", "desired", "cluster", "services", "evidence"},
    "runtime": {"api", "desired", "cluster", "services", "evidence", "reconcile"},
    "cli": {"api", "cluster"},
}
"""``package -> packages that it may import``. Each may import itself."""

ONLY_IN = {
    "kopf": {"runtime"},
    "pydantic_settings": {"runtime"},
    "prometheus_client": {"runtime"},
    "kubernetes": {"cluster", "runtime", "cli"},
    "psycopg": {"services", "jobs"},
    "boto3": {"services", "jobs"},
}
"""What speaks to the outside is imported only by those whose work that is."""

PURE = {
    "api": {"asyncio", "aiohttp", "socket", "time", "random", "secrets", "os", "subprocess"},
    "desired": {"asyncio", "aiohttp", "socket", "time", "random", "secrets", "os", "subprocess"},
}
"""No I/O, no clock, no randomness there."""


def imports(tree: ast.AST, package: tuple[str, ...]) -> Iterator[str]:
    """Every module that a module imports, by its full name, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{name}.{alias.name}" for alias in node.names)


def violations(path: Path, source: str) -> list[str]:
    """What a file of the package imports and must not."""
    parts = path.relative_to(ROOT).parts
    if len(parts) == 1:
        return []
    layer = parts[0]
    found = []
    for name in imports(ast.parse(source), ("odoo_tenancy", *parts[:-1])):
        top, *rest = name.split(".")
        other = rest[0] if top == "odoo_tenancy" and rest else layer
        if other in MAY_IMPORT and other not in MAY_IMPORT[layer] | {layer}:
            found.append(f"{layer} must not import {other} ({name})")
        if layer not in ONLY_IN.get(top, {layer}):
            found.append(f"{layer} must not import {top}")
        if top in PURE.get(layer, ()):
            found.append(f"{layer} must stay free of {top}")
    return found


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    assert violations(path, path.read_text()) == []


def test_every_package_is_known() -> None:
    packages = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith("__")}
    assert packages <= set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("api/x.py", "from odoo_tenancy.cluster import client"),
        ("api/x.py", "from odoo_tenancy import cluster"),
        ("api/x.py", "from ..cluster import client"),
        ("desired/x.py", "import odoo_tenancy.services.postgres"),
        ("desired/x.py", "def f():\n    import time"),
        ("cluster/x.py", "from odoo_tenancy.desired.names import x"),
        ("reconcile/x.py", "import kopf"),
        ("reconcile/x.py", "from odoo_tenancy.runtime.queue import WorkQueue"),
        ("reconcile/x.py", "import psycopg"),
    ],
)
def test_the_check_sees_what_is_wrong(path: str, source: str) -> None:
    assert violations(ROOT / path, source)


def test_the_check_lets_pass_what_is_right() -> None:
    source = "from odoo_tenancy.api.meta import Key\nfrom .pool import x\nimport odoo_tenancy"
    assert violations(ROOT / "reconcile" / "x.py", source) == []
