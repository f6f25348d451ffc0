"""One look at one tenant: what was read, decided, written and found so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from odoo_tenancy.api.meta import Key, Manifest
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.cluster.apply import Change
from odoo_tenancy.cluster.objects import ObjectRef, Owner
from odoo_tenancy.desired import labels
from odoo_tenancy.desired.context import TenantContext
from odoo_tenancy.reconcile.credentials import Vault, secret
from odoo_tenancy.reconcile.memory import PoolState
from odoo_tenancy.reconcile.report import Report
from odoo_tenancy.reconcile.server_state import ServerState
from odoo_tenancy.reconcile.world import World, report_drift, written
from odoo_tenancy.services.difference import Difference


@dataclass
class Look:
    """Grows from stage to stage; gone when the look is over."""

    world: World
    tenant: OdooTenant
    manifest: Manifest
    """The tenant as it was read: events regard it."""
    pool: PoolState
    postgres: ServerState
    """Where its database is: the pool's, or one of its own."""
    vault: Vault
    context: TenantContext
    report: Report = field(default_factory=Report)
    keep: set[ObjectRef] = field(default_factory=set)
    """What should exist: the rest is pruned."""
    changes: list[str] = field(default_factory=list)
    again: float | None = None
    """Seconds until the next look is worthwhile, where no watch tells."""
    unsaved: bool = False
    """The vault knows more than its Secret."""
    image: str = ""
    """The image that runs, by digest, where it was looked up."""
    redis_used: int | None = None
    """Bytes of its keys in Redis, where they were measured."""
    database_status: dict[str, int] = field(default_factory=dict)
    """What the status is to say anew of the database's size and connections."""
    hosts: tuple[str, ...] = ()
    """The host names that are routed to this tenant."""

    @property
    def key(self) -> Key:
        """The tenant's."""
        return self.tenant.key

    @property
    def owner(self) -> Owner:
        """The tenant as the owner of its children."""
        return owner_of(self.tenant)

    @property
    def initialized(self) -> bool:
        """Odoo's own tables are there, and its administrator has a password of its own."""
        return bool(self.vault.installed)

    def held(self, type_: str, reason: str) -> bool:
        """Whether the last look at this very spec found this already."""
        return any(
            c.type == type_
            and c.reason == reason
            and c.status == "True"
            and c.observed_generation == self.tenant.metadata.generation
            for c in self.tenant.status.conditions
        )

    def remember(self, vault: Vault) -> None:
        """Keep what would be found out again, should nobody write it down: the next store does."""
        self.vault, self.unsaved = vault, True
        self.world.credentials.keep(vault)

    async def apply(self, manifests: Sequence[Manifest]) -> list[Change]:
        """Make these exist as they are; what strangers did to them is undone and reported."""
        changes = await self.world.applier.apply(self.owner, manifests)
        self.keep.update(ObjectRef.of(m) for m in manifests)
        self.changes.extend(written(changes))
        await report_drift(self.world, self.manifest, changes)
        return changes

    async def store(self, vault: Vault) -> None:
        """Keep what was generated or found out for good, before anybody relies on it."""
        await self.apply([secret(vault, self.world.options.namespace, vault_labels(self.tenant))])
        self.vault, self.unsaved = vault, False
        self.world.credentials.keep(vault)

    async def report_drift_of(self, service: str, drift: Sequence[Difference]) -> None:
        """What was brought back in a service, by an event for each object. Who had changed it, the service does not know.

        Args:
            drift: object by object. What is more than an event holds is cut.
        """
        for title, found in groupby(drift, key=lambda difference: difference.object):
            self.world.drifted(f"{service} {title.split()[0]}", "unknown")
            attributes = "; ".join(each.attribute_as_found for each in found)
            message = f"{service} {title} was changed by unknown and brought back: {attributes}"
            await self.world.events.publish(self.manifest, "Warning", "DriftRepaired", message)

    def look_again(self, seconds: float) -> None:
        """Ask for another look; the soonest wish counts."""
        self.again = seconds if self.again is None else min(self.again, seconds)


def owner_of(tenant: OdooTenant) -> Owner:
    """A tenant as the owner of its children."""
    meta = tenant.metadata
    return Owner("OdooTenant", meta.namespace, meta.name, meta.uid)


def vault_labels(tenant: OdooTenant) -> dict[str, str]:
    """The vault is a child like any other."""
    return labels.for_tenant(tenant, "vault")
