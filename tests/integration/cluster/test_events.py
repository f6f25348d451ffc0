"""Events as the API server keeps them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from odoo_tenancy.cluster.events import BURST, SERIES_SECONDS, Events

if TYPE_CHECKING:
    from tests.integration.cluster.conftest import Stage


class Hand:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


async def test_the_same_again_continues_a_series(stage: Stage) -> None:
    clock = Hand()
    events = Events(stage.cluster, "pod-1", clock)
    regarding = await stage.cluster.create(stage.config_map())
    for _ in range(3):
        await events.publish(regarding, "Warning", "PoolUnknown", "The pool does not exist: create it")
        clock.time += timedelta(seconds=10)
    await events.publish(regarding, "Normal", "Ready", "Everything is there")
    found = await stage.cluster.list("events.k8s.io/v1", "Event", stage.namespace)
    by_reason = {event["reason"]: event for event in found}
    assert len(found) == 2
    assert by_reason["PoolUnknown"]["series"]["count"] == 3
    assert "series" not in by_reason["Ready"]
    assert by_reason["PoolUnknown"]["note"] == "The pool does not exist: create it"
    assert by_reason["PoolUnknown"]["regarding"]["uid"] == regarding["metadata"]["uid"]
    assert by_reason["PoolUnknown"]["reportingInstance"] == "pod-1"
    clock.time += timedelta(seconds=SERIES_SECONDS + 1)
    await events.publish(regarding, "Warning", "PoolUnknown", "The pool does not exist: create it")
    assert len(await stage.cluster.list("events.k8s.io/v1", "Event", stage.namespace)) == 3
    assert (events.failed, events.suppressed) == (0, 0)


async def test_an_object_cannot_flood_the_server(stage: Stage) -> None:
    clock = Hand()
    events = Events(stage.cluster, "pod-1", clock)
    regarding = await stage.cluster.create(stage.config_map())
    stage.requests.counts.clear()
    for number in range(BURST + 5):
        await events.publish(regarding, "Normal", "Changed", f"message {number}")
    assert stage.requests.counts == {("create", "Event"): BURST}
    assert events.suppressed == 5


async def test_a_failure_is_counted_and_hurts_nobody(stage: Stage) -> None:
    events = Events(stage.cluster, "pod-1", Hand())
    elsewhere = stage.config_map()
    elsewhere["metadata"]["namespace"] = "nowhere"
    await events.publish(elsewhere, "Normal", "Changed", "x" * 5000)
    assert events.failed == 1


async def test_what_has_no_namespace_is_reported_in_default(stage: Stage) -> None:
    events = Events(stage.cluster, "pod-1", Hand())
    pool = {
        "apiVersion": "odootenancy.io/v1alpha1",
        "kind": "HostingPool",
        "metadata": {"name": "p", "uid": stage.owner.uid},
    }
    await events.publish(pool, "Normal", "Ready", "The pool is ready")
    found = await stage.cluster.list(
        "events.k8s.io/v1", "Event", "default", field_selector=f"regarding.uid={stage.owner.uid}"
    )
    assert len(found) == 1
