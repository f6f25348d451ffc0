"""What was measured on a pool's PostgreSQL, and what its tenants were told of it. Data alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from odoo_tenancy.api.errors import OperatorError
from odoo_tenancy.api.meta import Key
from odoo_tenancy.services.postgres import DatabaseActivity, Reclaimed, ServerActivity

Level = Literal["Fine", "Warned", "Full"]


@dataclass(frozen=True, slots=True)
class Told:
    """A tenant's bounds, and what its last look came to."""

    database: str
    most: int | None
    """``maxSize`` in bytes; ``None``: not limited."""
    connection_limit: int
    level: Level
    size_bytes: int | None
    """As its status says; ``None``: nothing yet."""
    connections: int | None
    """The same."""


@dataclass(frozen=True, slots=True)
class TenantFigures:
    """Of one tenant's database."""

    size_bytes: int | None
    activity: DatabaseActivity | None


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """For ``/metrics``: of all tenants on a server, and of the server's replication."""

    tenants: Mapping[Key, TenantFigures]
    replay_lag_seconds: float | None
    """Of the pool's ``readReplica``; else of its server, where that is a standby."""
    slot_lag_bytes: Mapping[str, int]
    standbys: int


class DatabaseObserver(Protocol):
    """Takes the figures to where people look at them."""

    def measured(self, server: Key, pool: str, figures: PoolFigures | None) -> None:
        """All of a server's anew; ``None``: it is gone.

        Args:
            server: the HostingPool, or the OdooTenant whose own it is.
            pool: of its tenants.
        """
        ...

    def gone(self, tenant: Key) -> None:
        """Of this one nothing is to be shown any more."""
        ...


@dataclass(frozen=True, slots=True)
class Vacuum:
    """A VACUUM FULL that somebody asked for."""

    request: str
    """The annotation's value."""
    task: asyncio.Task[Reclaimed]


@dataclass
class Figures:
    """Grows by measurements beside the reconciles; a restart begins anew."""

    sizes: Mapping[str, int] = field(default_factory=dict)
    """Bytes by database."""
    activity: ServerActivity | None = None
    replica_lag_seconds: float | None = None
    """Of the pool's ``readReplica``; ``None``: it has none, or did not answer when it was last asked."""
    sized_at: float | None = None
    """Seconds of a clock that never goes back."""
    looked_at: float | None = None
    told: dict[Key, Told] = field(default_factory=dict)
    measuring: asyncio.Task[None] | None = None
    problem: OperatorError | None = None
    """Why the last measurement came to nothing; until it was said."""
    vacuums: dict[Key, Vacuum] = field(default_factory=dict)

    def activity_of(self, database: str) -> DatabaseActivity | None:
        """Of one database, where it was measured."""
        return self.activity.databases.get(database) if self.activity is not None else None

    def vacuuming(self, tenant: Key) -> bool:
        """Whether its database is being rewritten now."""
        vacuum = self.vacuums.get(tenant)
        return vacuum is not None and not vacuum.task.done()

    def forget(self, tenant: Key) -> None:
        """It goes, or is another's from now on."""
        self.told.pop(tenant, None)
        vacuum = self.vacuums.pop(tenant, None)
        if vacuum is not None:
            vacuum.task.cancel()

    async def end(self) -> None:
        """Stop what is going on; what was measured stays."""
        tasks: list[asyncio.Task[None] | asyncio.Task[Reclaimed]] = [v.task for v in self.vacuums.values()]
        if self.measuring is not None:
            tasks.append(self.measuring)
        self.measuring = None
        self.vacuums.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
