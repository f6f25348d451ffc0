"""The memory of children: what wakes an owner, and what does not."""

from __future__ import annotations

import sys

import pytest
from tests.unit.cluster.samples import LABELS, OUR_LABELS, config_map, deployment, entry, live

from odoo_tenancy.api.meta import Key, Manifest
from odoo_tenancy.cluster.children import Child, Children
from odoo_tenancy.cluster.objects import ObjectRef, Owner

OWNER = Owner("OdooTenant", "tenants", "acme", LABELS["odootenancy.io/tenant-uid"])
KEY = Key("OdooTenant", "tenants", "acme")
REF = ObjectRef("v1", "ConfigMap", "odoo-acme", "settings")
WANT = b"want"


@pytest.fixture
def children() -> Children:
    return Children()


def applied(children: Children, body: Manifest) -> Child:
    return children.applied(ObjectRef.of(body), OWNER, body, WANT)


def test_a_child_that_nobody_knew_wakes_its_owner(children: Children) -> None:
    assert children.saw("ADDED", config_map(a="1")) == KEY
    assert [child.ref for child in children.of(OWNER)] == [REF]


def test_what_carries_no_labels_of_an_owner_is_passed_over(children: Children) -> None:
    assert children.saw("ADDED", live("ConfigMap", "c", labels={"app": "x"})) is None
    assert len(children) == 0


def test_a_pools_own_child_belongs_to_the_pool(children: Children) -> None:
    labels = {"odootenancy.io/pool": "eu", "odootenancy.io/pool-uid": "p1"}
    assert children.saw("ADDED", live("ConfigMap", "c", labels=labels)) == Key("HostingPool", "", "eu")
    tenants = {**LABELS, "odootenancy.io/pool": "eu"}
    assert children.saw("ADDED", live("ConfigMap", "d", labels=tenants)) == KEY


def test_the_echo_of_our_own_write_wakes_nobody(children: Children) -> None:
    applied(children, config_map(a="1"))
    assert children.saw("ADDED", config_map(a="1")) is None
    assert children.saw("MODIFIED", config_map(version=101, a="1")) is None
    assert (known := children.get(REF)) is not None
    assert known.settled(WANT)
    assert known.version == 101


def test_an_event_that_is_older_than_our_write_says_nothing(children: Children) -> None:
    applied(children, config_map(version=120, a="1"))
    assert children.saw("MODIFIED", config_map(version=110, a="theirs")) is None
    assert (known := children.get(REF)) is not None
    assert known.settled(WANT)


def test_our_own_event_may_come_before_the_answer(children: Children) -> None:
    children.applying(REF)
    assert children.saw("ADDED", config_map(a="1")) is None
    applied(children, config_map(a="1"))
    assert children.saw("MODIFIED", config_map(version=101, a="2")) == KEY


def test_a_later_event_that_came_before_the_answer_is_not_lost(children: Children) -> None:
    children.applying(REF)
    children.saw("ADDED", config_map(version=100, a="1"))
    children.saw("MODIFIED", config_map(version=101, a="theirs"))
    applied(children, config_map(version=100, a="1"))
    assert (known := children.get(REF)) is not None
    assert known.version == 101
    assert not known.settled(WANT)


def test_a_changed_and_an_extended_child_wake_their_owner(children: Children) -> None:
    applied(children, config_map(a="1"))
    assert children.saw("MODIFIED", config_map(version=101, a="2")) == KEY
    applied(children, config_map(version=102, a="1"))
    extended = config_map(version=103, a="1", b="1")
    extended["metadata"]["managedFields"].append(entry("kubectl-edit", {"f:data": {"f:b": {}}}))
    assert children.saw("MODIFIED", extended) == KEY
    assert (known := children.get(REF)) is not None
    assert known.doubtful
    assert not known.settled(WANT)


def test_a_heartbeat_wakes_nobody_and_progress_does(children: Children) -> None:
    body = deployment()
    body["metadata"]["managedFields"] = body["metadata"]["managedFields"][:1]
    applied(children, body)
    body["metadata"]["resourceVersion"] = "101"
    body["status"]["conditions"] = [{"type": "Available", "status": "False", "lastUpdateTime": "now"}]
    assert children.saw("MODIFIED", body) is None
    body["metadata"]["resourceVersion"] = "102"
    body["status"]["availableReplicas"] = 1
    assert children.saw("MODIFIED", body) == KEY


def test_a_child_deleted_by_others_is_remembered_until_it_is_made_anew(children: Children) -> None:
    applied(children, config_map(a="1"))
    assert children.saw("DELETED", config_map(version=101, a="1")) == KEY
    assert children.get(REF) is None
    assert children.of(OWNER) == ()
    assert (gone := children.recall(REF)) is not None
    assert gone.gone
    applied(children, config_map(version=102, uid="bbbb", a="1"))
    assert children.saw("DELETED", config_map(version=103, uid="aaaa", a="1")) is None
    assert children.get(REF) is not None


