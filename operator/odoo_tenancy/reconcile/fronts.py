"""What a pool names beside its PostgreSQL: a PgBouncer for the tenants' traffic, a replica for those who only read.

Each is tried by one login when its address is new to this process, and again at each look until it answered; at rest
nobody asks, but how far the replica is behind (``postgres_figures.py``). A PgBouncer that never answered is given to no
tenant: what runs goes on as it is. One that stops answering later shows in pods that don't come up, and then it is tried as
the tenant. A replica that doesn't answer stops nobody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from odoo_tenancy.api.errors import OperatorError, Unavailable, Waiting
from odoo_tenancy.api.pool import HostingPool
from odoo_tenancy.api.shared import HostPort
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.desired.context import Endpoint, Peer, PoolFacts
from odoo_tenancy.reconcile.references import LOOK_AGAIN, peers_of
from odoo_tenancy.services.postgres import PostgresAddress, trial


@dataclass
class Fronts:
    """What is known of them."""

    answered: set[PostgresAddress] = field(default_factory=set)
    """Those that did when they were tried."""
    pooler_problem: OperatorError | None = None
    replica_problem: OperatorError | None = None


async def look_at(cluster: Cluster, fronts: Fronts, facts: PoolFacts, server: PostgresAddress) -> PoolFacts:
    """Where they lead to, and whether they answer; what is wrong is kept in ``fronts``.

    Args:
        server: the pool's PostgreSQL, with the admin's login and the authority that signed all of the certificates.
    """
    spec, problems = facts.pool.spec.postgres, dict[str, OperatorError]()
    addresses = [at(server, front) for front in (spec.pooler, spec.read_replica) if front is not None]
    fronts.answered &= set(addresses)
    facts = replace(facts, pooler=facts.pooler if spec.pooler is not None else None, replica_peers=())
    if spec.pooler is not None:
        try:
            peers = await _peers(cluster, facts, spec.pooler, "pooler")
            await _try(fronts, at(server, spec.pooler), trial.check_pooler)
            facts = replace(facts, pooler=Endpoint(spec.pooler.host, spec.pooler.port, peers))
        except OperatorError as error:
            problems["pooler"] = _pooler_fails(facts, error)
    if spec.read_replica is not None:
        try:
            peers = await _peers(cluster, facts, spec.read_replica, "readReplica")
            facts = replace(facts, replica_peers=peers)
            await _try(fronts, at(server, spec.read_replica), trial.log_in)
        except OperatorError as error:
            problems["replica"] = _replica_fails(facts, error)
    fronts.pooler_problem, fronts.replica_problem = problems.get("pooler"), problems.get("replica")
    return facts


def pooler_of(fronts: Fronts, facts: PoolFacts) -> Endpoint | None:
    """The PgBouncer that the pool's tenants are given.

    Raises:
        OperatorError: it was not found to answer yet: nothing of a tenant is changed until it was.
    """
    spec = facts.pool.spec.postgres.pooler
    if spec is None:
        return None
    if fronts.pooler_problem is not None:
        raise fronts.pooler_problem
    known = facts.pooler
    if known is None or (known.host, known.port) != (spec.host, spec.port):
        name = facts.pool.metadata.name
        raise Waiting("PoolNotReady", f"The PgBouncer of HostingPool {name} was not looked at yet.", 2.0)
    return known


def replica_of(facts: PoolFacts) -> Endpoint | None:
    """Where the pool's tenants let their data be read."""
    spec = facts.pool.spec.postgres.read_replica
    return None if spec is None else Endpoint(spec.host, spec.port, facts.replica_peers)


def replica_that_answers(
    fronts: Fronts, pool: HostingPool, server: PostgresAddress
) -> PostgresAddress | None:
    """Where it may be asked how far it is behind, as the admin."""
    spec = pool.spec.postgres.read_replica
    return None if spec is None or fronts.replica_problem is not None else at(server, spec)


async def check_login(facts: PoolFacts, login: PostgresAddress, pooler: Endpoint) -> None:
    """Where pods don't come up though PostgreSQL lets the tenant in: whether its PgBouncer does.

    Raises:
        Unavailable: ``PoolerUnreachable``, ``PoolerRefusesLogin``.
    """
    try:
        await trial.log_in(replace(login, host=pooler.host, port=pooler.port))
    except OperatorError as error:
        answers = error.reason in ("PostgresPasswordRejected", "PostgresLoginRefused")
        raise _pooler_fails(facts, error, answers=answers) from error


def at(server: PostgresAddress, front: HostPort) -> PostgresAddress:
    """The same login at another address."""
    return replace(server, host=front.host, port=front.port)


async def _peers(cluster: Cluster, facts: PoolFacts, front: HostPort, name: str) -> tuple[Peer, ...]:
    return await peers_of(cluster, front.host, front.port, front.peers, _field(facts, name))


async def _try(
    fronts: Fronts, address: PostgresAddress, test: Callable[[PostgresAddress], Awaitable[None]]
) -> None:
    if address not in fronts.answered:
        await test(address)
        fronts.answered.add(address)


def _field(facts: PoolFacts, name: str) -> str:
    return f"spec.postgres.{name} of HostingPool {facts.pool.metadata.name}"


def _pooler_fails(facts: PoolFacts, error: OperatorError, *, answers: bool = False) -> OperatorError:
    """Its own reason stays with what isn't of a login: a Service that is missing, a pooler that is open."""
    if not error.reason.startswith("Postgres"):
        return error
    return Unavailable(
        "PoolerRefusesLogin" if answers else "PoolerUnreachable",
        f"{_field(facts, 'pooler')}: {error.message}",
        LOOK_AGAIN,
    )


def _replica_fails(facts: PoolFacts, error: OperatorError) -> OperatorError:
    """As above."""
    if not error.reason.startswith("Postgres"):
        return error
    return Unavailable("ReplicaUnreachable", f"{_field(facts, 'readReplica')}: {error.message}", LOOK_AGAIN)
