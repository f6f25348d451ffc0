"""What the operator uses as tenants become many: time, CPU and memory at 0, 250, 500, 750 and 1,000 of them.

``BENCH_TENANTS`` sets another number than 1,000, for a quick try: the levels are its quarters.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import yaml
from tests.bench.figures import Figure
from tests.bench.laboratory import Laboratory, laboratory, tenant
from tests.bench.process import ROOT, OperatorProcess, Usage, total, wait_until

TENANTS = int(os.environ.get("BENCH_TENANTS", "1000"))
LEVELS = tuple(TENANTS * quarter // 4 for quarter in range(1, 5))
BARE_TENANTS = min(40, TENANTS)
PATIENCE = 1.5
"""Seconds that each tenant of a level is given, at most; and ``LEAST_PATIENCE`` for a level."""
LEAST_PATIENCE = 120.0

_POSTGRES = (
    # A thousand databases of which none is used: nobody need clean up in them.
    "autovacuum = off",
    "log_statement = none",
    "max_wal_size = 4GB",
    "wal_level = minimal",
    "max_wal_senders = 0",
)
_POOL = {"maxTenants": 5000, "postgres": {"connectionBudget": 100_000}}
_LOOKS = "odoo_tenancy_reconcile_duration_seconds_count"
_REQUESTS = "odoo_tenancy_api_requests_total"


@dataclass(frozen=True)
class Level:
    """What was used when so many tenants were Ready and no key waited."""

    tenants: int
    seconds: float
    """From the first apply of this level's tenants until all of them were Ready."""
    usage: Usage
    requests: float
    looks: float


def run() -> list[Figure]:
    """Tenants come in four waves; between two of them, when no key waits, the operator is looked at."""
    with laboratory(controllers=False, postgres_settings=_POSTGRES, pool=_POOL) as lab:
        bare = _bare_applies(lab)
        with lab.operator() as operator:
            # The one that fills the template: its Job is no part of what a further tenant costs.
            lab.apply([tenant("first")])
            wait_until(lambda: lab.ready() == 1, "the first tenant is Ready", LEAST_PATIENCE, pause=0.5)
            levels = [_level(operator, 0, 0.0)]
            for count in LEVELS:
                levels.append(_wave(lab, operator, levels[-1].tenants, count))
        return figures(levels, bare, lab.faked)


def _bare_applies(lab: Laboratory) -> dict[str, Any]:
    pool = lab.directory / "pool.yaml"
    pool.write_text(yaml.safe_dump(json.loads(lab.kubectl.ask("get", "hostingpool", "bench", "-o", "json"))))
    arguments = [str(lab.plane.kubeconfig), str(pool), str(BARE_TENANTS)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.bare_applies", *arguments],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _wave(lab: Laboratory, operator: OperatorProcess, before: int, count: int) -> Level:
    began = time.monotonic()
    lab.apply([tenant(f"tenant-{number:04}") for number in range(before, count)])

    def all_ready() -> bool:
        operator.check()
        return lab.ready() == count + 1

    patience = max(LEAST_PATIENCE, PATIENCE * (count - before))
    wait_until(all_ready, f"{count} tenants are Ready", patience, pause=1)
    return _level(operator, count, time.monotonic() - began)


def _level(operator: OperatorProcess, tenants: int, seconds: float) -> Level:
    counters = operator.idle()
    looks, requests = total(counters, _LOOKS), total(counters, _REQUESTS)
    return Level(tenants, seconds, operator.usage(), requests, looks)


def figures(levels: list[Level], bare: dict[str, Any], faked: str) -> list[Figure]:
    """All rows, of the levels from none to the last."""
    none, first, last = levels[0], levels[1], levels[-1]
    per_tenant = _between(none, last)
    details = {"tenants": last.tenants, "faked": faked}
    late, early = _between(levels[-2], last), _between(none, first)
    return [
        *(Figure(f"thousand-tenants/at-{e.tenants}", e.seconds, "s", details=_told(e)) for e in levels),
        Figure("thousand-tenants/memory", per_tenant.memory, "KB a tenant", 100, details),
        _cpu("cpu", per_tenant.cpu, bare, "dynamic", 3, details),
        _cpu("cpu-of-own-client", per_tenant.cpu, bare, "own", None, {}),
        growth("cpu", late.cpu, early.cpu),
        growth("memory", late.memory, early.memory),
        growth("requests", late.requests, early.requests),
        growth("time", _seconds(levels[-2], last), _seconds(none, first)),
    ]


def growth(name: str, of_last: float, of_first: float) -> Figure:
    """What a tenant of the last wave took beside one of the first. No value where the first took nothing that can be
    measured: nothing is known then of how it grows."""
    told = {"last": f"{of_last:.4g} a tenant", "first": f"{of_first:.4g} a tenant"}
    ratio = of_last / of_first if of_first > 0 else None
    return Figure(f"thousand-tenants/growth-of-{name}", ratio, "last quarter ÷ first", 1.5, told)


def _cpu(
    name: str, cpu: float, bare: dict[str, Any], client: str, limit: float | None, details: dict[str, Any]
) -> Figure:
    told = {
        **details,
        "operator": f"{cpu * 1000:.1f} ms a tenant",
        f"bare applies by the {client} client": f"{bare[client] * 1000:.1f} ms for {bare['manifests']} manifests",
    }
    return Figure(f"thousand-tenants/{name}", cpu / bare[client], "× that of the bare applies", limit, told)


@dataclass(frozen=True)
class PerTenant:
    """What a tenant took, of those between two levels."""

    cpu: float
    """Seconds."""
    memory: float
    """KB of resident memory."""
    requests: float


def _between(before: Level, after: Level) -> PerTenant:
    tenants = after.tenants - before.tenants
    return PerTenant(
        (after.usage.cpu_seconds - before.usage.cpu_seconds) / tenants,
        (after.usage.resident_bytes - before.usage.resident_bytes) / 1000 / tenants,
        (after.requests - before.requests) / tenants,
    )


def _seconds(before: Level, after: Level) -> float:
    """Until Ready, for each tenant of the wave between the two."""
    return after.seconds / (after.tenants - before.tenants)


def _told(level: Level) -> dict[str, str]:
    usage = level.usage
    return {
        "CPU": f"{usage.cpu_seconds:.1f} s",
        "resident": f"{usage.resident_bytes / 1e6:.1f} MB",
        "peak": f"{usage.peak_bytes / 1e6:.1f} MB",
        "looks": f"{level.looks:.0f}",
        "requests": f"{level.requests:.0f}",
    }
