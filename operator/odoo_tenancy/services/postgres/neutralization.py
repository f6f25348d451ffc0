"""Whether ``odoo neutralize`` took: a copy must not send mail, take money, or do by itself what its original does.

Odoo runs a file ``data/neutralize.sql`` of each installed module and says nothing of what it did
(odoo/modules/neutralize.py); a module that was changed, or a row that was made afterwards, would go unseen. So the rows
are looked at. Always as the tenant's own role: whoever owns the tables decides what runs when they are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from odoo_tenancy.api.errors import Refused


@dataclass(frozen=True)
class _Check:
    """Rows that must not be there."""

    table: str
    """Checked only where there is one: it comes with a module."""
    bad: SQL
    says: str
    must: bool = False
    """The other way round: one such row must be there."""


_CHECKS: Final = (
    _Check(
        "ir_config_parameter",
        SQL("key = 'database.is_neutralized' AND lower(value) IN ('true', 't', '1')"),
        "the flag database.is_neutralized isn't set",
        must=True,
    ),
    _Check(
        "ir_mail_server", SQL("active AND smtp_host IS DISTINCT FROM 'invalid'"), "mail servers are active"
    ),
    _Check(
        "ir_mail_server",
        SQL("active AND smtp_host = 'invalid'"),
        "the mail server that leads nowhere is lacking, so that one of odoo.conf would be used",
        must=True,
    ),
    _Check("fetchmail_server", SQL("active"), "incoming mail servers are active"),
    _Check(
        "ir_cron",
        SQL(
            "active AND id NOT IN (SELECT res_id FROM public.ir_model_data WHERE model = 'ir.cron' AND module = 'base'"
            " AND name = 'autovacuum_job')"
        ),
        "scheduled actions are active",
    ),
    _Check("payment_provider", SQL("state NOT IN ('test', 'disabled')"), "payment providers are live"),
    _Check(
        "ir_act_server",
        SQL("state = 'webhook' AND webhook_url IS NOT NULL AND webhook_url NOT LIKE 'neutralization %'"),
        "webhooks lead to others",
    ),
    _Check("delivery_carrier", SQL("prod_environment"), "delivery carriers are in production"),
)


async def left_alive(connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> tuple[str, ...]:
    """What neutralization should have ended and didn't, in words; nothing: it took.

    Args:
        connection: to the copy, as its tenant's role.

    Raises:
        psycopg.Error: the database can't be read.
    """
    found = []
    for check in _CHECKS:
        cursor = await connection.execute("SELECT to_regclass(%s)", [f"public.{check.table}"])
        there = await cursor.fetchone()
        count = await _count(connection, check) if there != (None,) else 0
        if check.must and not count:
            found.append(check.says)
        elif not check.must and count:
            found.append(f"{count} {check.says}" if count > 1 else check.says)
    return tuple(found)


async def check_neutralized(connection: psycopg.AsyncConnection[tuple[Any, ...]], database: str) -> None:
    """A copy that fails this must not be started.

    Raises:
        Refused: ``NotNeutralized``.
        psycopg.Error: the database can't be read.
    """
    if found := await left_alive(connection):
        raise Refused(
            "NotNeutralized",
            f"Database {database} was neutralized, and yet: {'; '.join(found)}. It isn't started. See which module lacks a "
            "data/neutralize.sql, or copy without neutralize.",
        )


async def _count(connection: psycopg.AsyncConnection[tuple[Any, ...]], check: _Check) -> int:
    row = await (await connection.execute(_question(check))).fetchone()
    assert row is not None
    return int(row[0])


def _question(check: _Check) -> Composed:
    return SQL("SELECT count(*) FROM {} WHERE {}").format(Identifier("public", check.table), check.bad)
