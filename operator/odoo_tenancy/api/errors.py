"""The one exception tree. ``reconcile/report.py`` maps it to conditions; nothing else does."""

from __future__ import annotations


class OperatorError(Exception):
    """Something that stops an object from being what its spec asks for.

    Args:
        reason: CamelCase, stable, for machines: it becomes the condition's ``reason``.
        message: what happened, to which object, why, and what to do; it becomes the condition's ``message``.
        retry_after: seconds until another look is worthwhile; ``None`` leaves it to the queue's back-off.
    """

    def __init__(self, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class Refused(OperatorError):
    """The spec asks for what cannot or must not be: only a change by a person mends it (``Stalled``)."""


class Waiting(OperatorError):
    """Nothing is wrong: something outside is not there yet (``Reconciling``)."""


class Unavailable(OperatorError):
    """Something outside that should answer does not: tried again with back-off."""
