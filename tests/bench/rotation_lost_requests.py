"""A tenant's credentials change while its users go on: how many of their requests fail."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter

from tests.bench.figures import Figure
from tests.bench.local import NAMESPACE, stage
from tests.support.load import SLOW_SECONDS, Rotated, rotate_under_load

NAME = "rotated"
ROOM = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "2", "memory": "3Gi"}}
"""A worker for each slow request, on a node of few processors."""


def run() -> list[Figure]:
    """One tenant with two web pods, one rotation."""
    with stage() as here:
        here.start(NAME, web={"replicas": 2, "workers": 8, "resources": ROOM})
        words = ("-n", NAMESPACE, "get", "secret", f"{NAME}-admin", "-o", "jsonpath={.data.password}")
        password = base64.b64decode(here.kubectl.ask(*words)).decode()
        return _figures(asyncio.run(rotate_under_load(here.kubectl.ask, NAMESPACE, NAME, password)))


def _figures(done: Rotated) -> list[Figure]:
    sent = Counter(request.kind for request in done.requests)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sent.items())
    details = {
        "sent": f"{len(done.requests)}: {kinds}; {done.rate:.1f} quick ones a second",
        "in flight across the switch": f"{done.across} of {SLOW_SECONDS} s each",
        "logins before and after": " and ".join(role[-1:] for role in done.logins),
        "problems": [f"{r.kind} after {r.began - done.began:.1f} s: {r.problem}" for r in done.lost[:5]],
    }
    shown = done.across > 0  # else nothing was at stake
    lost = float(len(done.lost)) if shown else None
    return [
        Figure("rotation-lost-requests/lost", lost, "requests", 0, details),
        Figure("rotation-lost-requests/lost-commits", float(done.missing), "acknowledged and not there", 0),
        Figure("rotation-lost-requests/seconds", done.seconds, "s until the old login is closed"),
    ]