def test_what_we_pruned_is_forgotten_when_it_is_gone(children: Children) -> None:
    applied(children, config_map(a="1"))
    children.pruned(REF)
    assert (known := children.get(REF)) is not None
    assert not known.settled(WANT)
    assert children.saw("DELETED", config_map(version=101, a="1")) == KEY
    assert children.recall(REF) is None


def test_a_list_tells_what_was_deleted_while_no_watch_ran(children: Children) -> None:
    applied(children, config_map(a="1"))
    assert children.listed("v1", "Secret", frozenset()) == set()
    assert children.listed("v1", "ConfigMap", frozenset({"aaaa"})) == set()
    assert children.listed("v1", "ConfigMap", frozenset()) == {KEY}
    assert children.get(REF) is None


def test_labels_written_by_hand_do_not_make_it_another_owners(children: Children) -> None:
    applied(children, config_map(a="1"))
    stolen = config_map(version=101, a="1")
    stolen["metadata"]["labels"]["odootenancy.io/tenant-uid"] = "another"
    assert children.saw("MODIFIED", stolen) == KEY
    assert [child.ref for child in children.of(OWNER)] == [REF]


def test_before_it_is_applied_a_child_goes_where_its_labels_say(children: Children) -> None:
    children.saw("ADDED", config_map(a="1"))
    moved = config_map(version=101, a="1")
    moved["metadata"]["labels"]["odootenancy.io/tenant-uid"] = "another"
    children.saw("MODIFIED", moved)
    assert children.of(OWNER) == ()
    assert [owner.uid for owner in children.owners()] == ["another"]


def test_an_owner_that_is_gone_is_forgotten_wholly(children: Children) -> None:
    applied(children, config_map(a="1"))
    children.forget(OWNER)
    assert len(children) == 0
    assert list(children.owners()) == []
    assert children.saw_foreign("ADDED", policy()) == set()


def policy(*, rules: bool = True, name: str = "allow-all", uid: str = "p") -> Manifest:
    spec = {"podSelector": {}, "policyTypes": ["Ingress"], **({"ingress": [{}]} if rules else {})}
    return live("NetworkPolicy", name, api_version="networking.k8s.io/v1", labels={}, uid=uid, spec=spec)


def test_a_strangers_policy_that_opens_wakes_those_in_the_namespace(children: Children) -> None:
    applied(children, config_map(a="1"))
    assert children.saw_foreign("ADDED", policy()) == {KEY}
    assert children.saw_foreign("MODIFIED", policy()) == set()
    [found] = children.foreign("odoo-acme")
    assert str(found) == "NetworkPolicy odoo-acme/allow-all lets traffic in"
    assert children.saw_foreign("MODIFIED", policy(rules=False)) == {KEY}
    assert children.foreign("odoo-acme") == ()


def test_a_strangers_policy_goes_with_its_event_or_from_the_list(children: Children) -> None:
    applied(children, config_map(a="1"))
    children.saw_foreign("ADDED", policy())
    assert children.saw_foreign("DELETED", policy()) == {KEY}
    children.saw_foreign("ADDED", policy())
    assert children.listed("networking.k8s.io/v1", "NetworkPolicy", frozenset({"other"})) == {KEY}
    assert children.foreign("odoo-acme") == ()


def test_a_policy_that_only_bears_our_labels_is_a_strangers(children: Children) -> None:
    forged = policy()
    forged["metadata"]["labels"] = dict(LABELS)
    children.saw_foreign("ADDED", forged)
    assert [f.name for f in children.foreign("odoo-acme")] == ["allow-all"]
    ours = policy(name="allow-dns", uid="q")
    ours["metadata"]["labels"] = dict(LABELS)
    ours["metadata"]["managedFields"] = [entry("odoo-tenancy", {"f:metadata": OUR_LABELS}, "Apply")]
    children.saw_foreign("ADDED", ours)
    assert [f.name for f in children.foreign("odoo-acme")] == ["allow-all"]


def test_those_in_a_namespace_are_its_owner_and_all_with_a_child_in_it(children: Children) -> None:
    labels = {"odootenancy.io/pool": "eu", "odootenancy.io/pool-uid": "p1"}
    children.saw("ADDED", live("Namespace", "odoo-acme", namespace="", labels=labels))
    children.saw("ADDED", config_map(a="1"))
    assert children.saw_foreign("ADDED", policy()) == {KEY, Key("HostingPool", "", "eu")}


def test_a_child_takes_little_memory(children: Children) -> None:
    child = applied(children, config_map(a="1"))
    assert not hasattr(child, "__dict__")
    held = [child, *(getattr(child, name) for name in Child.__slots__)]
    assert sum(sys.getsizeof(each) for each in held) < 1200
