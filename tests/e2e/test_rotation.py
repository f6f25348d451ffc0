"""New credentials under load: nobody who uses the site notices."""

from __future__ import annotations

from collections import Counter

from tests.support.load import RATE, rotate_under_load
from tests.support.tenants import NAMESPACE, Tenants

ROOM = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "2", "memory": "3Gi"}}
"""A worker for each slow request, on a node of two processors."""


async def test_credentials_change_and_no_request_is_lost(tenants: Tenants) -> None:
    await tenants.create("vega", like="acme", web={"replicas": 2, "workers": 8, "resources": ROOM}, quota={})
    await tenants.ready("vega")
    done = await rotate_under_load(tenants.kubectl, NAMESPACE, "vega", await tenants.password("vega"))
    counts = Counter(request.kind for request in done.requests)
    print(f"{dict(counts)} in flight across the switch: {done.across}; {done.seconds:.0f} s; {done.logins}")
    assert not done.lost, "\n".join(
        f"{r.kind} at {r.began - done.began:.1f} s for {r.ended - r.began:.1f} s: {r.problem}"
        for r in done.lost
    )
    assert done.missing == 0, "what was acknowledged is there"
    assert done.across > 0, "nothing was in flight: the test shows nothing"
    assert counts["write"] > 200
    assert abs(counts["write"] - counts["read"]) <= 1
    assert done.rate > 0.8 * RATE, "as many as were meant to be, but for hiccups of this machine"
    former, login = done.logins
    assert len(former.split()) == len(login.split()) == 1
    assert former != login
    await tenants.delete("vega")
