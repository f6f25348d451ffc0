"""How far what is stored of a tenant that goes was erased: lost with the process, and then begun anew."""

from __future__ import annotations

from dataclasses import dataclass, field

from odoo_tenancy.api.meta import Key
from odoo_tenancy.services.object_store import BucketAddress
from odoo_tenancy.services.object_store.erase import Erasure


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tenant's repository is, or was once, with all that lies beside it."""

    address: BucketAddress
    prefix: str
    """Without a slash at either end; may be empty."""
    claim: str

    @property
    def below(self) -> str:
        """What all keys of it begin with, but for those of the operator's own notes."""
        return f"{self.prefix}/{self.claim}/" if self.prefix else f"{self.claim}/"

    def __str__(self) -> str:
        return f"{self.below} in bucket {self.address}"


@dataclass
class ErasingBackups:
    """Of one tenant."""

    tenant: Key
    erasures: dict[Place, Erasure] = field(default_factory=dict)
    told: dict[Place, str] = field(default_factory=dict)
    """Of those that are done, what remains, in words; empty where nothing does."""
    clients: set[Key] = field(default_factory=set)
    """By which its buckets are remembered."""
    is_at_work: bool = False
    """A look at it goes on."""
    done: bool = False
