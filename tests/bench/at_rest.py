"""What a tenant costs that is as it should be: calls of the API server, and queries of PostgreSQL.

Counted twice: by the operator's own metrics, and by the API server's audit log, which the operator cannot forget to
write. Both start and end at moments when nothing is being worked on, so that the counts are exact.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.bench.figures import Figure
from tests.bench.laboratory import OPERATOR_USER, Laboratory, laboratory, tenant
from tests.bench.process import Counters, OperatorProcess, total, wait_until

TENANTS = 6
RESYNC = 6.0
"""Seconds; in a cluster minutes. What a look costs doesn't depend on it. The looks spread over it, so that there are
moments at which nothing is worked on."""
LOOKS = 48
"""At tenants, together, that are counted at least."""

_READS = ("get", "list")
_QUERY = re.compile(r"LOG: +(?:execute [^:]+|statement): ")
_LOOKS = "odoo_tenancy_reconcile_duration_seconds_count"
_REQUESTS = "odoo_tenancy_api_requests_total"

Calls = Counter[tuple[str, str]]
"""By verb and plural, or kind."""


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
    with lab.operator(RESYNC=str(RESYNC), POOL_RESYNC=str(pool_resync)) as operator:
        wait_until(lambda: lab.ready() == TENANTS, "all tenants are Ready", 300, pause=0.5)
        # What came late (an event, the count of a quota) is taken in by then.
        _rounds(operator, TENANTS * 2)
        before, began, log = operator.quiet(), datetime.now(UTC), len(lab.postgres.log)
        _rounds(operator, LOOKS)
        after, ended = operator.quiet(), datetime.now(UTC)
        queries = _QUERY.findall(lab.postgres.log[log:])

    def grown(kind: str) -> float:
        return total(after, _LOOKS, kind=kind) - total(before, _LOOKS, kind=kind)

    calls = _client_calls(before, after), _server_calls(lab, began, ended)
    return Count(grown("OdooTenant"), grown("HostingPool"), *calls, queries=len(queries))


def _rounds(operator: OperatorProcess, looks: int) -> None:
    """Let so many looks at tenants go by."""
    enough = _looks(operator) + looks
    wait_until(lambda: _looks(operator) >= enough, f"{looks} looks at tenants", 300, pause=0.2)


def _looks(operator: OperatorProcess) -> float:
    operator.check()
    return total(operator.counters(), _LOOKS, kind="OdooTenant")


def _client_calls(before: Counters, after: Counters) -> Calls:
    """By verb and kind. The Lease is renewed and the watches go on whatever there is to do; a watch of a kind that
    isn't served asks for it now and then, which is the 404 of a list."""
    calls: Calls = Counter()
    for key, value in after.items():
        labels = dict(key[1])
        if key[0] != _REQUESTS or labels["kind"] == "Lease":
            continue
        if not _of_watch(labels["verb"], int(labels["code"])):
            calls[labels["verb"], labels["kind"]] += int(value - before.get(key, 0))
    return +calls


def _server_calls(lab: Laboratory, began: datetime, ended: datetime) -> Calls:
    """The same, by verb and plural, from the API server's audit log."""
    calls: Calls = Counter()
    for event in _audit(lab):
        at = datetime.fromisoformat(event["stageTimestamp"])
        resource = event.get("objectRef", {}).get("resource", event["requestURI"])
        own = event["user"]["username"] == OPERATOR_USER and resource != "leases"
        if own and began < at < ended and not _of_watch(event["verb"], event["responseStatus"]["code"]):
            calls[event["verb"], resource] += 1
    return calls


def _of_watch(verb: str, code: int) -> bool:
    return verb == "watch" or (verb, code) == ("list", 404)


def _audit(lab: Laboratory) -> Iterator[dict[str, Any]]:
    """Events of finished calls. The server writes them as it answers; the last line may be half there."""
    time.sleep(0.2)  # the log is written behind the answer's back
    for line in lab.plane.audit_log.read_text().splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event["stage"] == "ResponseComplete":
            yield event


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
