"""What a customer's dump may do: what ``pg_dump`` writes for a database of Odoo, and nothing else.

A list of what is allowed, by the words that a statement begins with, in pg_dump's own spelling. It is the second wall: the
first is that the server lets the tenant's role do no more than it may. Statements that need more rights, and that a new
database has done already, are passed by: owners, privileges, extensions.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from odoo_tenancy.api.errors import Refused

Verdict = Literal["Run", "Copy", "Skip"]

_NAME: Final = r'(?:"(?:[^"]|"")+"|\w+)'
_QUALIFIED: Final = rf"(?:{_NAME}\.)?{_NAME}"

_SKIP: Final = re.compile(
    r"(?:"
    r"SET (?:transaction_timeout|client_min_messages|default_tablespace|default_with_oids) = .*"
    r"|ALTER (?:TABLE|SEQUENCE|VIEW|MATERIALIZED VIEW|FUNCTION|PROCEDURE|AGGREGATE|TYPE|DOMAIN|SCHEMA|STATISTICS"
    r"|TEXT SEARCH \w+|OPERATOR\b.*|COLLATION)"
    rf" .* OWNER TO {_NAME}"
    r"|ALTER DEFAULT PRIVILEGES .*|(?:GRANT|REVOKE) .*"
    r"|COMMENT ON (?:EXTENSION|SCHEMA public|DATABASE) .*|CREATE SCHEMA public"
    r")",
    re.DOTALL,
)
_EXTENSION: Final = re.compile(rf"CREATE EXTENSION IF NOT EXISTS ({_NAME}) WITH SCHEMA {_NAME}")
_RUN: Final = re.compile(
    r"(?:"
    r"SET (?:statement_timeout|lock_timeout|idle_in_transaction_session_timeout) = 0"
    r"|SET client_encoding = 'UTF8'|SET standard_conforming_strings = on|SET check_function_bodies = (?:false|off)"
    r"|SET xmloption = content|SET row_security = off|SET default_table_access_method = heap"
    r"|SELECT pg_catalog\.set_config\('search_path', '', false\)"
    r"|SELECT pg_catalog\.setval\('[^']+', \d+, (?:true|false)\)"
    r"|CREATE (?:UNLOGGED )?TABLE .*|CREATE SEQUENCE .*|CREATE (?:UNIQUE )?INDEX .*"
    r"|CREATE (?:OR REPLACE )?VIEW .*|CREATE MATERIALIZED VIEW .*|REFRESH MATERIALIZED VIEW .*"
    r"|CREATE (?:OR REPLACE )?(?:FUNCTION|PROCEDURE) .*|CREATE AGGREGATE .*"
    r"|CREATE (?:TYPE|DOMAIN|SCHEMA|STATISTICS|COLLATION) .*|CREATE TEXT SEARCH (?:CONFIGURATION|DICTIONARY) .*"
    r"|CREATE (?:OR REPLACE )?(?:CONSTRAINT )?TRIGGER .*|CREATE (?:OR REPLACE )?RULE .*"
    r"|ALTER (?:TABLE|SEQUENCE|VIEW|MATERIALIZED VIEW|INDEX|TYPE|DOMAIN|STATISTICS|TEXT SEARCH CONFIGURATION) .*"
    r"|COMMENT ON (?:TABLE|COLUMN|SEQUENCE|INDEX|VIEW|MATERIALIZED VIEW|FUNCTION|PROCEDURE|AGGREGATE|TYPE|DOMAIN|SCHEMA"
    r"|CONSTRAINT|TRIGGER|RULE|STATISTICS|COLLATION|TEXT SEARCH \w+) .*"
    rf"|INSERT INTO {_QUALIFIED} (?:\(.*\) )?VALUES\s.*"
    r")",
    re.DOTALL,
)
_COPY: Final = re.compile(rf"COPY {_QUALIFIED} ?(?:\([^()]*\) )? ?FROM stdin")
_PER_STATEMENT: Final = 100
"""Characters of a refused statement that are shown."""


def judge(statement: str) -> Verdict:
    """What to do with a statement, which has no semicolon at its end.

    Raises:
        Refused: ``ArchiveUnsafe``: none of what pg_dump writes for a database of Odoo.
    """
    if _SKIP.fullmatch(statement) or _EXTENSION.fullmatch(statement):
        return "Skip"
    if _COPY.fullmatch(statement):
        return "Copy"
    if _RUN.fullmatch(statement):
        return "Run"
    shown = " ".join(statement[:_PER_STATEMENT].split())
    raise Refused(
        "ArchiveUnsafe",
        f"The dump has a statement that isn't allowed: {shown}… What was loaded before it is cleared away. Take it out at "
        "the source, and make the archive anew.",
    )


def extension_of(statement: str) -> str | None:
    """The extension that it would make, if it is that."""
    found = _EXTENSION.fullmatch(statement)
    return found[1].strip('"') if found else None
