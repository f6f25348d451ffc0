"""A real API server takes our kinds, and refuses what is wrong with a message that names the field and the
mend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest
import yaml
from tests.integration.api.bad import BAD, Bad
from tests.integration.api.places import Path, Place, changed, dotted, get, places
from tests.integration.api.server import PLURALS, Manifest, Server
from tests.support.crds import CRDS, apply_crds

from devcluster.control_plane import control_plane
from odoo_tenancy.api.rules import RULES

HERE = FilePath(__file__).parent

SCHEMAS: dict[str, dict[str, Any]] = {
    kind: yaml.safe_load((CRDS / f"{plural}.odootenancy.io.yaml").read_text())["spec"]["versions"][0][
        "schema"
    ]["openAPIV3Schema"]
    for kind, plural in PLURALS.items()
}
GOOD: dict[str, list[Manifest]] = {
    kind: list(yaml.safe_load_all((HERE / "good" / f"{kind.lower()}.yaml").read_text())) for kind in PLURALS
}

every_kind = pytest.mark.parametrize("kind", PLURALS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Of its own: an operator that other tests have running would take hold of the examples."""
    with control_plane(tmp_path_factory.mktemp("api") / "data", with_controller_manager=False) as plane:
        apply_crds(plane)
        yield Server(plane)


@pytest.fixture(scope="module")
def stored(server: Server) -> Iterator[dict[tuple[str, str], Manifest]]:
    """Every good example, really created, as the server returned it."""
    created = {}
    for kind, examples in GOOD.items():
        for example in examples:
            answer = server.create(example, dry_run=False)
            assert answer.code == 201, (kind, answer.body)
            created[kind, example["metadata"]["name"]] = answer.body
    yield created
    for examples in GOOD.values():
        server.delete_all(examples[0])


def rules_of(kind: str) -> list[tuple[Place, dict[str, str]]]:
    return [(place, rule) for place, node in places(SCHEMAS[kind]) for rule in node.get(RULES, ())]


def bad_values(kind: str, place: Place, rule: dict[str, str]) -> tuple[Bad, ...]:
    message = rule["message"]
    where = f"{kind}.{place}" if place.steps else kind
    return BAD.get(f"{where} {message}") or BAD.get(message, ())


def example_with(kind: str, place: Place, name: str = "") -> tuple[Manifest, Path] | None:
    """A good example in which the place is filled, and where that is."""
    for example in GOOD[kind]:
        found = place.find(example)
        if found and name in ("", example["metadata"]["name"]):
            return example, found[0]
    return None


@every_kind
def test_good_examples_are_accepted_and_fill_every_field(
    kind: str, stored: dict[tuple[str, str], Manifest]
) -> None:
    empty = [str(place) for place, _ in places(SCHEMAS[kind]) if example_with(kind, place) is None]
    assert empty == [], "no good example has these: a rule on them has never been seen to let anything pass"


@every_kind
def test_good_examples_can_be_written_again(
    kind: str, server: Server, stored: dict[tuple[str, str], Manifest]
) -> None:
    for example in GOOD[kind]:
        answer = server.replace(stored[kind, example["metadata"]["name"]])
        assert answer.code == 200, answer.body


@every_kind
def test_every_rule_refuses_its_bad_examples(
    kind: str, server: Server, stored: dict[tuple[str, str], Manifest]
) -> None:
    faults = []
    for place, rule in rules_of(kind):
        values = bad_values(kind, place, rule)
        if not values:
            faults.append(f"{kind}.{place}: no bad example for: {rule['message']}")
        faults += [fault for bad in values for fault in _not_refused(kind, place, rule, bad, server, stored)]
    assert faults == []


def _not_refused(
    kind: str,
    place: Place,
    rule: dict[str, str],
    bad: Bad,
    server: Server,
    stored: dict[tuple[str, str], Manifest],
) -> list[str]:
    found = example_with(kind, place, bad.example)
    if found is None:
        return [f"{kind}.{place}: no good example {bad.example} to start from"]
    example, path = found
    if "oldSelf" in rule["rule"]:
        answer = server.replace(changed(stored[kind, example["metadata"]["name"]], path, bad.value))
    else:
        answer = server.create(changed(example, path, bad.value))
    field = (dotted(path) + rule.get("fieldPath", "")).removeprefix(".")
    wanted = bad.says or rule["message"]
    if answer.code == 422 and any(f == field and wanted in message for f, message in answer.causes):
        return []
    return [f"{kind}.{place} = {bad.value!r}: {field}: {wanted!r} is not in {answer.code} {answer.causes}"]


def test_every_bad_example_belongs_to_a_rule() -> None:
    used = set()
    for kind in PLURALS:
        for place, rule in rules_of(kind):
            where = f"{kind}.{place}" if place.steps else kind
            used |= {rule["message"], f"{where} {rule['message']}"}
    assert set(BAD) - used == set()


