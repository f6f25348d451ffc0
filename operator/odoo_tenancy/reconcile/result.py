"""What one look at one object came to, and the shape of the function that looks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from odoo_tenancy.api.meta import Key


@dataclass(frozen=True)
class Result:
    """The queue schedules the next look by it, and the log line of the reconcile shows ``changes``."""

    requeue_after: float | None = None
    """Seconds until another look is wanted; ``None`` leaves it to the resync."""

    changes: tuple[str, ...] = ()
    """What was written, in words short enough for a log line: ``applied Deployment odoo-acme/odoo-web``."""

    gone: bool = False
    """The object exists no longer and nothing of it is left to do: the queue forgets its key."""


Reconciler = Callable[[Key], Awaitable[Result]]
"""Looks at the object of that key and makes what is asked for. Raises ``OperatorError`` where it cannot."""
