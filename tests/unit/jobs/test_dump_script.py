"""Rows and names are found whatever the script's chunks are; what isn't whole is refused."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.jobs.dump_script import DumpContents, ScriptReader

HEADER = "--\n-- PostgreSQL database dump\n--\n\\restrict abc\n\nSET statement_timeout = 0;\n\n"
END = "\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n"
SCRIPT = (
    HEADER
    + 'COPY public.users (id, name, "order") FROM stdin;\n1\tada\t\\N\n2\tCOPY public.x (y) FROM stdin;\t\\\\.\n\\.\n\n\n'
    + "COPY public.ir_attachment (id, store_fname, index_content) FROM stdin;\n"
    + "1\taa/aa11\tsome\\ntext\n2\t\\N\t\\N\n3\tbb/b\\\\b\t\n4\taa/aa11\tx\n5\t\tx\n\\.\n\n\n"
    + "COPY public.empty (id) FROM stdin;\n\\.\n\n\n"
    + "COPY public.none  FROM stdin;\n\n\n\\.\n\n\n"
    + 'COPY "Odd.Schema"."a ""table""" (a) FROM stdin;\n1\n\\.\n\n\n'
    + "SELECT pg_catalog.setval('public.users_id_seq', 2, true);\n"
    + END
)
EXPECTED = DumpContents(
    {
        "public.users": 2,
        "public.ir_attachment": 5,
        "public.empty": 0,
        "public.none": 2,
        'Odd.Schema.a "table"': 1,
    },
    frozenset({"aa/aa11", "bb/b\\b"}),
)


def read(chunks: Iterable[bytes]) -> DumpContents:
    reader = ScriptReader()
    for chunk in chunks:
        reader.feed(chunk)
    return reader.contents()


def cut(script: bytes, size: int) -> list[bytes]:
    return [script[at : at + size] for at in range(0, len(script), size)]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 1000, 1 << 20])
def test_chunks_of_any_size_say_the_same(size: int) -> None:
    assert read(cut(SCRIPT.encode(), size)) == EXPECTED


VALUES = st.text(st.sampled_from("ab\\\n\t.N/\r"), max_size=6)


def escaped(value: str | None) -> str:
    if value is None:
        return "\\N"
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


@given(
    rows=st.lists(st.lists(st.none() | VALUES, min_size=3, max_size=3), max_size=8),
    column=st.integers(0, 2),
    size=st.integers(1, 40),
)
def test_every_row_and_every_name_is_found(rows: list[list[str | None]], column: int, size: int) -> None:
    names = ["a", "b", "c"]
    names[column] = "store_fname"
    lines = "".join("\t".join(map(escaped, row)) + "\n" for row in rows)
    copy = f"COPY public.ir_attachment ({', '.join(names)}) FROM stdin;\n{lines}\\.\n"
    found = read(cut(f"{HEADER}{copy}{END}".encode(), size))
    assert found.row_counts == {"public.ir_attachment": len(rows)}
    assert found.stored_files == {row[column] for row in rows if row[column]}


def test_a_script_that_ends_too_soon_is_refused_wherever_it_ends() -> None:
    whole = SCRIPT.encode()
    complete = whole.index(b"-- PostgreSQL database dump complete\n") + len(
        b"-- PostgreSQL database dump complete\n"
    )
    for end in range(0, complete):
        with pytest.raises(Refused, match="DumpUnreadable"):
            read([whole[:end]])


def test_a_copy_that_postgresql_does_not_write_is_refused() -> None:
    with pytest.raises(Refused, match="DumpUnreadable"):
        read([HEADER.encode() + b"COPY public.users FROM PROGRAM 'id';\n"])


def test_a_huge_value_is_not_kept() -> None:
    reader = ScriptReader()
    part = b"x" * (1 << 20)
    tracemalloc.start()
    try:
        reader.feed(b"\nCOPY public.ir_attachment (id, db_datas, store_fname, more) FROM stdin;\n1\t")
        for _ in range(100):
            reader.feed(part)
        reader.feed(b"\taa/bb\t")
        for _ in range(100):
            reader.feed(part)
        reader.feed(b"\n\\.\n" + END.encode())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reader.contents() == DumpContents({"public.ir_attachment": 1}, frozenset({"aa/bb"}))
    assert peak < 10 << 20


@pytest.mark.parametrize("row", [b"1", b""])
def test_a_row_of_too_few_columns_is_refused(row: bytes) -> None:
    with pytest.raises(Refused, match="too few columns"):
        read(
            [b"\nCOPY public.ir_attachment (id, store_fname) FROM stdin;\n" + row + b"\n\\.\n" + END.encode()]
        )
