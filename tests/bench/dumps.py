"""Two databases as ``pg_dump`` writes them, compared row by row and column by column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_COPY = re.compile(r"^COPY (?P<table>\S+) \((?P<columns>.*)\) FROM stdin;$")
_RANDOM = ("\\restrict ", "\\unrestrict ", "--")
"""Lines that say nothing: a key that pg_dump draws for each dump, and comments."""

Row = dict[str, str]


@dataclass(frozen=True)
class Dump:
    """A dump in pg_dump's plain format, with COPY."""

    schema: tuple[str, ...]
    """Everything but the rows: definitions, and the positions of sequences."""
    tables: dict[str, dict[str, Row]]
    """By table: rows by their ``id``, or where there is none by all of their values."""


@dataclass(frozen=True, order=True)
class Difference:
    """A value that is not the same, or a row that only one has."""

    table: str
    column: str
    """Empty for a whole row."""
    row: str
    """Its id or, for a table of keys and values, its key."""
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.table}.{self.column or '*'} of {self.row}: {self.before[:60]} → {self.after[:60]}"


def parse(text: str) -> Dump:
    """Read what ``pg_dump --no-owner --no-privileges`` wrote."""
    schema: list[str] = []
    tables: dict[str, dict[str, Row]] = {}
    lines = iter(text.split("\n"))
    for line in lines:
        if found := _COPY.match(line):
            columns = [column.strip('"') for column in found["columns"].split(", ")]
            tables[found["table"]] = dict(_rows(lines, columns))
        elif line and not line.startswith(_RANDOM):
            schema.append(line)
    return Dump(tuple(schema), tables)


def differences(first: Dump, second: Dump) -> Iterator[Difference]:
    """Everything that differs, in order of tables."""
    for line in sorted(set(first.schema) ^ set(second.schema)):
        sides = (line, "") if line in first.schema else ("", line)
        yield Difference("schema", "", "", *sides)
    for table in sorted({*first.tables, *second.tables}):
        before, after = first.tables.get(table, {}), second.tables.get(table, {})
        for key in sorted({*before, *after}):
            yield from _of_row(table, key, before.get(key), after.get(key))


def _of_row(table: str, key: str, before: Row | None, after: Row | None) -> Iterable[Difference]:
    if before is None or after is None:
        row = before or after or {}
        name = row.get("key", key)
        yield Difference(table, "", name, str(before or "absent"), str(after or "absent"))
        return
    for column, value in before.items():
        if value != after[column]:
            yield Difference(table, column, before.get("key", key), value, after[column])


def _rows(lines: Iterator[str], columns: list[str]) -> Iterator[tuple[str, Row]]:
    for line in lines:
        if line == "\\.":
            return
        row = dict(zip(columns, line.split("\t"), strict=True))
        yield row.get("id", line), row
