"""Keeps a tenant's Odoo within the tenant: its bus in its own database, its sessions in Redis.

README.md says how it is put into a pod, which variables it reads, and which Redis commands it sends.
"""

from __future__ import annotations

import logging
import traceback

_logger = logging.getLogger(__name__)


def activate() -> None:
    """Patch the Odoo that is starting. May be called twice: the second call does nothing.

    Odoo's own ``post_load`` hook, for ``server_wide_modules``; ``odoo tenancy`` calls it earlier.

    Raises:
        SystemExit: this Odoo isn't one that the addon was tried with, or the configuration is wrong. Nothing less
            ends a start: Odoo only logs what goes wrong in a server-wide module, and goes on without it.
    """
    # Not at the top: this imports Odoo, which may not have patched its libraries yet.
    from .settings import ConfigurationError

    try:
        _activate()
    except ConfigurationError as error:
        raise SystemExit(f"odoo_tenancy: {error}") from error
    except Exception as error:
        traceback.print_exc()
        raise SystemExit(f"odoo_tenancy: Odoo does not start without it, and it failed: {error!r}") from error


def _activate() -> None:
    from . import bus, database, expected, settings

    expected.check()
    bus.move()
    database.wait_for_it()
    redis = settings.from_environment()
    if redis is None:
        _logger.info("sessions stay in files: %s is not set", settings.URL)
        return
    # Here, so that redis-py is needed only where there is a Redis.
    from . import sessions

    sessions.move(redis)
