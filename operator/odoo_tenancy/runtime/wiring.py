"""Which reconciler works on which kind, and who remembers what of an event. The one place where they meet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from odoo_tenancy.api.meta import Key
from odoo_tenancy.cluster.children import Children
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.reconcile.result import Reconciler
from odoo_tenancy.runtime.clock import Clock
from odoo_tenancy.runtime.metrics import Metrics
from odoo_tenancy.runtime.queue import WorkQueue
from odoo_tenancy.runtime.settings import Settings
from odoo_tenancy.runtime.watch import Seen


@dataclass(frozen=True)
class Context:
    """What the runtime gives to the reconcilers."""

    settings: Settings
    cluster: Cluster
    queue: WorkQueue
    metrics: Metrics
    clock: Clock

    def enqueue(self, key: Key, seconds: float = 0.0) -> None:
        """Ask for a look at an object, at once or in so many seconds."""
        self.queue.add_after(key, seconds)


async def _nothing_to_close() -> None:
    return None


@dataclass(frozen=True)
class Wiring:
    """What the reconcilers give to the runtime."""

    reconcilers: Mapping[str, Reconciler] = field(default_factory=dict)
    """By kind; a kind is watched once it has one."""

    children: Children = field(default_factory=Children)
    """Told of each event of a child, and of a stranger's object that may open a namespace."""

    seen: Mapping[str, Seen] = field(default_factory=dict)
    """By kind of ours: told of each event of it, before its key is queued."""

    close: Callable[[], Awaitable[None]] = _nothing_to_close
    """Called at the end, when nothing is worked on any more."""


Build = Callable[[Context], Awaitable[Wiring]]


async def build_reconcilers(context: Context) -> Wiring:
    """The reconcilers of this version. Called once, when the Lease is ours."""
    del context
    return Wiring()
