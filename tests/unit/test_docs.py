"""The pages in docs/ say what the code says: fields, conditions and their reasons, events, tiers, links."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from odoo_tenancy.api.backup import TenantBackup
from odoo_tenancy.api.pool import HostingPool
from odoo_tenancy.api.reference import Reference
from odoo_tenancy.api.schema import KINDS, open_api_schema
from odoo_tenancy.api.tenant import OdooTenant, Phase
from odoo_tenancy.desired.effective import TIERS
from odoo_tenancy.reconcile import pool, tenant

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "operator" / "odoo_tenancy"
LAYERS = ("api", "desired", "cluster", "services", "jobs", "reconcile")
PAGES = sorted(DOCS.glob("*.md"))

REASON_OF = {
    "good": 1, "found": 2, "run_job": 2, "Finding": 1, "JobEnded": 0, "Stage": 2, "_refused": 0,
    "RestoreEnded": 0, "ends": 3, "enters": 2, "_await_stop": 2, "is_held": 3,
}  # fmt: skip
"""Which argument of a call is a reason, besides those of the errors."""


UNTESTED = frozenset(
    {
        "BackupFound", "BackupsRemain", "CheckingImage", "Deleted", "FilestoreUnreadable", "ImageUnfit",
        "InstallingModules", "KeysFound", "LeftAlone", "NeutralizationFailed", "Neutralizing", "NotHeld",
        "NotVerifiedYet", "ResticUnknown", "RestoreInterrupted", "SafetyBackupFailed", "ScratchDatabaseLeft",
        "StartingOver", "StoreSessionRefused", "StoreUnknown", "SweepingScratch", "TemplatesLeft",
        "WorkIncomplete",
    }
)  # fmt: skip
"""Reasons that no test brings about yet. This list only gets shorter."""


@cache
def nodes() -> tuple[ast.AST, ...]:
    """All of the code that a condition can come from."""
    files = [path for layer in LAYERS for path in sorted((PACKAGE / layer).rglob("*.py"))]
    return tuple(node for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call in it, by the last part of the name that is called."""
    for node in nodes():
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            yield name, node


def errors() -> set[str]:
    """The classes of the one exception tree."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for node in nodes()
        if isinstance(node, ast.ClassDef)
    }
    found = {"OperatorError"}
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return found


def words(node: ast.expr) -> Iterator[str]:
    """The strings that an argument can be; of an f-string, a pattern."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from words(body)
            yield from words(orelse)
        case ast.JoinedStr(values=values):
            yield "".join(str(v.value) if isinstance(v, ast.Constant) else "[A-Z][A-Za-z]+" for v in values)


def reasons() -> set[str]:
    """Every reason that the code can give, as patterns."""
    found: set[str] = set()
    raised = errors() | {"__init__"}
    for name, call in calls():
        at = REASON_OF.get(name, 0 if name in raised else None)
        if at is None:
            continue
        for argument in call.args[at : at + 2 if name == "run_job" else at + 1]:
            found |= {
                word for word in words(argument) if re.fullmatch(r"(\[A-Z\]\S+\+)?[A-Z][A-Za-z]+", word)
            }
    return found


def events() -> set[str]:
    """Every reason of an event that is not a condition's."""
    return {word for name, call in calls() if name == "publish" for word in words(call.args[2])}


def condition_types() -> set[str]:
    """Every condition that the code can set."""
    said = {w for name, call in calls() if name in ("good", "found", "failed") for w in words(call.args[0])}
    return said | {stage.condition for stage in tenant.STAGES} | {*tenant.REQUIRED, *pool.REQUIRED}


