"""A database with Odoo's own tables as far as a backup looks at them, and a filestore beside it: attachments are made,
deleted and collected as odoo/addons/base/models/ir_attachment.py does, in milliseconds instead of an Odoo's seconds."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from tests.support.postgres import PostgresProcess

_SCHEMA = """
CREATE TABLE ir_module_module (id serial PRIMARY KEY, name varchar, state varchar, latest_version varchar,
    write_date timestamp);
INSERT INTO ir_module_module (name, state, latest_version, write_date) VALUES
    ('base', 'installed', '19.0.1.3', '2026-01-01'), ('web', 'installed', '19.0.1.0', '2026-01-01'),
    ('crm', 'uninstalled', NULL, '2026-01-01');
CREATE TABLE ir_attachment (id serial PRIMARY KEY, name varchar, store_fname varchar, checksum varchar(40),
    file_size integer, write_date timestamp DEFAULT (now() AT TIME ZONE 'UTC'));
CREATE INDEX ON ir_attachment (store_fname);
CREATE TABLE res_partner (id serial PRIMARY KEY, name varchar, write_date timestamp);
INSERT INTO res_partner (name, write_date) SELECT 'partner ' || n, '2026-02-03 04:05:06' FROM generate_series(1, 500) n;
CREATE TABLE rel_without_date (left_id integer, right_id integer);
"""


@dataclass
class SmallOdoo:
    """One tenant's database and files."""

    postgres: PostgresProcess
    name: str
    filestore: Path
    """With the files of this database."""
    user: str
    password: str = field(repr=False)
    connection: psycopg.Connection[Any] = field(repr=False)

    def attach(self, content: bytes) -> str:
        """The file first, then its row: its ``store_fname``."""
        checksum = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        store_fname = f"{checksum[:2]}/{checksum}"
        path = self.filestore / store_fname
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(content)
        self.connection.execute(
            "INSERT INTO ir_attachment (name, store_fname, checksum, file_size) VALUES (%s, %s, %s, %s)",
            ["attachment", store_fname, checksum, len(content)],
        )
        return store_fname

    def detach(self, store_fname: str) -> None:
        """The row goes; the file is marked to be looked at."""
        self.connection.execute("DELETE FROM ir_attachment WHERE store_fname = %s", [store_fname])
        mark = self.filestore / "checklist" / store_fname
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()

    def collect(self) -> int:
        """Odoo's garbage collection: files that no row names any more go. How many went."""
        gone = 0
        with self.connection.transaction():
            self.connection.execute("LOCK ir_attachment IN SHARE MODE")
            marks = [path for path in (self.filestore / "checklist").glob("*/*") if path.is_file()]
            names = [str(path.relative_to(self.filestore / "checklist")) for path in marks]
            kept = self.connection.execute(
                "SELECT store_fname FROM ir_attachment WHERE store_fname = ANY(%s)", [names]
            )
            still = {name for (name,) in kept}
            for name, mark in zip(names, marks, strict=True):
                if name not in still:
                    with suppress(FileNotFoundError):
                        (self.filestore / name).unlink()
                        gone += 1
                mark.unlink()
        return gone

    def attach_many(self, number: int, size: int = 200) -> list[str]:
        """Attachments of random content."""
        return [self.attach(secrets.token_bytes(size)) for _ in range(number)]

    def grow(self, mebibytes: int) -> None:
        """Rows that compress badly, in a table that is dumped before ir_attachment."""
        self.connection.execute("CREATE TABLE IF NOT EXISTS bulk (id serial, payload text)")
        self.connection.execute(
            "INSERT INTO bulk (payload) SELECT string_agg(md5(random()::text), '')"
            " FROM generate_series(1, %s) row, generate_series(1, 32) part GROUP BY row",
            [mebibytes * 1024],
        )

    def rows(self) -> dict[str, int]:
        """Of each table, now."""
        tables = self.connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
        count = sql.SQL("SELECT count(*) FROM {}")
        return {
            f"public.{table}": self.connection.execute(count.format(sql.Identifier(table))).fetchone()[0]  # type: ignore[index]
            for (table,) in tables
        }


@contextmanager
def small_odoo(postgres: PostgresProcess, folder: Path, *, empty: bool = False) -> Iterator[SmallOdoo]:
    """One of its own, gone afterwards; ``empty``: nobody initialised it. A role of its own reads it."""
    name, password = f"t_{secrets.token_hex(8)}", secrets.token_hex(16)
    with postgres.superuser() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        admin.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE pg_read_all_data").format(
                sql.Identifier(f"{name}_backup"), sql.Literal(password)
            )
        )
    filestore = folder / "filestore" / name
    connection = postgres.superuser(name)
    try:
        if not empty:
            filestore.mkdir(parents=True)
            connection.execute(_SCHEMA.encode())
        yield SmallOdoo(postgres, name, filestore, f"{name}_backup", password, connection)
    finally:
        connection.close()
        with postgres.superuser() as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(f"{name}_backup")))


@contextmanager
def churning(odoo: SmallOdoo, pause: float = 0.002) -> Iterator[threading.Event]:
    """Attachments are made, deleted and collected all the while, by a session of its own. The event is set once it was
    all round at least once."""
    stop, round_done = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with odoo.postgres.superuser(odoo.name) as connection:
                own = SmallOdoo(
                    odoo.postgres, odoo.name, odoo.filestore, odoo.user, odoo.password, connection
                )
                while not stop.is_set():
                    names = own.attach_many(4)
                    for name in names[:3]:
                        own.detach(name)
                    own.collect()
                    round_done.set()
                    stop.wait(pause)
        except BaseException as error:
            errors.append(error)
            round_done.set()

    thread = threading.Thread(target=work, name="churn")
    thread.start()
    try:
        yield round_done
    finally:
        stop.set()
        thread.join()
    if errors:
        raise errors[0]
