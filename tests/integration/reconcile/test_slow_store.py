"""A store that is so slow that a backup passes its deadline, and one that accepts and never answers: each backup ends then
and says why, its lock holds nobody up, and another tenant's backup goes on meanwhile. That such a lock is taken away is
tested with the Jobs: here all pods are processes of one host, and whose a lock is, its host says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.integration.reconcile.backup_stage import Backups, attach
from tests.integration.reconcile.stage import Stage, Tenants, condition
from tests.support.proxy import Proxy
from tests.support.s3 import S3Process

from odoo_tenancy.api.meta import API_VERSION, Manifest

DEADLINE = 40
"""Seconds, of the two that don't get through."""
MARGIN = timedelta(seconds=25)
"""Until it is Failed after its deadline: the Job controller, a pod's end, and a busy machine."""
SLOW = 20_000.0
"""Bytes a second: what has to go there would take minutes."""
BULK = """
SET ROLE t_{claim};
CREATE TABLE bulk AS SELECT string_agg(md5(random()::text), '') AS payload
    FROM generate_series(1, 16384) row, generate_series(1, 32) part GROUP BY row
"""
"""16 MiB that compress badly."""


@dataclass
class Doors:
    """The ways to the store."""

    slow: Proxy
    silent: Proxy


@pytest.fixture
def doors(store: S3Process) -> Iterator[Doors]:
    with ExitStack() as stack:
        made = [Proxy(store.port) for _ in range(2)]
        for each in made:
            stack.callback(each.close)
        yield Doors(*made)


@pytest.fixture
def backups(stage: Stage, tenants: Tenants, store: S3Process, doors: Doors) -> Iterator[Backups]:
    made = Backups(tenants, store)
    yield made
    for each in (doors.slow, doors.silent):
        each.flow()
    for live in stage.kube.list(API_VERSION, "TenantBackup", made.namespace):
        stage.kube.delete(made.ref(live["metadata"]["name"]))
    tenants.clear()


def through(proxy: Proxy) -> Any:
    return {"s3": {"endpoint": f"https://localhost:{proxy.port}"}}


def check_ended_at_its_deadline(live: Manifest) -> None:
    status = live["status"]
    ready = condition(live, "Ready")
    assert (status["phase"], ready["reason"]) == ("Failed", "Timeout"), ready
    assert "spec.timeout" in ready["message"]
    assert "manifest" not in status
    took = datetime.fromisoformat(status["completionTime"]) - datetime.fromisoformat(status["startTime"])
    assert timedelta(seconds=DEADLINE - 1) <= took <= timedelta(seconds=DEADLINE) + MARGIN


def test_a_backup_ends_at_its_deadline_and_others_go_on(backups: Backups, stage: Stage, doors: Doors) -> None:
    backups.policy("gold")
    held_up = {"slow": doors.slow, "silent": doors.silent}
    claims = {"other": backups.tenant("other")}
    for name, proxy in held_up.items():
        backups.policy(name, timeout=f"{DEADLINE}s", store=through(proxy))
        claims[name] = backups.tenant(name, backup={"policyRef": {"name": name}})
    for name, claim in claims.items():
        attach(stage, claim, b"a file")
        backups.create(f"{name}-first", name)
    for name, claim in claims.items():
        backups.until_completed(f"{name}-first")
        stage.query(BULK.format(claim=claim), database=f"t_{claim}")

    for name, proxy in held_up.items():
        backups.create(f"{name}-second", name)
        backups.until_says(f"{name}-second", "Storing")
        if proxy is doors.slow:
            proxy.slow(SLOW)
        else:
            proxy.silence()
    backups.create("other-second", "other")
    backups.until_completed("other-second")
    for name in held_up:
        assert stage.kube.live(backups.ref(f"{name}-second"))["status"]["phase"] == "Running"
    for name in held_up:
        check_ended_at_its_deadline(backups.until_phase(f"{name}-second", "Failed", "Completed"))

    for name, proxy in held_up.items():
        proxy.flow()
        backups.create(f"{name}-third", name)
    for name in held_up:
        backups.until_completed(f"{name}-third")
