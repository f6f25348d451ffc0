"""Applying: what is equal is not written, what is a stranger's is not touched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from odoo_tenancy.api.errors import Refused, Unavailable
from odoo_tenancy.cluster.apply import Applier, Change
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.contest import ROUNDS, WINDOW_SECONDS
from odoo_tenancy.cluster.failures import Conflict, NotOurs
from odoo_tenancy.cluster.objects import ObjectRef, Owner
from odoo_tenancy.cluster.readiness import Rollout

if TYPE_CHECKING:
    from tests.integration.cluster.conftest import Stage


def actions(changes: list[Change]) -> list[str]:
    return [change.action for change in changes]


async def test_the_second_time_nothing_is_asked_nor_written(stage: Stage) -> None:
    manifests = [stage.config_map(), stage.deployment()]
    assert actions(await stage.applier.apply(stage.owner, manifests)) == ["created", "created"]
    stage.requests.counts.clear()
    assert actions(await stage.applier.apply(stage.owner, manifests)) == ["unchanged", "unchanged"]
    assert stage.requests.total == 0


async def test_the_echo_of_our_own_writes_wakes_nobody(stage: Stage) -> None:
    await stage.applier.apply(stage.owner, [stage.config_map(), stage.deployment(replicas=0)])

    def rolled_out() -> bool:
        child = stage.children.get(ObjectRef.of(stage.deployment()))
        return child is not None and isinstance(child.readiness, Rollout) and child.readiness.complete

    await stage.until(rolled_out)
    assert await stage.watch() == set()
    assert actions(await stage.applier.apply(stage.owner, [stage.config_map()])) == ["unchanged"]
    assert stage.requests.total == 0


async def test_after_a_restart_everything_is_applied_once_and_stays_as_it_is(stage: Stage) -> None:
    manifests = [stage.config_map(), stage.deployment(replicas=0)]
    await stage.applier.apply(stage.owner, manifests)
    before = await stage.live(manifests[0])
    stage.restart()
    await stage.watch()
    assert (await stage.applier.apply(stage.owner, manifests[:1]))[0].action == "unchanged"
    assert stage.requests.counts == {("patch", "ConfigMap"): 1}
    assert (await stage.live(manifests[0]))["metadata"]["resourceVersion"] == before["metadata"][
        "resourceVersion"
    ]
    stage.requests.counts.clear()
    assert actions(await stage.applier.apply(stage.owner, manifests[:1])) == ["unchanged"]
    assert stage.requests.total == 0


async def test_what_was_changed_while_the_operator_was_away_is_named(stage: Stage) -> None:
    await stage.applier.apply(stage.owner, [stage.config_map()])
    stage.kubectl("patch", "configmap", "settings", "--type=merge", "-p", '{"data": {"a": "2"}}')
    stage.restart()
    await stage.watch()
    [change] = await stage.applier.apply(stage.owner, [stage.config_map()])
    assert change.action == "repaired"
    assert change.drift is not None
    assert (change.drift.fields, change.drift.writers) == (("data.a",), ("kubectl-patch",))
    assert (await stage.live(stage.config_map()))["data"] == {"a": "1"}


async def test_a_new_wish_is_no_drift(stage: Stage) -> None:
    await stage.applier.apply(stage.owner, [stage.config_map(a="1", b="1")])
    [change] = await stage.applier.apply(stage.owner, [stage.config_map(a="2", c="1")])
    assert (change.action, change.drift) == ("configured", None)
    assert (await stage.live(stage.config_map()))["data"] == {"a": "2", "c": "1"}


async def test_a_strangers_object_of_the_same_name_is_refused_before_anything_is_written(
    stage: Stage,
) -> None:
    stage.kubectl("create", "configmap", "settings", "--from-literal=a=theirs")
    with pytest.raises(NotOurs, match=r"ConfigMap .*/settings exists and was not made by this operator"):
        await stage.applier.apply(stage.owner, [stage.config_map("first"), stage.config_map()])
    assert stage.requests.writes == 0
    assert (await stage.live(stage.config_map()))["data"] == {"a": "theirs"}


async def test_another_owners_object_is_refused_even_when_the_memory_has_it(stage: Stage) -> None:
    await stage.applier.apply(stage.owner, [stage.config_map()])
    other = Owner("OdooTenant", "tenants", stage.owner.name, "another-uid")
    manifest = stage.config_map()
    manifest["metadata"]["labels"]["odootenancy.io/tenant-uid"] = other.uid
    with pytest.raises(NotOurs, match=r"belongs to .*" + stage.owner.uid):
        await stage.applier.apply(other, [manifest])


async def test_a_strangers_object_made_between_look_and_write_is_not_taken_over(stage: Stage) -> None:
    class Meddler:
        def before_write(self, description: str) -> None:
            stage.kubectl("create", "configmap", "settings", "--from-literal=b=theirs")

        def after_write(self, description: str) -> None: ...

    cluster = Cluster(stage.cluster.api_client, hook=Meddler())
    with pytest.raises((NotOurs, Conflict)):
        await Applier(cluster, stage.children).apply(stage.owner, [stage.config_map()])
    assert stage.children.get(ObjectRef.of(stage.config_map())) is None


async def test_a_manifest_that_could_never_be_pruned_is_a_mistake(stage: Stage) -> None:
    manifest = stage.config_map()
    del manifest["metadata"]["labels"]["odootenancy.io/tenant-uid"]
    with pytest.raises(ValueError, match="could never be pruned"):
        await stage.applier.apply(stage.owner, [manifest])


async def test_an_immutable_field_says_so(stage: Stage) -> None:
    await stage.applier.apply(stage.owner, [stage.deployment()])
    changed = stage.deployment(selector={"matchLabels": {"app": "other"}})
    changed["spec"]["template"]["metadata"]["labels"]["app"] = "other"
    with pytest.raises(Refused) as refused:
        await stage.applier.apply(stage.owner, [changed])
    assert refused.value.reason == "ImmutableField"
    assert f"Deployment {stage.namespace}/web" in refused.value.message
    assert "spec.selector" in refused.value.message


async def test_replicas_that_leave_the_manifest_keep_their_number(stage: Stage) -> None:
    await stage.applier.apply(stage.owner, [stage.deployment(replicas=3)])
    scaled = stage.deployment()
    del scaled["spec"]["replicas"]
    [change] = await stage.applier.apply(stage.owner, [scaled])
    assert (change.action, change.drift) == ("configured", None)
    assert (await stage.live(scaled))["spec"]["replicas"] == 3
    stage.kubectl("scale", "deployment", "web", "--replicas=5")  # as an autoscaler would
    await stage.watch()
    assert actions(await stage.applier.apply(stage.owner, [scaled])) == ["unchanged"]
    assert (await stage.live(scaled))["spec"]["replicas"] == 5
    [change] = await stage.applier.apply(stage.owner, [stage.deployment(replicas=2)])
    assert (change.action, change.drift) == ("configured", None)
    assert (await stage.live(scaled))["spec"]["replicas"] == 2


async def test_what_was_brought_back_before_an_error_is_said_the_next_time(stage: Stage) -> None:
    applier, good, bad = stage.applier, stage.config_map(), stage.deployment(replicas=-1)
    await applier.apply(stage.owner, [good])
    stage.kubectl("delete", "configmap", "settings")
    await stage.watch()
    with pytest.raises(Refused):
        await applier.apply(stage.owner, [good, bad])
    changes = await applier.apply(stage.owner, [good])
    assert actions(changes) == ["repaired", "unchanged"]
    assert changes[0].drift is not None
    assert actions(await applier.apply(stage.owner, [good])) == ["unchanged"]


async def test_nobody_is_fought_for_ever(stage: Stage) -> None:
    seconds = 0.0
    applier = Applier(stage.cluster, stage.children, now=lambda: seconds)
    manifest = stage.config_map()
    await applier.apply(stage.owner, [manifest])
    for number in range(ROUNDS + 1):
        theirs = {"metadata": {"annotations": {"round": str(number)}}}
        stage.kubectl("patch", "configmap", "settings", "--type=merge", "-p", json.dumps(theirs))
        await stage.watch()
        if number < ROUNDS:
            assert actions(await applier.apply(stage.owner, [manifest])) == ["repaired"]
    with pytest.raises(
        Unavailable, match=r"Contested: ConfigMap .*/settings .* by kubectl-patch"
    ) as contested:
        await applier.apply(stage.owner, [manifest])
    assert contested.value.retry_after == WINDOW_SECONDS
    assert stage.requests.total == 0
    seconds = WINDOW_SECONDS
    assert actions(await applier.apply(stage.owner, [manifest])) == ["repaired"]


async def test_a_deployment_scaled_by_hand_while_the_operator_was_away_is_named(stage: Stage) -> None:
    await stage.applier.apply(stage.owner, [stage.deployment(replicas=2)])
    stage.kubectl("scale", "deployment", "web", "--replicas=5")
    stage.restart()
    await stage.watch()
    [change] = await stage.applier.apply(stage.owner, [stage.deployment(replicas=2)])
    assert change.drift is not None
    assert (change.drift.fields, change.drift.writers) == (("spec.replicas",), ("kubectl",))
    assert (await stage.live(stage.deployment()))["spec"]["replicas"] == 2
