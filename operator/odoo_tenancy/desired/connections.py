"""How many PostgreSQL connections a tenant's processes may open, and what that leaves to each.

Each Odoo process has a pool of its own of at most ``db_maxconn`` connections (odoo/sql_db.py,
``ConnectionPool``), those to the database ``postgres`` for the bus included; a full pool is an error at once,
not a wait. All of them together must stay within the login role's CONNECTION LIMIT, or logins fail just when
there is most to do. So a limit is divided by *shares*:

========================  ======  =====================================================================
process                   shares  why
========================  ======  =====================================================================
HTTP worker               1       one request at a time
websocket (gevent)        2       many short cursors, retried when the pool is full; LISTEN on the bus
web without workers       4       threads: several requests at a time, and the websocket
cron                      1 + n   each of n threads holds LISTEN and a cursor
Job (init, modules)       2       a cursor, one nested in it, and the lock that keeps two Jobs apart
========================  ======  =====================================================================

Counted are the replicas at their maximum, one web pod more while a change rolls out, cron, and one Job beside
them.
"""

from __future__ import annotations

from dataclasses import dataclass

from odoo_tenancy.api.errors import Refused

JOB_SHARES = 2
PREFERRED = 3
"""Connections a share where the limit is ours to choose: a request's cursor, one nested in it, and the
bus."""
LEAST = 2
"""Below this a request that opens a second cursor fails."""
PROBE = 1
"""The cron Deployment's probe has a connection of its own."""


@dataclass(frozen=True)
class Connections:
    """Connections, as counts."""

    limit: int
    """CONNECTION LIMIT of the login role."""
    per_worker: int
    """One share: what an HTTP worker may open."""
    per_web: int
    """``db_maxconn`` of the web processes."""
    per_gevent: int
    """``db_maxconn_gevent``."""
    per_cron: int
    """``db_maxconn`` of the cron process."""
    per_job: int
    """``db_maxconn`` of a Job."""
    most: int
    """What all of them may open at once: never above ``limit``."""


def connections(*, limit: int | None, web_pods: int, workers: int, cron_threads: int) -> Connections:
    """Divide the limit, or choose one.

    Args:
        limit: the spec's; ``None`` chooses what all processes at their maximum need.
        web_pods: web pods that may exist at once, the rollout's extra one included.

    Raises:
        Refused: ``ConnectionLimitTooLow``, with the arithmetic.
    """
    web_shares = workers + 2 if workers else 4
    cron_shares = cron_threads + 1
    shares = web_pods * web_shares + cron_shares + JOB_SHARES
    chosen = limit if limit is not None else shares * PREFERRED + PROBE
    share = (chosen - PROBE) // shares
    if share < LEAST:
        raise Refused(
            "ConnectionLimitTooLow",
            f"spec.database.connectionLimit is {chosen}, but {web_pods} web pods × {web_shares} + cron "
            f"{cron_shares} + Job {JOB_SHARES} = {shares} shares of at least {LEAST} connections, and "
            f"{PROBE} for a probe, need {shares * LEAST + PROBE}: raise the limit to that, or lower "
            "spec.web.workers, spec.web.replicas, spec.web.autoscaling.maxReplicas or spec.cron.threads. "
            "(One web pod more than the replicas exists while a change rolls out.)",
        )
    return Connections(
        limit=chosen,
        per_worker=share,
        per_web=share if workers else share * web_shares,
        per_gevent=share * 2,
        per_cron=share * cron_shares,
        per_job=share * JOB_SHARES,
        most=shares * share + PROBE,
    )
