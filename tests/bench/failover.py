"""The primary of a tenant's own PostgreSQL goes while its users go on: how long they notice, and what they lose."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.figures import Figure
from tests.bench.local import NAMESPACE, stage
from tests.support.failover import FailedOver, fail_over_under_load
from tests.support.load import RATE

from devcluster import cloudnative_pg
from devcluster.kubectl import Kubectl

NAME = "failing"
DATABASE = {"placement": "Dedicated", "dedicated": {"instances": 2, "storage": "1Gi"}}


def run() -> list[Figure]:
    """One tenant, one failover."""
    with stage() as here, _cloudnative_pg(here.kubectl):
        here.start(NAME, tier="Sandbox", database=DATABASE)
        try:
            words = ("-n", NAMESPACE, "get", "secret", f"{NAME}-admin", "-o", "jsonpath={.data.password}")
            password = base64.b64decode(here.kubectl.ask(*words)).decode()
            done = asyncio.run(fail_over_under_load(here.kubectl.ask, NAMESPACE, NAME, password))
        finally:
            here.delete([NAME])  # before CloudNativePG goes
        return _figures(done)


@contextmanager
def _cloudnative_pg(kubectl: Kubectl) -> Iterator[None]:
    """There for as long as it is needed, where it wasn't."""
    was_there = cloudnative_pg.deployed(kubectl)
    cloudnative_pg.bring(kubectl)
    yield
    if not was_there:
        cloudnative_pg.remove(kubectl)


def _figures(done: FailedOver) -> list[Figure]:
    details = {
        "sent": f"{len(done.requests)}; {RATE:.0f} a second",
        "primary before and after": " and ".join(done.primaries),
        "problems": [f"{r.kind} at {r.began - done.began:.1f} s: {r.problem}" for r in done.lost[:5]],
    }
    shown = done.primaries[0] != done.primaries[1] and done.written_later > 0
    return [
        Figure("failover/seconds", done.seconds if shown else None, "s", 60, details),
        Figure("failover/lost-commits", float(done.missing), "acknowledged and not there", 0),
        Figure("failover/lost", float(len(done.lost)), "requests"),
        Figure("failover/whole-again", done.whole_again, "s until both instances are ready"),
    ]
