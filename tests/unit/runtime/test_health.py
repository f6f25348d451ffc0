"""Each fault turns the right probe red, by name; and the server answers when the operator's loop does not."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from odoo_tenancy.api.meta import Key
from odoo_tenancy.runtime.health import HealthServer, Limits, answer
from odoo_tenancy.runtime.metrics import Metrics
from odoo_tenancy.runtime.pulse import EMPTY, Heart, Pulse, Role

LIMITS = Limits(loop_stall=15, stuck_after=600, watch_silence=180)
WALL = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NOW = 5000.0
WELL = Pulse(NOW - 1, Role.LEADER, watches=(("odootenants", 30.0), ("secrets", 50.0)))
ACME = Key("OdooTenant", "tenants", "acme")


def probe(pulse: Pulse) -> tuple[int, int, list[Any]]:
    """Status of /healthz, status of /readyz, what /readyz names."""
    live = answer(pulse, NOW, WALL, LIMITS, liveness=True)
    ready = answer(pulse, NOW, WALL, LIMITS, liveness=False)
    failing = ready.body["failing"]
    assert isinstance(failing, list)
    return live.status, ready.status, failing


@pytest.mark.parametrize(
    ("pulse", "live", "ready", "name"),
    [
        (WELL, 200, 200, None),
        (Pulse(NOW, Role.STANDBY), 200, 200, None),
        (replace(WELL, at=NOW - 20), 503, 503, "loop"),
        (replace(WELL, role=Role.LEASE_LOST), 503, 503, "lease"),
        (replace(WELL, queue=replace(EMPTY, working=((ACME, 601.0),))), 503, 503, "worker"),
        (replace(WELL, watches=(("odootenants", 181.0),)), 200, 503, "watch/odootenants"),
        (replace(WELL, watches=(("odootenants", 361.0),)), 503, 503, "watch/odootenants"),
        (replace(WELL, missing=("OdooTenant",)), 200, 503, "kinds"),
        (replace(WELL, denied=("secrets",)), 200, 503, "rights"),
        (Pulse(NOW, Role.STANDBY, api_silence=200), 200, 503, "lease"),
    ],
)
def test_each_fault_turns_the_right_probe_red(pulse: Pulse, live: int, ready: int, name: str | None) -> None:
    found_live, found_ready, failing = probe(pulse)
    assert (found_live, found_ready) == (live, ready)
    assert [f["check"] for f in failing] == ([name] if name else [])


def test_the_body_says_since_when_and_what() -> None:
    _, _, failing = probe(replace(WELL, watches=(("secrets", 240.0), ("odootenants", 1.0))))
    assert failing == [
        {
            "check": "watch/secrets",
            "since": "2026-11-22T11:56:00+00:00",
            "message": "The watch of secrets has said nothing for 240 s, not even a bookmark.",
        }
    ]


@pytest.mark.parametrize("role", [Role.STARTING, Role.STOPPING])
def test_who_starts_or_stops_is_alive_and_not_ready(role: Role) -> None:
    assert probe(Pulse(NOW, role))[:2] == (200, 503)


def test_a_standby_says_that_it_is_one() -> None:
    assert answer(Pulse(NOW, Role.STANDBY), NOW, WALL, LIMITS, liveness=False).body["role"] == "standby"


class Served:
    def __init__(self) -> None:
        self.heart = Heart(lambda at: Pulse(at, Role.LEADER))
        self.metrics = Metrics()
        limits = Limits(loop_stall=0.2, stuck_after=600, watch_silence=180)
        self.server = HealthServer(lambda: self.heart.pulse, limits, self.metrics.registry)
        self.port = self.server.start("127.0.0.1", 0)

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.server.stop()


def test_a_frozen_loop_is_seen_while_it_is_frozen(served: Served) -> None:
    async def freeze() -> tuple[int, str]:
        beating = asyncio.create_task(served.heart.run())
        await asyncio.sleep(0)
        assert served.get("/healthz")[0] == 200
        deadline = time.monotonic() + 10
        while served.get("/healthz")[0] == 200 and time.monotonic() < deadline:
            pass  # a synchronous call in a coroutine: nothing else in this loop runs meanwhile
        frozen = served.get("/healthz")
        beating.cancel()
        return frozen

    status, body = asyncio.run(freeze())
    assert status == 503
    assert json.loads(body)["failing"][0]["check"] == "loop"


def test_metrics_are_served(served: Served) -> None:
    served.metrics.drift_repaired("Deployment", "kubectl-edit")
    served.metrics.reconciled("OdooTenant", "refused", 0.2, "PoolUnknown")
    status, body = served.get("/metrics")
    assert status == 200
    assert 'odoo_tenancy_drift_repairs_total{kind="Deployment",manager="kubectl-edit"} 1.0' in body
    assert 'odoo_tenancy_reconcile_errors_total{kind="OdooTenant",reason="PoolUnknown"} 1.0' in body
    assert "process_resident_memory_bytes" in body
