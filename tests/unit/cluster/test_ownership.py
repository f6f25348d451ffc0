"""What ``managedFields`` say: which part is ours, what strangers added, and how to take it away."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.cluster import samples
from tests.unit.cluster.samples import CONTAINER, PORT, entry, live

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.fields import (
    contains,
    differing,
    locate,
    pointer,
    project,
    readable,
    step,
    union,
)
from odoo_tenancy.cluster.ownership import (
    created_by_this_apply,
    extensions,
    own_fields,
    own_hash,
    restoring,
    stripping,
    writers,
)

IN_CONTAINER = ("f:spec", "f:template", "f:spec", "f:containers", CONTAINER)


def container(body: Manifest) -> Manifest:
    found: Manifest = body["spec"]["template"]["spec"]["containers"][1]
    return found


def test_the_projection_holds_what_we_applied_and_nothing_else() -> None:
    body = samples.deployment()
    projected = project(body, own_fields(body) or {})
    assert projected["f:spec"]["f:replicas"] == 2
    ours = projected["f:spec"]["f:template"]["f:spec"]["f:containers"]
    assert ours == {
        CONTAINER: {
            "f:name": "odoo",
            "f:image": "odoo:19.0",
            "f:ports": {PORT: {"f:containerPort": 8069, "f:name": "http"}},
            "f:resources": {"f:limits": {"f:cpu": "500m"}},
        }
    }


@pytest.mark.parametrize(
    "heartbeat",
    [
        lambda body: body["status"].update(observedGeneration=7),
        lambda body: body["metadata"].update(resourceVersion="101", generation=7),
        lambda body: body["metadata"]["managedFields"][0].update(time="2027-01-01T00:00:00Z"),
        lambda body: body["metadata"]["annotations"].update(note="x"),
        lambda body: container(body).update(terminationMessagePath="/elsewhere"),
        lambda body: body["spec"]["template"]["spec"]["containers"].reverse(),
    ],
)
def test_the_hash_passes_over_what_is_not_ours(heartbeat: Any) -> None:
    body = samples.deployment()
    before = own_hash(body)
    heartbeat(body)
    assert own_hash(body) == before


@pytest.mark.parametrize(
    "deed",
    [
        lambda body: container(body).update(image="evil:1"),
        lambda body: container(body).pop("ports"),
        lambda body: body["metadata"]["labels"].pop("odootenancy.io/tenant"),
        lambda body: body["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"].pop("f:replicas"),
        lambda body: body["metadata"].pop("managedFields"),
    ],
)
def test_the_hash_changes_with_a_value_and_with_a_stolen_field(deed: Any) -> None:
    body = samples.deployment()
    before = own_hash(body)
    deed(body)
    assert own_hash(body) != before


def test_an_entry_of_a_subresource_or_of_an_update_is_not_what_we_applied() -> None:
    update = entry("odoo-tenancy", {"f:data": {"f:b": {}}})
    status = entry("odoo-tenancy", {"f:status": {}}, "Apply", subresource="status")
    assert own_fields(live("ConfigMap", "c", update, status)) is None
    assert own_hash(live("ConfigMap", "c", update, status)) is None


def test_extensions_are_the_topmost_fields_of_strangers() -> None:
    found = extensions(samples.deployment())
    assert [readable(each.path) for each in found] == [
        "spec.template.metadata.annotations.note",
        "spec.template.spec.containers[name=odoo].env",
        "spec.template.spec.containers[name=side]",
    ]
    assert {str(each.writer) for each in found} == {"kubectl-edit at 2026-11-22T12:34:56Z"}


def test_a_tolerated_manager_extends_nothing() -> None:
    assert extensions(samples.deployment(), frozenset({"kubectl-edit"})) == []


def test_nobody_is_a_controller_of_a_network_policy() -> None:
    fields: dict[str, Any] = {"f:spec": {"f:ingress": {}}}
    spec: dict[str, Any] = {"ingress": [{}]}
    policy = live("NetworkPolicy", "deny", entry("kube-controller-manager", fields), spec=spec)
    assert [readable(each.path) for each in extensions(policy)] == ["spec.ingress"]
    volume = live("PersistentVolumeClaim", "v", entry("kube-controller-manager", fields), spec=spec)
    assert extensions(volume) == []


def test_the_patch_removes_later_items_first_and_only_from_this_version() -> None:
    body = samples.deployment()
    patch = stripping(body, extensions(body))
    assert patch[0] == {"op": "replace", "path": "/metadata/resourceVersion", "value": "100"}
    paths = [operation["path"] for operation in patch[1:]]
    assert paths.index("/spec/template/spec/containers/1/env") < paths.index(
        "/spec/template/spec/containers/0"
    )
    assert "/spec/template/metadata/annotations/note" in paths
    assert len(paths) == 3


def test_members_of_a_set_and_names_with_slashes_are_found() -> None:
    fields = {
        "f:metadata": {"f:labels": {"f:a.b/c~d": {}}},
        "f:subjects": {'v:"two"': {}, "i:0": {}},
    }
    ours = entry("odoo-tenancy", {"f:subjects": {'v:"three"': {}}}, "Apply")
    body = live("ConfigMap", "c", ours, entry("kubectl-edit", fields), subjects=["one", "two", "three"])
    body["metadata"]["labels"] = {"a.b/c~d": "x"}
    paths = {operation["path"] for operation in stripping(body, extensions(body))[1:]}
    assert paths == {"/metadata/labels/a.b~1c~0d", "/subjects/1", "/subjects/0"}


def test_a_note_about_a_field_that_is_not_there_is_no_extension() -> None:
    body = live("Service", "s", entry("kubectl-edit", {"f:spec": {"f:externalTrafficPolicy": {}}}), spec={})
    assert extensions(body) == []


def test_where_two_types_exclude_each_other_the_whole_item_is_put_back() -> None:
    fields: dict[str, Any] = {"f:spec": {"f:volumes": {'k:{"name":"data"}': {"f:hostPath": {"f:path": {}}}}}}
    volume = {"name": "data", "hostPath": {"path": "/"}}
    ours: dict[str, Any] = {"f:spec": {"f:volumes": {'k:{"name":"data"}': {".": {}, "f:name": {}}}}}
    managed = (entry("odoo-tenancy", ours, "Apply"), entry("kubectl-edit", fields))
    body = live("Deployment", "d", *managed, spec={"volumes": [volume]})
    wanted = {"spec": {"volumes": [{"name": "data", "configMap": {"name": "c"}}]}}
    assert restoring(body, wanted, extensions(body))[1:] == [
        {"op": "replace", "path": "/spec/volumes/0", "value": {"name": "data", "configMap": {"name": "c"}}}
    ]


def test_writers_come_latest_first_and_without_us() -> None:
    fields: dict[str, Any] = {"f:data": {"f:a": {}}}
    body = live(
        "ConfigMap",
        "c",
        entry("odoo-tenancy", fields, "Apply", time="2026-11-22T14:00:00Z"),
        entry("kubectl-edit", fields, time="2026-11-22T12:00:00Z"),
        entry("helm", fields, time="2026-11-22T13:00:00Z"),
        entry("argocd", {"f:data": {"f:b": {}}}),
    )
    assert [w.manager for w in writers(body, [("f:data", "f:a")])] == ["helm", "kubectl-edit"]
    assert [w.manager for w in writers(body, [("f:data",)])] == ["helm", "argocd", "kubectl-edit"]


def test_a_new_object_has_no_other_writer() -> None:
    ours = entry("odoo-tenancy", {"f:data": {}}, "Apply")
    assert created_by_this_apply(live("ConfigMap", "c", ours, entry("odoo-tenancy", {})))
    assert not created_by_this_apply(live("ConfigMap", "c", ours, entry("kubectl-create", {"f:data": {}})))


def test_differences_are_named_by_field_and_by_item() -> None:
    before, after = samples.deployment(), samples.deployment()
    container(before)["image"] = "evil:1"
    del container(before)["ports"]
    del before["metadata"]["labels"]
    assert [readable(path) for path in differing(before, after, own_fields(after) or {})] == [
        *(f"metadata.labels[{name}]" for name in samples.LABELS),
        "spec.template.spec.containers[name=odoo].image",
        "spec.template.spec.containers[name=odoo].ports[containerPort=8069,protocol=TCP]",
    ]


def test_the_set_of_fields_is_walked() -> None:
    fields: dict[str, Any] = {"f:a": {".": {}, "f:b": {}}, "f:c": {}}
    assert contains(fields, ("f:a",))
    assert contains(fields, ("f:a", "f:b"))
    assert contains(fields, ("f:c", "f:below"))
    assert not contains(fields, ("f:a", "f:d"))
    assert union(fields, {"f:a": {"f:d": {}}}) == {"f:a": {".": {}, "f:b": {}, "f:d": {}}, "f:c": {}}


NAMES = st.sampled_from(["a", "b", "c", "d.e/f~g"])
LEAVES = st.sampled_from([True, 0, 1, "x"])


def marked(below: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Fields, each marked: ours or not. Of a fixed depth, as recursive strategies are slow."""
    return st.dictionaries(NAMES, st.tuples(st.booleans(), below), max_size=3)


