"""What a script of ``pg_restore --data-only`` holds: rows of each table, and the files that Odoo's attachments name.

The script comes in chunks of any size and is never held: rows are counted as newlines, which COPY's text format
escapes within values (PostgreSQL's documentation of COPY, "Text Format"), up to the line ``\\.``, which no row can
be, as a backslash within a value is doubled. Only of ``ir_attachment`` are values looked at, and of these only
``store_fname``. Data only, as the body of a function in a full script could look like a COPY.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from odoo_tenancy.api.errors import Refused

ATTACHMENTS: Final = "public.ir_attachment"
STORED_NAME: Final = "store_fname"

_END: Final = b"\n\\.\n"
_NAME: Final = rb'(?:"(?:[^"]|"")+"|[^\s."(]+)'
_HEADER: Final = re.compile(
    rb"COPY (?P<schema>" + _NAME + rb")\.(?P<table>" + _NAME + rb") (?:\((?P<columns>.*)\))? ?FROM stdin;"
)
_COLUMN: Final = re.compile(rb'"(?:[^"]|"")+"|[^\s,"]+')
_LONGEST_HEADER: Final = 1 << 20
"""Bytes; 1,600 columns with names of 63 bytes are a tenth of it."""
_COMPLETE: Final = b"\n-- PostgreSQL database dump complete\n"
_TAIL: Final = 4096
"""Bytes of the script's end in which that line is looked for."""
_ESCAPE: Final = re.compile(rb"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPED: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


@dataclass(frozen=True)
class DumpContents:
    """What a dump holds."""

    row_counts: dict[str, int]
    """Rows of each table, by its name as ``schema.table``."""
    stored_files: frozenset[str]
    """Every ``ir_attachment.store_fname`` that isn't null or empty."""

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(self.row_counts.values())


class ScriptReader:
    """Give it the script in order, then ask for the :meth:`contents`."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._names: set[bytes] = set()
        self._rest = b"\n"
        """Of what lies between tables: from where a COPY may begin."""
        self._table = ""
        """Whose rows are being read; empty: none."""
        self._before = b""
        """The last bytes of these rows, as the line that ends them may be cut in two."""
        self._attachments: _Column | None = None
        self._end = b""

    def feed(self, chunk: bytes) -> None:
        """The next part of the script.

        Raises:
            Refused: ``DumpUnreadable``: a COPY that isn't as PostgreSQL writes them.
        """
        self._end = chunk[-_TAIL:] if len(chunk) >= _TAIL else (self._end + chunk)[-_TAIL:]
        while chunk:
            chunk = self._rows(chunk) if self._table else self._statements(chunk)

    def contents(self) -> DumpContents:
        """After the last part.

        Raises:
            Refused: ``DumpUnreadable``: the script isn't at its end.
        """
        if self._table or _COMPLETE not in self._end:
            where = f" within the rows of {self._table}" if self._table else ""
            raise Refused(
                "DumpUnreadable", f"The dump ends too soon{where}: it is cut off. Restore from another."
            )
        names = frozenset(
            _unescaped(name).decode("utf-8", "surrogateescape") for name in self._names - {b"\\N", b""}
        )
        return DumpContents(dict(self._counts), names)

    def _statements(self, chunk: bytes) -> bytes:
        """Look for the next table; returns what comes after its header."""
        data = self._rest + chunk
        start = data.find(b"\nCOPY ")
        if start < 0:
            self._rest = data[-len(b"\nCOPY") :]
            return b""
        end = data.find(b"\n", start + 1)
        if end < 0:
            if len(data) - start > _LONGEST_HEADER:
                raise _unreadable(data[start + 1 : start + 200])
            self._rest = data[start:]
            return b""
        self._begin(data[start + 1 : end])
        self._rest = b"\n"
        return data[end + 1 :]

    def _begin(self, header: bytes) -> None:
        found = _HEADER.fullmatch(header)
        if found is None:
            raise _unreadable(header[:200])
        self._table = f"{_identifier(found['schema'])}.{_identifier(found['table'])}"
        self._counts.setdefault(self._table, 0)
        self._before = b"\n"
        self._attachments = None
        if self._table == ATTACHMENTS:
            columns = [_identifier(name) for name in _COLUMN.findall(found["columns"] or b"")]
            if STORED_NAME in columns:
                self._attachments = _Column(columns.index(STORED_NAME), self._names)

    def _rows(self, chunk: bytes) -> bytes:
        """Count rows; returns what comes after the table's last."""
        seam = self._before + chunk[: len(_END) - 1]
        cut = seam.find(_END)
        # Where in the chunk the rows end, and where what follows begins.
        end = cut + 1 - len(self._before) if cut >= 0 else chunk.find(_END) + 1
        after = cut + len(_END) - len(self._before) if cut >= 0 else end + len(_END) - 1
        if cut < 0 and end == 0:
            self._take(chunk)
            self._before = (self._before + chunk[1 - len(_END) :])[1 - len(_END) :]
            return b""
        self._take(chunk[: max(end, 0)])
        self._table, self._attachments = "", None
        return chunk[after:]

    def _take(self, rows: bytes) -> None:
        self._counts[self._table] += rows.count(b"\n")
        if self._attachments:
            self._attachments.feed(rows)


class _Column:
    """Collects one column's values, however its rows are cut: of a row that isn't whole only the place is kept, so
    that a file of a gigabyte in the next column costs nothing."""

    def __init__(self, wanted: int, values: set[bytes]) -> None:
        self._wanted = wanted
        self._values = values
        self._at = 0
        """The column in which the last part ended."""
        self._value = b""
        """What is known of the wanted value."""

    def feed(self, rows: bytes) -> None:
        """The next part of the rows."""
        first, *lines = rows.split(b"\n")
        self._continue(first)
        if not lines:
            return
        self._add()
        last, at = lines.pop(), self._wanted
        try:
            self._values.update([line.split(b"\t", at + 1)[at] for line in lines])
        except IndexError:
            raise _too_few_columns() from None
        self._at, self._value = 0, b""
        self._continue(last)

    def _continue(self, part: bytes) -> None:
        wanted = self._wanted - self._at
        fields = part.split(b"\t", wanted + 1) if wanted >= 0 else [b""]
        if 0 <= wanted < len(fields):
            self._value += fields[wanted]
        self._at += len(fields) - 1

    def _add(self) -> None:
        if self._at < self._wanted:
            raise _too_few_columns()
        self._values.add(self._value)


def _too_few_columns() -> Refused:
    return Refused("DumpUnreadable", f"A row of {ATTACHMENTS} in the dump has too few columns.")


def _identifier(name: bytes) -> str:
    text = name.decode("utf-8", "surrogateescape")
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


def _unescaped(value: bytes) -> bytes:
    return _ESCAPE.sub(_unescape, value) if b"\\" in value else value


def _unescape(found: re.Match[bytes]) -> bytes:
    code = found[1]
    if code[:1] == b"x" and len(code) > 1:
        return bytes([int(code[1:], 16)])
    if code.isdigit():
        return bytes([int(code, 8) & 0xFF])
    return _ESCAPED.get(code, code)


def _unreadable(line: bytes) -> Refused:
    text = line.decode("utf-8", "replace")
    return Refused("DumpUnreadable", f"The dump has a COPY that PostgreSQL doesn't write: {text}")
