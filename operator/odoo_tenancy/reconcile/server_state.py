"""What is remembered of one PostgreSQL: a pool's, or a tenant's own. Data alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from odoo_tenancy.api.errors import OperatorError
from odoo_tenancy.api.meta import Key
from odoo_tenancy.desired.context import Peer
from odoo_tenancy.reconcile.figures import Figures
from odoo_tenancy.services.postgres import Inventory, PostgresServer, TenantDatabase


@dataclass
class ServerState:
    """A server as it was last looked at."""

    whose: Key
    """The HostingPool, or the OdooTenant whose own it is."""
    pool: str
    """That it counts with in ``/metrics``."""
    server: PostgresServer | None = None
    inventory: Inventory | None = None
    agreed: Inventory | None = None
    """The last one that was what every tenant wanted."""
    problem: OperatorError | None = None
    ca: str | None = None
    """PEM of the authority of the server's certificate."""
    peers: tuple[Peer, ...] = ()
    """Where its address leads to, for the policy of those who use it."""
    wanted: dict[Key, TenantDatabase] = field(default_factory=dict)
    """What each admitted tenant should have on the server: compared with the inventory once a resync."""
    making: dict[str, Key] = field(default_factory=dict)
    """By template: the tenant whose initialisation will become it; others of the combination wait for that."""
    rotating: dict[Key, int] = field(default_factory=dict)
    """Connections that each tenant takes beyond its own while both of its logins are open."""
    figures: Figures = field(default_factory=Figures)
    """What was measured on it."""

    @property
    def shared(self) -> bool:
        """Several tenants have their databases there: one's template is the others' beginning."""
        return self.whose.kind == "HostingPool"

    def forget(self, tenant: Key) -> None:
        """Want nothing any more of a tenant that goes."""
        self.wanted.pop(tenant, None)
        self.rotating.pop(tenant, None)
        self.figures.forget(tenant)

    async def disconnect(self) -> None:
        """End what goes on there, and hang up. What was found stays."""
        await self.figures.end()
        server, self.server = self.server, None
        if server is not None:
            await server.close()


class OwnServers:
    """The servers of tenants that have one of their own, by tenant."""

    def __init__(self) -> None:
        self._states: dict[Key, ServerState] = {}

    def get(self, tenant: Key) -> ServerState | None:
        """A tenant's, where it was looked at."""
        return self._states.get(tenant)

    def of(self, tenant: Key, pool: str) -> ServerState:
        """The same; a blank one where it was not looked at yet."""
        return self._states.setdefault(tenant, ServerState(tenant, pool))

    async def forget(self, tenant: Key) -> None:
        """The tenant is gone, or is another one of that name."""
        state = self._states.pop(tenant, None)
        if state is not None:
            await state.disconnect()

    async def close(self) -> None:
        """At the end of the operator."""
        for tenant in tuple(self._states):
            await self.forget(tenant)