def _bound_breakers(node: dict[str, Any], value: Any) -> Iterator[tuple[str, Any]]:
    """For every plain bound of a schema node: its keyword, and a value that breaks it."""
    if "enum" in node:
        yield "enum", "NoSuchValue"
    if "minimum" in node:
        yield "minimum", node["minimum"] - 1
    if "maximum" in node:
        yield "maximum", node["maximum"] + 1
    if "maxLength" in node and node.get("type") == "string":
        yield "maxLength", "x" * (node["maxLength"] + 1)
    if node.get("minLength"):
        yield "minLength", ""
    if node.get("minItems"):
        yield "minItems", []
    if "maxItems" in node:
        yield "maxItems", _distinct(value, node["maxItems"] + 1)
    if "maxProperties" in node:
        first = next(iter(value.values()))
        yield "maxProperties", {f"key{n}": first for n in range(node["maxProperties"] + 1)}
    if node.get("format") == "date-time":
        yield "date-time", "yesterday"


def _twice(node: dict[str, Any], value: Any) -> Iterator[tuple[str, Any]]:
    """For a list that holds nothing twice: one that does."""
    if node.get("x-kubernetes-list-type") in ("set", "map"):
        yield node["x-kubernetes-list-type"], [value[0], value[0]]


def _distinct(items: list[Any], count: int) -> list[Any]:
    """So many items like the first, different where a list is a set or a map by name."""
    first = items[0]
    if isinstance(first, int):
        return list(range(1, count + 1))
    if isinstance(first, str):
        return [f"{first[:8]}{n}" for n in range(count)]
    return [
        {**first, **{key: f"n{n}" for key in ("name", "id", "key") if key in first}} for n in range(count)
    ]


@every_kind
def test_every_bound_is_held_and_names_the_field(kind: str, server: Server) -> None:
    faults = []
    for place, node in places(SCHEMAS[kind]):
        found = example_with(kind, place)
        assert found is not None, place
        example, path = found
        broken = [(dotted(path), *each) for each in _bound_breakers(node, get(example, path))]
        broken += [(f"{dotted(path)}.1", *each) for each in _twice(node, get(example, path))]
        for field, keyword, value in broken:
            answer = server.create(changed(example, path, value))
            if answer.code != 422 or field not in {f for f, _ in answer.causes}:
                faults.append(f"{field} {keyword}: {answer.code} {answer.causes}")
    assert faults == []


@every_kind
def test_every_required_field_is_asked_for_by_name(kind: str, server: Server) -> None:
    faults = []
    for place, node in places(SCHEMAS[kind]):
        for name in node.get("required", ()):
            found = example_with(kind, place)
            assert found is not None, place
            example, path = found
            answer = server.create(changed(example, path, {name: None}))
            field = f"{dotted(path)}.{name}".removeprefix(".")
            if not any(f == field and "Required value" in message for f, message in answer.causes):
                faults.append(f"{field}: {answer.code} {answer.causes}")
    assert faults == []


@every_kind
def test_a_status_is_kept_whole_and_only_by_its_subresource(
    kind: str, server: Server, stored: dict[tuple[str, str], Manifest]
) -> None:
    example = GOOD[kind][0]
    fields = {"properties": {"spec": SCHEMAS[kind]["properties"]["status"]}}
    empty = [str(place) for place, _ in places(fields) if not place.find({"spec": example["status"]})]
    assert empty == [], "the example's status doesn't have these: whether they are kept isn't seen"
    created = stored[kind, example["metadata"]["name"]]
    assert "status" not in created
    answer = server.replace({**created, "status": example["status"]}, "/status")
    assert answer.code == 200, answer.body
    assert answer.body["status"] == example["status"]


@every_kind
def test_printer_columns_show_values(
    kind: str, server: Server, stored: dict[tuple[str, str], Manifest]
) -> None:
    example = GOOD[kind][0]
    written = server.replace(
        {**stored[kind, example["metadata"]["name"]], "status": example["status"]}, "/status", dry_run=False
    )
    assert written.code == 200, written.body
    stored[kind, example["metadata"]["name"]] = written.body
    table = server.table(example).body
    names = [column["name"] for column in table["columnDefinitions"]]
    row = next(row["cells"] for row in table["rows"] if row["cells"][0] == example["metadata"]["name"])
    shown = dict(zip(names, row, strict=True))
    filled = {name for name, cell in shown.items() if cell not in (None, "")}
    assert set(names) - filled <= {"Backup", "Proven"}, shown


def test_a_hold_and_an_acknowledgement_may_change(
    server: Server, stored: dict[tuple[str, str], Manifest]
) -> None:
    backup = changed(stored["TenantBackup", "acme-x7k2p"], ("spec", "hold"), True)
    assert server.replace(backup).code == 200
    later = {"by": "Grace", "remediation": "Done.", "until": ""}
    drill = changed(stored["RestoreDrill", "acme-r2d2c"], ("spec", "acknowledgement"), later)
    assert server.replace(drill).code == 200


def test_a_volume_may_grow(server: Server, stored: dict[tuple[str, str], Manifest]) -> None:
    tenant = changed(stored["OdooTenant", "acme"], ("spec", "filestore", "size"), "11Gi")
    assert server.replace(tenant).code == 200
