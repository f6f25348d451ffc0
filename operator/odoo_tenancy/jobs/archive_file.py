"""An archive that a customer brought, as a file that nobody trusts: an Odoo backup (zip) or a dump in custom format.

Nothing in a zip says where a file goes: what is wanted is picked by its whole name, and written under a name that is made
here, so that no path leads out and no link is made. Sizes are bounded twice, as the archive declares them and as they
come.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Literal

from odoo_tenancy.api.errors import Refused

Kind = Literal["OdooBackup", "CustomDump"]

_DUMP: Final = "dump.sql"
_MANIFEST: Final = "manifest.json"
_FILE: Final = re.compile(r"filestore/((?:[0-9a-f]{2,3})/([0-9a-f]{40}))")
_MARKS: Final = re.compile(r"filestore/checklist(?:/.*)?")
"""Of Odoo's garbage collector; nothing that is needed."""
_LARGEST_MANIFEST: Final = 4 << 20
_MOST_ENTRIES: Final = 500_000
"""Each takes about 600 bytes of memory."""
_LARGEST_DIRECTORY: Final = 128 << 20
"""Bytes of the zip's table of contents, which is read as a whole."""
_CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class ArchivedFiles:
    """What was unpacked."""

    files: int
    bytes: int


def kind_of(archive: Path) -> Kind:
    """By its first bytes.

    Raises:
        Refused: ``ArchiveUnknown``.
    """
    with archive.open("rb") as file:
        begin = file.read(5)
    if begin == b"PGDMP":
        return "CustomDump"
    if begin[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "OdooBackup"
    raise Refused(
        "ArchiveUnknown",
        "The archive is neither a zip nor a dump in pg_dump's custom format. Use Odoo's own backup with its filestore, or "
        "pg_dump --format=custom.",
    )


class OdooBackup:
    """A zip as Odoo makes it: dump.sql, filestore/, manifest.json (odoo/service/db.py)."""

    def __init__(self, archive: zipfile.ZipFile, largest_database: int, largest_filestore: int) -> None:
        self._archive = archive
        self._largest_filestore = largest_filestore
        self._files: list[tuple[str, zipfile.ZipInfo]] = []
        self._others: dict[str, zipfile.ZipInfo] = {}
        for entry in archive.infolist():
            self._take(entry)
        if _DUMP not in self._others:
            raise Refused("ArchiveUnknown", "The zip has no dump.sql at its top: it is no backup of Odoo.")
        _bounded("database", self._others[_DUMP].file_size, largest_database)
        _bounded("filestore", sum(entry.file_size for _, entry in self._files), largest_filestore)

    def series(self) -> str:
        """Of the Odoo that made it, such as 19.0; empty where it doesn't say.

        Raises:
            Refused: ``ArchiveDamaged``: the manifest isn't JSON.
        """
        entry = self._others.get(_MANIFEST)
        if entry is None:
            return ""
        _bounded("manifest", entry.file_size, _LARGEST_MANIFEST)
        try:
            with self._archive.open(entry) as file:
                said = json.loads(file.read(_LARGEST_MANIFEST + 1))
            return str(said["major_version"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Refused("ArchiveDamaged", "The zip's manifest.json isn't one of Odoo's.") from None

    @contextmanager
    def dump(self) -> Iterator[IO[bytes]]:
        """The script."""
        with _damage(), self._archive.open(self._others[_DUMP]) as file:
            yield file

    def unpack_files(self, folder: Path) -> ArchivedFiles:
        """All files with content, each checked against the SHA-1 that is its name.

        Raises:
            Refused: ``ArchiveDamaged`` or ``ArchiveTooLarge``.
        """
        left = self._largest_filestore
        for name, entry in self._files:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with _damage(), self._archive.open(entry) as file:
                left -= _write(file, target, entry, left)
        return ArchivedFiles(len(self._files), self._largest_filestore - left)

    def _take(self, entry: zipfile.ZipInfo) -> None:
        name, mode = entry.filename, entry.external_attr >> 16
        if name.startswith("/") or "\\" in name or ".." in name.split("/") or "\0" in name:
            raise _unsafe(entry, "a path that leads out of the archive")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _unsafe(entry, "a link or a device")
        if entry.flag_bits & 0x1:
            raise _unsafe(entry, "an encrypted file, which nobody here has the password of")
        if entry.is_dir() or _MARKS.fullmatch(name):
            return
        if found := _FILE.fullmatch(name):
            self._files.append((found[1], entry))
        elif name in (_DUMP, _MANIFEST):
            if name in self._others:
                raise _unsafe(entry, "there twice")
            self._others[name] = entry
        else:
            raise _unsafe(entry, "a file that Odoo's backups don't have")


@contextmanager
def odoo_backup(archive: Path, largest_database: int, largest_filestore: int) -> Iterator[OdooBackup]:
    """Open it; nothing is unpacked yet.

    Args:
        largest_database: bytes of its dump.sql.
        largest_filestore: of all its other files together.

    Raises:
        Refused: ``ArchiveUnsafe``, ``ArchiveDamaged``, ``ArchiveTooLarge`` or ``ArchiveUnknown``.
    """
    _check_directory(archive)
    try:
        opened = zipfile.ZipFile(archive)
    except (zipfile.BadZipFile, struct.error, ValueError, OverflowError, NotImplementedError) as error:
        raise _damaged(error) from error
    with opened:
        yield OdooBackup(opened, largest_database, largest_filestore)


def _write(file: IO[bytes], target: Path, entry: zipfile.ZipInfo, left: int) -> int:
    """Bytes written. An entry that a killed attempt left is written anew."""
    digest = hashlib.sha1(usedforsecurity=False)
    size = 0
    target.unlink(missing_ok=True)
    with target.open("xb") as out:
        while chunk := file.read(_CHUNK):
            size += len(chunk)
            if size > min(entry.file_size, left):
                raise Refused("ArchiveTooLarge", f"{entry.filename} is larger than the archive says.")
            digest.update(chunk)
            out.write(chunk)
    if digest.hexdigest() != target.name:
        target.unlink()
        raise Refused(
            "ArchiveDamaged",
            f"{entry.filename} hasn't the SHA-1 that its name says: it was damaged. Make or upload the archive again.",
        )
    return size


def _check_directory(archive: Path) -> None:
    """zipfile reads the whole table of contents: look at its size first. PKWARE's APPNOTE.TXT, 4.3.14 to 4.3.16."""
    size = archive.stat().st_size
    with archive.open("rb") as file:
        file.seek(max(0, size - (1 << 16) - 22 - 20))
        tail = file.read()
        at = tail.rfind(b"PK\x05\x06")
        if at < 0 or len(tail) < at + 22:
            raise Refused(
                "ArchiveDamaged", "The zip has no table of contents: it is cut off. Upload it again."
            )
        entries, length = struct.unpack_from("<HI", tail, at + 10)
        if at >= 20 and tail[at - 20 : at - 16] == b"PK\x06\x07":
            (where,) = struct.unpack_from("<Q", tail, at - 12)
            file.seek(min(where, size))
            record = file.read(56)
            if record[:4] != b"PK\x06\x06" or len(record) < 56:
                raise Refused("ArchiveDamaged", "The zip's table of contents is damaged: upload it again.")
            entries, length = struct.unpack_from("<QQ", record, 32)
    if entries > _MOST_ENTRIES or length > _LARGEST_DIRECTORY:
        raise Refused("ArchiveTooLarge", f"The zip has {entries} entries, more than {_MOST_ENTRIES}.")


def _bounded(what: str, size: int, most: int) -> None:
    if size > most:
        raise Refused(
            "ArchiveTooLarge",
            f"The archive's {what} has {size} bytes unpacked, and this tenant may have {most}: raise the limit (maxSize, "
            "filestore.size), or shrink it.",
        )


def _unsafe(entry: zipfile.ZipInfo, why: str) -> Refused:
    return Refused(
        "ArchiveUnsafe",
        f"The zip has {entry.filename[:80]!r}: {why}. Nothing was unpacked. Make the archive anew with Odoo's own backup.",
    )


@contextmanager
def _damage() -> Iterator[None]:
    """What zipfile and zlib say of a damaged file in it, as our error."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error) as error:
        raise _damaged(error) from error


def _damaged(error: Exception) -> Refused:
    return Refused("ArchiveDamaged", f"The zip is damaged ({error}): make or upload it again.")