OBJECTS = marked(LEAVES | marked(LEAVES | marked(LEAVES)))


def value_of(tree: Any) -> Any:
    return {name: value_of(below) for name, (_, below) in tree.items()} if isinstance(tree, dict) else tree


def ours_of(tree: Any) -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {}
    return {f"f:{name}": ours_of(below) for name, (ours, below) in tree.items() if ours}


def shuffled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shuffled(below) for key, below in reversed(value.items())}
    return value


@settings(max_examples=50, deadline=None)
@given(OBJECTS)
def test_the_projection_does_not_depend_on_order_or_on_others_fields(tree: Any) -> None:
    value, fields = value_of(tree), ours_of(tree)
    if not fields:  # an empty set of fields stands for the whole
        return
    plain = json.dumps(project(value, fields), sort_keys=True)
    assert json.dumps(project(shuffled(value), shuffled(fields)), sort_keys=True) == plain
    extended = {**copy.deepcopy(value), "somebody else's": 1}
    assert json.dumps(project(extended, fields), sort_keys=True) == plain
    assert list(differing(value, extended, fields)) == []


@settings(max_examples=50, deadline=None)
@given(OBJECTS, OBJECTS)
def test_a_difference_that_is_named_shows_in_the_projection(tree: Any, another: Any) -> None:
    value, fields, other = value_of(tree), ours_of(tree), value_of(another)
    if list(differing(value, other, fields)):
        assert project(value, fields) != project(other, fields)


@settings(max_examples=50, deadline=None)
@given(OBJECTS)
def test_what_is_located_is_what_the_pointer_leads_to(tree: Any) -> None:
    value, fields = value_of(tree), ours_of(tree)
    for key in fields:
        place = locate(value, (key,))
        assert place is not None
        name = pointer(place)[1:].replace("~1", "/").replace("~0", "~")
        assert value[name] is step(value, key)[1]
