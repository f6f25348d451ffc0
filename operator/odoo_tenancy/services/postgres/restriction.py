"""A full database: Odoo reads, changes and deletes, and adds nothing, until there is room again.

An owner can always grant itself what was taken from it, so nothing is taken from the owner. Instead the login roles
are made members of another role, ``restricted_role``, that owns nothing, and of the owner no more; the sessions from
before are ended. That is one transaction on the server's shared catalogue however many tables there are, it locks no
table, the inventory sees it, and taking it back is exact: the role is dropped, and what it was granted goes with it.

What the restricted role may do:

* SELECT, UPDATE and DELETE on everything. Without UPDATE Odoo could delete nothing: its ORM writes stored fields of
  related records, and its crons write their own rows. An UPDATE adds a version of a row, which vacuum takes away.
* INSERT into the tables of :data:`GROWING` alone. Odoo writes ``res_users_log`` in the transaction of each login and
  ``res_device_log`` with a session's first requests (odoo/addons/base/models/res_users.py, res_device.py), crons
  ``ir_cron_progress`` and ``ir_cron_trigger`` (ir_cron.py), every change of what is cached ``orm_signaling_*``
  (odoo/orm/registry.py), notifications ``bus_bus``: small rows, most of which Odoo collects again. Without them
  nobody could log in to delete, and the cron that collects garbage would be disabled.
* No CREATE in a schema, no temporary tables, no TRUNCATE, no extensions.

What holds, against whom:

* Odoo, with any addon that is not made to get around it: it adds no data but the above. Whoever saves a record
  sees Odoo's message for "permission denied".
* A tenant that runs SQL of its own: it can't become the owner, can't grant itself anything, can't create or fill a
  table, ended sessions included. **It can still grow**: by large objects, which need no privilege in PostgreSQL
  (their functions belong to the superuser, so only one can revoke EXECUTE), by making rows longer, and by the tables
  above. Against malice only a closed door holds: :meth:`PostgresServer.close_logins`, when a restricted database
  keeps growing.

Deleting leaves the files as long as they are: :meth:`PostgresServer.vacuum_full` shrinks them.
"""

from __future__ import annotations

from psycopg.sql import SQL, Identifier

from odoo_tenancy.api.errors import Waiting
from odoo_tenancy.services.postgres import access
from odoo_tenancy.services.postgres.inventory import Inventory
from odoo_tenancy.services.postgres.wanted import TenantDatabase
from odoo_tenancy.services.postgres.writer import Session, Writer

GROWING = "^(res_users_log|res_device_log|ir_cron_progress|ir_cron_trigger|orm_signaling_.*|bus_bus)$"
"""Names of tables that may still grow in a full database."""


async def prepare(writer: Writer, found: Inventory, wanted: TenantDatabase) -> None:
    """Give the restricted role, which exists, what it may do. What a login role made without its owner is given to
    the owner: who owns a table can fill it."""
    database = found.databases.get(wanted.database)
    if database is None or database.mark is None or database.mark.stage == "making":
        raise Waiting("DatabaseMissing", f"Database {wanted.database} isn't there to be restricted.", 5)
    logins = [name for name in wanted.login_roles if name in found.roles]
    reassign = SQL("REASSIGN OWNED BY {} TO {}").format(
        SQL(", ").join(map(Identifier, logins)), Identifier(wanted.owner_role)
    )
    changes = [*([reassign] if logins else ()), *access.grant_restricted(wanted, GROWING)]
    await writer.write(f"database {wanted.database}: let {wanted.acting_role} read and delete", changes,
                       Session(wanted.database))  # fmt: skip