def documented(heading: str = "") -> set[str]:
    """The reasons in the first column of the tables of conditions.md, of all of them or of one section."""
    text = (DOCS / "conditions.md").read_text(encoding="utf-8")
    if heading:
        text = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+`) \|", text, re.MULTILINE)
    return {reason for row in rows for reason in re.findall(r"`([A-Z][A-Za-z]+)`", row)}


def test_the_reference_is_what_the_models_generate() -> None:
    written = (DOCS / "reference.md").read_text(encoding="utf-8")
    assert written == Reference().page(), (
        "docs/reference.md differs from operator/odoo_tenancy/api: run `make crds`"
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_reference_names_every_property(kind: type) -> None:
    """The page is walked by hand, so nothing may fall through: every property's name stands in some table."""
    written = (DOCS / "reference.md").read_text(encoding="utf-8")
    named = {
        part.removesuffix("[]") for path in re.findall(r"`([^`]+)`", written) for part in path.split(".")
    }
    definitions = kind.model_json_schema(by_alias=True)["$defs"]  # type: ignore[attr-defined]
    properties = {
        name
        for title, definition in definitions.items()
        for name in definition.get("properties", {})
        if title != "ObjectMeta"
    }
    assert properties - named == set()


def test_the_reasons_that_the_code_gives_are_found() -> None:
    """Each way in which code can name one: error, error of one's own, f-string, choice, finding, Job."""
    found = reasons()
    assert {"PoolNotFound", "PostgresUnreachable", "QuotaExceeded", "Forbidden", "Answers"} <= found
    assert {"InitializationFailed", "Initializing", "NeverDrilled", "[A-Z][A-Za-z]+NotOurs"} <= found


def test_every_reason_is_documented() -> None:
    said = documented()
    missing = {reason for reason in reasons() if not any(re.fullmatch(reason, word) for word in said)}
    assert missing == set(), "give each a row in docs/conditions.md"


def test_no_reason_is_documented_that_the_code_never_gives() -> None:
    known = reasons() | events()
    assert {word for word in documented() if not any(re.fullmatch(reason, word) for reason in known)} == set()


def named_by_tests() -> set[str]:
    """The words of all tests' code: of strings that are no docstrings, and of names (an error's class has its name)."""
    found: set[str] = set()
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if path == Path(__file__) or "bench" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Expr(value=ast.Constant() as docstring):
                    docstring.value = ""
                case ast.Constant(value=str(text)):
                    found.update(re.findall(r"[A-Za-z]+", text))
                case ast.Name(id=name) | ast.Attribute(attr=name):
                    found.add(name)
    return found


def test_every_reason_is_brought_about_by_a_test() -> None:
    untested = documented() - named_by_tests()
    assert untested - UNTESTED == set(), "let a test bring each of them about, and see it said"
    assert UNTESTED - untested == set(), "these are tested (or gone): take them off the list"


def test_every_event_is_documented() -> None:
    assert documented("Events") == events()


def test_every_phase_that_a_tenant_can_be_in_is_documented() -> None:
    """Of the schema's those that some reconciler writes."""
    code = "".join((PACKAGE / "reconcile" / name).read_text() for name in ("tenant.py", "deletion.py"))
    text = (DOCS / "conditions.md").read_text(encoding="utf-8").partition("| phase |")[2].partition("\n\n")[0]
    listed = set(re.findall(r"^\| ([A-Z][a-z]+) \|", text, re.MULTILINE))
    assert listed == {phase for phase in get_args(Phase) if f'"{phase}"' in code}


def test_every_condition_has_a_section() -> None:
    text = (DOCS / "conditions.md").read_text(encoding="utf-8")
    titles = " ".join(re.findall(r"^###? (.*)$", text, re.MULTILINE))
    assert {type_ for type_ in condition_types() if not re.search(rf"\b{type_}\b", titles)} == set()


def test_the_tiers_are_as_the_how_to_says() -> None:
    text = (DOCS / "how-to.md").read_text(encoding="utf-8")
    for name, tier in TIERS.items():
        row = (name, tier.replicas, tier.spread, tier.rto, tier.rpo, tier.drill_every, tier.severity)
        assert f"| {' | '.join(map(str, row))} |" in text


def unknown(value: Any, schema: dict[str, Any], path: str = "") -> list[str]:
    """The fields of a manifest that a schema doesn't have."""
    if isinstance(value, list):
        return [found for item in value for found in unknown(item, schema["items"], f"{path}[]")]
    fields = schema.get("properties")
    if not isinstance(value, dict) or fields is None:
        return []
    missing = [f"{path}.{name}" for name in value if name not in fields]
    known = [name for name in value if name in fields]
    return missing + [
        found for name in known for found in unknown(value[name], fields[name], f"{path}.{name}")
    ]


def test_the_manifests_of_the_how_to_have_fields_that_exist() -> None:
    text = (DOCS / "how-to.md").read_text(encoding="utf-8")
    manifests = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    specs = [manifest.get("spec", manifest) for manifest in manifests if "kind" not in manifest]
    specs += [json.loads(patch)["spec"] for patch in re.findall(r"-p '(\{.*?\})'", text)]
    schemas = [
        open_api_schema(kind)["properties"]["spec"] for kind in (OdooTenant, HostingPool, TenantBackup)
    ]
    assert len(specs) > 8
    assert [spec for spec in specs if all(unknown(spec, schema) for schema in schemas)] == []


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def anchors(file: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
