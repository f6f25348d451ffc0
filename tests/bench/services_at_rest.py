"""What PostgreSQL and Redis are asked while nothing changes: it grows with the pools, not with their tenants.

Everything that happens now and then happens every few seconds here: looks at tenants and at the pool, measurements of
sizes, of sessions, of Redis' keys. Counted by the servers: PostgreSQL's log, and Redis' own figures.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from tests.bench.figures import Figure
from tests.bench.laboratory import Laboratory, laboratory, tenant
from tests.bench.process import OperatorProcess, total, wait_until
from tests.support.redis import RedisProcess

FEW, MANY = 10, 200
EVERY = 5.0
"""Seconds between two of everything."""
SECONDS = 60.0
"""That are counted, at least."""
GROWTH = 1.1
"""From few to many; the tenth is for what happens to begin or end within the time that is counted."""

_STATEMENT = re.compile(r"LOG: +(?:execute [^:]+|statement): ")
_LOOKS = "odoo_tenancy_reconcile_duration_seconds_count"


@dataclass(frozen=True)
class Count:
    """What was asked at rest."""

    tenants: int
    pool_looks: float
    tenant_looks: float
    statements: float
    """Of PostgreSQL, for each look at the pool; ``commands`` the same of Redis."""
    commands: float


def run() -> list[Figure]:
    """Ten tenants, Ready and left alone; then two hundred."""
    pool = {"maxTenants": 5000, "postgres": {"connectionBudget": 100_000}}
    with laboratory(controllers=False, pool=pool, with_redis=True) as lab:
        pauses = dict.fromkeys(("RESYNC", "POOL_RESYNC", "SIZES_EVERY", "ACTIVITY_EVERY"), str(EVERY))
        with lab.operator(**pauses) as operator:
            few = _count(lab, operator, FEW)
            many = _count(lab, operator, MANY)
    return [
        *_figures("statements", "SQL statements", few, many, lab.faked),
        *_figures("commands", "Redis commands", few, many, lab.faked),
    ]


def _count(lab: Laboratory, operator: OperatorProcess, tenants: int) -> Count:
    lab.apply([tenant(f"rest-{n:03}") for n in range(tenants)])

    def all_ready() -> bool:
        operator.check()
        return lab.ready() == tenants

    wait_until(all_ready, f"{tenants} tenants are Ready", max(300, tenants * 3), pause=1)
    _let_looks_go_by(operator, tenants * 2)
    assert lab.redis is not None
    began, before, log, asked = (
        time.monotonic(),
        operator.counters(),
        len(lab.postgres.log),
        _commands(lab.redis),
    )
    _let_looks_go_by(operator, tenants * 2)
    wait_until(lambda: time.monotonic() - began > SECONDS, f"{SECONDS:.0f} s go by", SECONDS * 2, pause=0.2)
    after, asked = (
        operator.counters(),
        _commands(lab.redis) - asked - 1,
    )  # but for the first of our own questions
    statements = len(_STATEMENT.findall(lab.postgres.log[log:]))

    def grown(kind: str) -> float:
        return total(after, _LOOKS, kind=kind) - total(before, _LOOKS, kind=kind)

    looks = grown("HostingPool")
    return Count(tenants, looks, grown("OdooTenant"), statements / looks, asked / looks)


def _let_looks_go_by(operator: OperatorProcess, looks: int) -> None:
    enough = total(operator.counters(), _LOOKS, kind="OdooTenant") + looks

    def seen() -> bool:
        return total(operator.counters(), _LOOKS, kind="OdooTenant") >= enough

    wait_until(seen, f"{looks} looks at tenants", 300, pause=0.5)


def _commands(redis: RedisProcess) -> int:
    """All that the server was ever asked, logins aside."""
    with redis.client() as client:
        found = client.info("commandstats")
    logins = ("auth", "hello", "client|setinfo")
    return sum(
        int(each["calls"]) for name, each in found.items() if name.removeprefix("cmdstat_") not in logins
    )


def _figures(name: str, unit: str, few: Count, many: Count, faked: str) -> list[Figure]:
    of_few, of_many = float(getattr(few, name)), float(getattr(many, name))
    details = {
        f"at {each.tenants} tenants": f"{getattr(each, name):.2f} a look at the pool; {each.pool_looks:.0f} of those, "
        f"{each.tenant_looks:.0f} at tenants"
        for each in (few, many)
    }
    return [
        Figure(f"services-at-rest/{name}", of_many, f"{unit} a look at the pool", details={"faked": faked}),
        Figure(
            f"services-at-rest/growth-of-{name}", of_many / of_few, f"{MANY} ÷ {FEW} tenants", GROWTH, details
        ),
    ]
