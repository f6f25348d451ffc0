"""What every reconciler is given: the cluster, the memory, and what would otherwise be global."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from odoo_tenancy.api.meta import Condition, Key, Manifest
from odoo_tenancy.cluster.apply import Applier, Change
from odoo_tenancy.cluster.children import Children
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.events import Events
from odoo_tenancy.reconcile.credentials import CredentialStore
from odoo_tenancy.reconcile.memory import Pools, Tenants
from odoo_tenancy.services.postgres import PostgresAddress, PostgresServer


class Enqueue(Protocol):
    """Asks for a look at another object."""

    def __call__(self, key: Key, seconds: float = 0.0) -> None: ...


class DriftObserver(Protocol):
    """Counts what was changed by others and brought back."""

    def __call__(self, kind: str, manager: str, /) -> None: ...


class ConnectPostgres(Protocol):
    """Makes the client of a server; nothing is connected before it is first used."""

    def __call__(self, address: PostgresAddress) -> PostgresServer: ...


@dataclass(frozen=True)
class Options:
    """What the settings say to the reconcilers."""

    namespace: str = "odoo-tenancy-system"
    """The operator's own: pools' Secrets are read from it, generated values are kept in it."""
    look_again: float = 2.0
    """Seconds between two looks at what starts, where no watch tells."""
    cluster_id: str = ""
    """On everything made outside of Kubernetes: two clusters may share a PostgreSQL server."""
    serves: Callable[[str], bool] = lambda _: True
    """Whether a pool, with its tenants, is this operator's: others may serve the rest."""


@dataclass(frozen=True)
class World:
    """The outside and the memory, for all reconcilers alike."""

    cluster: Cluster
    children: Children
    applier: Applier
    events: Events
    credentials: CredentialStore
    tenants: Tenants
    pools: Pools
    enqueue: Enqueue
    connect_postgres: ConnectPostgres
    drifted: DriftObserver
    now: Callable[[], datetime]
    token: Callable[[int], str]
    options: Options


def written(changes: Sequence[Change]) -> tuple[str, ...]:
    """The changes as words for the log line: what was left as it was is not among them."""
    return tuple(f"{c.action} {c.ref}" for c in changes if c.action != "unchanged")


async def report_drift(world: World, regarding: Manifest, changes: Sequence[Change]) -> None:
    """Say what was brought back: one event each, and a count; object, fields and writer are named."""
    for change in changes:
        drift = change.drift
        if drift is None:
            continue
        writers = ", ".join(drift.writers) or "unknown"
        fields = f" ({', '.join(drift.fields)})" if drift.fields else ""
        world.drifted(change.ref.kind, drift.writers[0] if drift.writers else "unknown")
        await world.events.publish(
            regarding,
            "Warning",
            "DriftRepaired",
            f"{change.ref} was {drift.kind} by {writers}{fields}; brought back",
        )


PASSING = frozenset(
    {
        "RollingOut",
        "Initializing",
        "InstallingModules",
        "CheckingImage",
        "VolumePending",
        "TemplateInTheMaking",
    }
)
"""Reasons that belong to every start: nobody is warned of them."""


async def announce(world: World, manifest: Manifest, condition: Condition) -> None:
    """One event for a condition whose status or reason has changed."""
    good = condition.status != "False" or condition.reason in PASSING
    message = f"{condition.type} is {condition.status}: {condition.message}"
    await world.events.publish(manifest, "Normal" if good else "Warning", condition.reason, message)
