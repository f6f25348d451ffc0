"""A script of ``pg_dump``, taken apart into statements and the rows of its COPYs, as it comes and within a bounded memory.

It follows PostgreSQL's rules for strings, identifiers, dollar quotes and comments (PostgreSQL's documentation, "Lexical
Structure"), with ``standard_conforming_strings`` on. psql's own commands are no SQL: those that pg_dump writes are passed
by, every other is refused. A body of ``BEGIN ATOMIC`` is cut at its first semicolon, which the server then refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO, Final

from odoo_tenancy.api.errors import Refused

_CHUNK: Final = 1 << 20
_LONGEST_STATEMENT: Final = 64 << 20
_AHEAD: Final = 256
"""Bytes that are there beyond a token's beginning: a dollar quote's tag has at most 63."""
_TOKEN: Final = re.compile(
    rb"--|/\*|(?<![A-Za-z0-9_$\x80-\xff])[eE]'|'|\"|(?<![A-Za-z0-9_$\x80-\xff])\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$|;|\\"
)
_ESCAPED_END: Final = re.compile(rb"(?:[^'\\]|\\.|'')*'", re.DOTALL)
_PASSED_BY: Final = re.compile(rb"\\(?:un)?restrict [A-Za-z0-9]+\s*")
_COPY: Final = re.compile(
    rb'COPY (?:(?:"(?:[^"]|"")+"|\w+)\.)?(?:"(?:[^"]|"")+"|\w+) ?(?:\([^()]*\) )? ?FROM stdin', re.IGNORECASE
)
_END: Final = b"\n\\.\n"


class SqlScript:
    """Iterate over its statements; after one for which :meth:`is_copy` holds, over :meth:`rows` first.

    Args:
        stream: of the script.
        largest: bytes of all of it; a longer one is refused.
    """

    def __init__(self, stream: IO[bytes], largest: int) -> None:
        self._stream = stream
        self._left = largest
        self._data = b""
        self._at = 0
        """Up to here it was given away."""
        self._over = False

    @staticmethod
    def is_copy(statement: bytes) -> bool:
        """Whether rows follow it."""
        return _COPY.fullmatch(statement) is not None

    def __iter__(self) -> Iterator[bytes]:
        """Statement by statement, without comments before it and the semicolon.

        Raises:
            Refused: ``ArchiveUnsafe``: a command for psql; ``ArchiveDamaged``: the script ends within a statement;
                ``ArchiveTooLarge``.
        """
        while True:
            end = self._end_of_statement()
            if end is None:
                return
            statement = self._data[self._at : end].strip()
            self._at = end + 1
            if statement:
                yield statement

    def rows(self) -> Iterator[bytes]:
        """The rows of a COPY, in pieces of any size."""
        line_end = self._find(b"\n", self._at)
        self._give(line_end)
        while True:
            end = self._data.find(_END, self._at)
            if end >= 0:
                yield self._data[self._at + 1 : end + 1]
                self._give(end + len(_END) - 1)
                return
            keep = max(self._at, len(self._data) - len(_END))
            if keep > self._at:
                yield self._data[self._at + 1 : keep + 1]
                self._give(keep)
            if not self._more():
                raise _cut_off()

    # Where things end. Every place is one in ``_data``; what lies before ``_at`` may be forgotten by ``_more`` alone.

    def _end_of_statement(self) -> int | None:
        """Where its semicolon is; ``None``: there is none left."""
        self._give(self._at)
        at = 0
        while True:
            found = _TOKEN.search(self._data, at)
            if not self._over and (found is None or found.start() + _AHEAD > len(self._data)):
                at = found.start() if found else max(at, len(self._data) - _AHEAD)
                self._more()
                continue
            if found is None:
                if self._data[self._at :].strip():
                    raise _cut_off()
                return None
            token = found[0]
            if token == b";":
                return found.start()
            nothing_before = not self._data[self._at : found.start()].strip()
            at = self._end_of(found, nothing_before)
            if nothing_before and token in (b"--", b"/*", b"\\"):
                self._at = at

    def _end_of(self, found: re.Match[bytes], nothing_before: bool) -> int:
        token, begin = found[0], found.end()
        if token == b"--":
            return self._find(b"\n", begin, or_end=True) + 1
        if token == b"/*":
            return self._end_of_comment(begin)
        if token == b"\\":
            return self._end_of_command(found.start(), nothing_before)
        if token in (b"e'", b"E'"):
            return self._end_of_escaped(begin)
        # A doubled quote begins the next part of the same string: it is just found again.
        return self._find(token, begin) + len(token)

    def _end_of_command(self, begin: int, nothing_before: bool) -> int:
        end = self._find(b"\n", begin, or_end=True)
        line = self._data[begin:end]
        if not nothing_before or not _PASSED_BY.fullmatch(line):
            raise Refused(
                "ArchiveUnsafe",
                f"The dump has a command for psql, {_shown(line)}, which pg_dump doesn't write there. Nothing of it was "
                "run. Make the archive anew with Odoo's own backup, or with pg_dump --format=custom.",
            )
        return end + 1

    def _end_of_comment(self, at: int) -> int:
        depth = 1
        while depth:
            end = self._find(b"*/", at)
            opened = self._data.find(b"/*", at, end)
            depth, at = (depth + 1, opened + 2) if opened >= 0 else (depth - 1, end + 2)
        return at

    def _end_of_escaped(self, begin: int) -> int:
        while (found := _ESCAPED_END.match(self._data, begin)) is None or found.end() == len(self._data):
            if not self._more():
                break
        if found is None:
            raise _cut_off()
        return found.end()

    def _find(self, what: bytes, begin: int, *, or_end: bool = False) -> int:
        while (end := self._data.find(what, begin)) < 0:
            if not self._more():
                if or_end:
                    return len(self._data)
                raise _cut_off()
        return end

    def _give(self, at: int) -> None:
        """What lies before is done with."""
        self._data = self._data[at:]
        self._at = 0

    def _more(self) -> bool:
        """Read on; places stay what they are."""
        if len(self._data) > _LONGEST_STATEMENT + _CHUNK:
            raise Refused(
                "ArchiveTooLarge",
                f"A statement of the dump has more than {_LONGEST_STATEMENT} bytes: it is refused.",
            )
        chunk = self._stream.read(_CHUNK)
        self._left -= len(chunk)
        if self._left < 0:
            raise Refused(
                "ArchiveTooLarge",
                "The dump is larger than this tenant's database may be: raise maxSize, or shrink it.",
            )
        self._over = not chunk
        self._data += chunk
        return bool(chunk)


def _cut_off() -> Refused:
    return Refused("ArchiveDamaged", "The dump ends in the middle: it is cut off. Make or upload it again.")


def _shown(text: bytes) -> str:
    return text[:60].decode("utf-8", "replace")
