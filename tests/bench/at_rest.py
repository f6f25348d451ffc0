"""What a tenant costs that is as it should be: calls of the API server, and queries of PostgreSQL.

Counted twice: by the operator's own metrics, and by the API server's audit log, which the operator cannot forget to
write. Both start and end at moments when nothing is being worked on, so that the counts are exact.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.bench.api_calls import Calls, client_calls, server_calls
from tests.bench.figures import Figure
from tests.bench.laboratory import Laboratory, laboratory, tenant
from tests.bench.process import OperatorProcess, total, wait_until

TENANTS = 6
RESYNC = 6.0
"""Seconds; in a cluster minutes. What a look costs doesn't depend on it. The looks spread over it, so that there are
moments at which nothing is worked on."""
LOOKS = 48
"""At tenants, together, that are counted at least."""

_READS = ("get", "list")
_QUERY = re.compile(r"LOG: +(?:execute [^:]+|statement): ")
_LOOKS = "odoo_tenancy_reconcile_duration_seconds_count"


@dataclass(frozen=True)
class Count:
    """What happened between two quiet moments."""

    tenant_looks: float
    pool_looks: float
    by_client: Calls
    by_server: Calls
    queries: int


def run() -> list[Figure]:
    """Six tenants, Dedicated and Shared, Ready; then some dozens of resyncs at which nothing is to be done.

    Once without looks at the pool, so that every call is a tenant's; once with both, as in a cluster.
    """
    with laboratory(controllers=True, pool={"maxTenants": 50}) as lab:
        tenancies = ("Dedicated", "Shared")
        lab.apply([tenant(f"rest-{n}", tenancy=tenancies[n % 2]) for n in range(TENANTS)])
        alone = _count(lab, pool_resync=3600.0)
        together = _count(lab, pool_resync=RESYNC)
    details = {"tenants": TENANTS, "resyncs of tenants": int(alone.tenant_looks), "faked": lab.faked}
    pools = {"tenants": TENANTS, "resyncs of the pool": int(together.pool_looks)}
    per_pool = together.queries / together.pool_looks
    return [
        *_calls("", alone.by_client, alone.tenant_looks, {**details, "counted by": "the client"}),
        *_calls("-audited", alone.by_server, alone.tenant_looks, {**details, "counted by": "the audit log"}),
        Figure("at-rest/queries", per_pool, "queries per pool and resync", 1, pools),
        Figure("at-rest/queries-of-tenants", alone.queries, "queries", 0, details),
        *_calls("-with-pool", together.by_server, together.tenant_looks, pools)[:1],
    ]


def _count(lab: Laboratory, pool_resync: float) -> Count:
    """Start an operator, let all get Ready and one more round go by, and count over the next rounds."""
    # What is measured now and then, once a pool, is counted by services-at-rest.
    never = {"SIZES_EVERY": "86400", "ACTIVITY_EVERY": "86400"}
    with lab.operator(RESYNC=str(RESYNC), POOL_RESYNC=str(pool_resync), **never) as operator:
        wait_until(lambda: lab.ready() == TENANTS, "all tenants are Ready", 300, pause=0.5)
        # What came late (an event, the count of a quota, a first measurement) is taken in by then.
        _rounds(operator, TENANTS * 4)
        before, began, log = operator.quiet(), datetime.now(UTC), len(lab.postgres.log)
        _rounds(operator, LOOKS)
        after, ended = operator.quiet(), datetime.now(UTC)
        queries = _QUERY.findall(lab.postgres.log[log:])

    def grown(kind: str) -> float:
        return total(after, _LOOKS, kind=kind) - total(before, _LOOKS, kind=kind)

    calls = client_calls(before, after), server_calls(lab, began, ended)
    return Count(grown("OdooTenant"), grown("HostingPool"), *calls, queries=len(queries))


def _rounds(operator: OperatorProcess, looks: int) -> None:
    """Let so many looks at tenants go by."""
    enough = _looks(operator) + looks
    wait_until(lambda: _looks(operator) >= enough, f"{looks} looks at tenants", 300, pause=0.2)


def _looks(operator: OperatorProcess) -> float:
    operator.check()
    return total(operator.counters(), _LOOKS, kind="OdooTenant")


def _calls(suffix: str, calls: Calls, looks: float, details: Mapping[str, Any]) -> list[Figure]:
    """Writes and reads of a look, on average."""
    reads = sum(count for (verb, _), count in calls.items() if verb in _READS)
    writes = calls.total() - reads
    what = ", ".join(f"{count} {verb} {kind}" for (verb, kind), count in sorted(calls.items()))
    details = {**details, "calls": what}
    return [
        Figure(f"at-rest/writes{suffix}", writes / looks, "calls per resync", 0, details),
        Figure(f"at-rest/reads{suffix}", reads / looks, "calls per resync", 1, details),
    ]
