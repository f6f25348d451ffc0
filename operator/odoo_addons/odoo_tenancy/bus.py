"""The bus: what Odoo says and hears in the database ``postgres`` moves into the tenant's own.

Odoo 19 opens ``postgres``, which all tenants of a server share, for

- NOTIFY and LISTEN on ``imbus`` (addons/bus/models/bus.py) and ``cron_trigger`` (addons/base/models/ir_cron.py,
  service/server.py): whoever listens there learns the names of others' databases and channels, and may wake them;
- ``/web/health?db_server_status=1`` (addons/web/controllers/home.py), which so says nothing about the tenant's;
- a look at ``pg_database``, at start and to list databases (service/db.py), which any database has.

All of them call ``sql_db.db_connect('postgres')``, so that one function is all that is patched.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

from odoo import sql_db
from odoo.tools import config

from .settings import ConfigurationError

_logger = logging.getLogger(__name__)

SHARED = "postgres"


def move() -> None:
    """From now on the shared database is never opened.

    Raises:
        ConfigurationError: ``db_name`` doesn't name exactly one database.
    """
    database = own_database(config["db_name"])
    if hasattr(sql_db.db_connect, "moved_from"):
        return
    open_database = sql_db.db_connect

    @functools.wraps(open_database)
    def db_connect(to: str, allow_uri: bool = False, readonly: bool = False) -> Any:
        return open_database(database if to == SHARED else to, allow_uri, readonly)

    db_connect.moved_from = open_database  # type: ignore[attr-defined]
    sql_db.db_connect = db_connect
    _logger.info("bus, cron triggers and health checks go through database %s", database)


def own_database(names: list[str]) -> str:
    """The one database of this Odoo."""
    if len(names) != 1:
        raise ConfigurationError(
            f"db_name names {len(names)} databases ({', '.join(names) or 'none'}): it must name the tenant's and no "
            "other, as the bus moves into it."
        )
    return names[0]
