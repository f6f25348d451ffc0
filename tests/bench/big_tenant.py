"""A tenant with about a gigabyte of database and as much of files, and what a day changes in it."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path

from psycopg import sql
from tests.support.small_odoo import SmallOdoo

FILES = 6000
CHANGED = 100
"""One part in so many is changed at a time."""

_TABLES = ("account_move_line", "stock_move", "mail_message", "sale_order_line")
_ROW_BYTES = 620
"""Of a row in a dump, about."""
_RECENT = 20
"""What is changed by hand is among the newest rows: one part in so many."""
_TABLE = """
CREATE TABLE {table} (id serial PRIMARY KEY, name varchar, ref varchar, amount numeric, body text,
    write_date timestamp DEFAULT (now() AT TIME ZONE 'UTC'));
CREATE INDEX ON {table} (ref);
"""
_ROWS = """
INSERT INTO {table} (name, ref, amount, body)
SELECT 'Invoice line for order ' || n, md5(random()::text), round((random() * 10000)::numeric, 2),
    repeat('Delivery of goods as agreed, net 30 days. ', 8) || md5(random()::text) || md5(random()::text)
        || md5((n %% 1000)::text) || md5((n %% 777)::text)
FROM generate_series(1, %s) n
"""
_CHANGE = """
UPDATE {table} SET amount = amount + 1, write_date = now() AT TIME ZONE 'UTC'
WHERE id IN (SELECT id FROM {table} WHERE id > (SELECT max(id) - %s FROM {table}) ORDER BY random() LIMIT %s)
"""


class BigTenant:
    """Grows in an empty :class:`SmallOdoo`; its size is about ``mebibytes`` in the database and again in files."""

    def __init__(self, odoo: SmallOdoo, mebibytes: int) -> None:
        self._odoo = odoo
        self._rows = (mebibytes << 20) // _ROW_BYTES // len(_TABLES)
        self._average = (mebibytes << 20) // FILES
        self._chance = random.Random(1)

    def make(self) -> None:
        """All of it."""
        for table in _TABLES:
            self._execute(_TABLE, table)
            self._execute(_ROWS, table, self._rows)
        self._odoo.connection.execute("VACUUM ANALYZE")
        self._attach(FILES)

    def change(self) -> None:
        """A hundredth: half of the rows are new, the others changed; as many files are new."""
        some = self._rows // CHANGED // 2
        for table in _TABLES:
            self._execute(_ROWS, table, some)
            self._execute(_CHANGE, table, self._rows // _RECENT, some)
        self._attach(FILES // CHANGED)

    def _execute(self, text: str, table: str, *values: int) -> None:
        statement = sql.SQL(text).format(table=sql.Identifier(table))
        self._odoo.connection.execute(statement, values or None)

    def _attach(self, number: int) -> None:
        """Most are pictures and PDFs, which nothing makes smaller; a few are large."""
        names = []
        for _ in range(number):
            size = min(int(self._chance.expovariate(1 / self._average)) + 1, 40 * self._average)
            content = os.urandom(size) if self._chance.random() < 0.8 else _text(size)
            checksum = hashlib.sha1(content, usedforsecurity=False).hexdigest()
            names.append(f"{checksum[:2]}/{checksum}")
            file = Path(self._odoo.filestore, names[-1])
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
        self._odoo.connection.execute(
            "INSERT INTO ir_attachment (name, store_fname, checksum)"
            " SELECT 'a', f, right(f, 40) FROM unnest(%s::text[]) f",
            [names],
        )


def _text(size: int) -> bytes:
    return (os.urandom(48).hex().encode() + b" words that are said again and again " * (size // 36))[:size]
