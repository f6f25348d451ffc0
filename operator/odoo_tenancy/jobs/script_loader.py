"""Load a customer's script as the tenant's own role: not by psql, statement by statement.

Why so. psql obeys commands within a script (``\\!``, ``\\connect``, ``\\copy``, ``\\i``), and its restricted mode is as new
as the patched versions and stands or falls with the script's own ``\\unrestrict``. ``pg_restore`` runs whatever the
archive's table of contents says. Here no program but the server reads the script: what isn't SQL is refused, what is SQL
is compared with what pg_dump writes (:mod:`script_rules`), and goes by the extended protocol, which takes one statement at
a time, so that the server and we agree where it ends. And whatever slips through does it with the rights of a role that
owns one database, in a pod that reaches nothing else. The rows of COPY are passed on unread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, Any

import psycopg

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.jobs.script_rules import extension_of, judge
from odoo_tenancy.jobs.sql_script import SqlScript

_BUILT_IN = frozenset({"plpgsql"})


@dataclass
class Loaded:
    """What the script made."""

    statements: int = 0
    tables: int = 0
    rows: int = 0


def load_script(stream: IO[bytes], connection: psycopg.Connection[tuple[Any, ...]], largest: int) -> Loaded:
    """Run it, in autocommit: all at once may need more locks than the server has.

    Args:
        largest: bytes of the script.

    Raises:
        Refused: of :mod:`sql_script` and :mod:`script_rules`; ``ExtensionMissing``; ``ArchiveRejected``: the server
            refuses a statement.
        psycopg.OperationalError: the server went away.
    """
    loaded = Loaded()
    script = SqlScript(stream, largest)
    installed = {name for (name,) in connection.execute("SELECT extname FROM pg_extension").fetchall()}
    for raw in script:
        try:
            statement = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise Refused("ArchiveUnsafe", "The dump isn't in UTF-8: make it with --encoding=UTF8.") from None
        verdict = judge(statement)
        if (extension := extension_of(statement)) and extension not in installed | _BUILT_IN:
            raise Refused(
                "ExtensionMissing",
                f"The dump needs PostgreSQL's extension {extension}, which this database doesn't have: let the admin "
                "create it, or leave it out at the source.",
            )
        try:
            if verdict == "Copy":
                loaded.rows += _copy(connection, statement, script)
                loaded.tables += 1
            elif verdict == "Run":
                # Binary results mean the extended protocol, which refuses a second statement in the text.
                connection.execute(statement.encode(), binary=True)
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            raise _rejected(statement, error) from error
        loaded.statements += 1
    return loaded


def _copy(connection: psycopg.Connection[tuple[Any, ...]], statement: str, script: SqlScript) -> int:
    with connection.cursor() as cursor:
        with cursor.copy(statement.encode()) as copy:
            for rows in script.rows():
                copy.write(rows)
        return cursor.rowcount


def _rejected(statement: str, error: psycopg.Error) -> Refused:
    """Without the server's details, which may quote a row."""
    said = " ".join((error.diag.message_primary or type(error).__name__).split())
    return Refused(
        "ArchiveRejected",
        f"PostgreSQL refuses a statement of the dump: {said} (at: {' '.join(statement[:100].split())}). What was loaded "
        "before it is cleared away. Mend it at the source, and make the archive anew.",
    )
