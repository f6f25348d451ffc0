"""A script is taken apart as PostgreSQL would, whatever its chunks; commands for psql are none of it."""

from __future__ import annotations

import io

import pytest

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.jobs.script_rules import extension_of, judge
from odoo_tenancy.jobs.sql_script import SqlScript

WHOLE = 1 << 30


class Dribble(io.BytesIO):
    """Gives a few bytes at a time, as a pipe may."""

    def __init__(self, content: bytes, most: int) -> None:
        super().__init__(content)
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self._most)


def parts(text: str, most: int = 1 << 20, largest: int = WHOLE) -> list[str | tuple[str, str]]:
    script = SqlScript(Dribble(text.encode(), most), largest)
    found: list[str | tuple[str, str]] = []
    for statement in script:
        if script.is_copy(statement):
            found.append((statement.decode(), b"".join(script.rows()).decode()))
        else:
            found.append(statement.decode())
    return found


SCRIPT = r"""--
-- PostgreSQL database dump; with a semicolon
--
\restrict abcDEF123

SET statement_timeout = 0;
/* a comment; /* in a comment; */ ; */
CREATE FUNCTION public.f() RETURNS text LANGUAGE sql AS $_$ SELECT ';' || $$;$$ -- ;
$_$;
SELECT 'it''s; \', "a;""b", E'\';', 'x'/* ; */, $tag$;$$;$tag$ -- ;
, a$b;
COPY public.t (a, "b c") FROM stdin;
1	\\.
\N	;\n
\.


COPY public.empty (a) FROM stdin;
\.
COPY public.none  FROM stdin;

\.
INSERT INTO public.t VALUES (1, 'x');

--
-- PostgreSQL database dump complete
--

\unrestrict abcDEF123
"""
EXPECTED = [
    "SET statement_timeout = 0",
    "CREATE FUNCTION public.f() RETURNS text LANGUAGE sql AS $_$ SELECT ';' || $$;$$ -- ;\n$_$",
    "SELECT 'it''s; \\', \"a;\"\"b\", E'\\';', 'x'/* ; */, $tag$;$$;$tag$ -- ;\n, a$b",
    ('COPY public.t (a, "b c") FROM stdin', "1\t\\\\.\n\\N\t;\\n\n"),
    ("COPY public.empty (a) FROM stdin", ""),
    ("COPY public.none  FROM stdin", "\n"),
    "INSERT INTO public.t VALUES (1, 'x')",
]


@pytest.mark.parametrize("most", [1, 2, 3, 7, 50, 1 << 20])
def test_chunks_of_any_size_say_the_same(most: int) -> None:
    assert parts(SCRIPT, most) == EXPECTED


@pytest.mark.parametrize(
    "line",
    [
        "\\! touch /tmp/x",
        "\\connect postgres",
        "\\c postgres",
        "\\copy t from '/etc/passwd'",
        "\\i /etc/passwd",
        "\\o /tmp/x",
        "\\restrict a b",
        "\\unrestrict x; \\! id",
        "SELECT 1 \\gexec",
        "SELECT 1 \\g /tmp/x",
        "SELECT 'a' \\; SELECT 2;",
    ],
)
def test_commands_for_psql_are_refused(line: str) -> None:
    with pytest.raises(Refused, match="ArchiveUnsafe"):
        parts(f"SET x = 0;\n{line}\nSET y = 0;\n")


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "SELECT 'a;",
        'SELECT "a;',
        "SELECT $a$ ;",
        "SELECT /* ;",
        "SELECT E'\\';",
        "COPY public.t (a) FROM stdin;\n1\n",
        "COPY public.t (a) FROM stdin;",
    ],
)
def test_a_script_that_is_cut_off_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="ArchiveDamaged"):
        parts(text)


def test_a_script_larger_than_allowed_is_refused() -> None:
    with pytest.raises(Refused, match="ArchiveTooLarge"):
        parts("SELECT 1;\n" * 1000, largest=9000)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER ROLE postgres SUPERUSER",
        "ALTER /**/ ROLE x PASSWORD 'y'",
        "alter role x password 'y'",
        "ALTER USER x PASSWORD 'y'",
        "ALTER DATABASE x SET search_path = y",
        "ALTER SYSTEM SET x = 1",
        "ALTER TABLE\tx OWNER TO y; DROP TABLE z",
        "COPY public.t (a) FROM PROGRAM 'id'",
        "COPY public.t FROM '/etc/passwd'",
        "COPY public.t (a) TO stdout",
        "COPY (SELECT 1) TO PROGRAM 'id'",
        "CREATE ROLE x",
        "CREATE DATABASE x",
        "CREATE EXTENSION dblink",
        "CREATE EXTENSION IF NOT EXISTS plpython3u WITH SCHEMA public CASCADE",
        "CREATE EVENT TRIGGER x ON ddl_command_start EXECUTE FUNCTION f()",
        "CREATE SUBSCRIPTION x CONNECTION 'host=y' PUBLICATION z",
        "CREATE SERVER x FOREIGN DATA WRAPPER y",
        "CREATE FOREIGN TABLE x (a int) SERVER y",
        "DO $$ BEGIN PERFORM 1; END $$",
        "CALL f()",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "RESET ROLE",
        "SET standard_conforming_strings = off",
        "SET search_path = x",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_catalog.set_config('role', 'postgres', false)",
        "SELECT lo_import('/etc/passwd')",
        "DROP TABLE x",
        "TRUNCATE x",
        "DELETE FROM x",
        "LOAD 'x'",
        "BEGIN",
        "VACUUM",
        "NOTIFY imbus",
    ],
)
def test_what_pg_dump_does_not_write_is_refused(statement: str) -> None:
    with pytest.raises(Refused, match="ArchiveUnsafe"):
        judge(statement)


@pytest.mark.parametrize(
    ("statement", "verdict"),
    [
        ("ALTER TABLE public.x OWNER TO odoo", "Skip"),
        ('ALTER FUNCTION public.f(a integer) OWNER TO "od oo"', "Skip"),
        ("GRANT ALL ON SCHEMA public TO odoo", "Skip"),
        ("ALTER DEFAULT PRIVILEGES FOR ROLE x GRANT SELECT ON TABLES TO y", "Skip"),
        ("CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public", "Skip"),
        ("COMMENT ON EXTENSION pg_trgm IS 'text'", "Skip"),
        ("SET transaction_timeout = 0", "Skip"),
        ('COPY public.x (a, "b") FROM stdin', "Copy"),
        ("ALTER TABLE ONLY public.x ADD CONSTRAINT y PRIMARY KEY (id)", "Run"),
        ("SELECT pg_catalog.set_config('search_path', '', false)", "Run"),
        ("INSERT INTO public.x VALUES\n\t(1, 'a'),\n\t(2, 'b')", "Run"),
        ("SELECT pg_catalog.setval('public.x_id_seq', 7, true)", "Run"),
    ],
)
def test_what_pg_dump_writes_is_run_or_passed_by(statement: str, verdict: str) -> None:
    assert judge(statement) == verdict


def test_the_extension_is_named() -> None:
    assert extension_of("CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public") == "pg_trgm"
    assert extension_of("CREATE TABLE x ()") is None
