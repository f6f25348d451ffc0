"""How I/O is observed: every request counted, every write announced."""

from __future__ import annotations

from typing import Protocol


class RequestObserver(Protocol):
    """Called once for each request to the API server, when it was answered or given up."""

    def __call__(self, verb: str, kind: str, seconds: float, code: int) -> None:
        """``verb`` is the audit log's word (get, list, create, patch, delete); ``code`` 0: no answer."""
        ...


class WriteHook(Protocol):
    """Called around each write to anything outside: a test kills the process before or after it."""

    def before_write(self, description: str) -> None:
        """About to be sent; ``description`` names it, e.g. ``apply Deployment odoo-acme/odoo-web``."""
        ...

    def after_write(self, description: str) -> None:
        """The write succeeded and its result was not used yet."""
        ...


class NoHook:
    """Does nothing: what runs outside of tests."""

    def before_write(self, description: str) -> None:
        """Nothing."""

    def after_write(self, description: str) -> None:
        """Nothing."""
