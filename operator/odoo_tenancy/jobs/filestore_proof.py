"""Whether the files of a stored filestore have the SHA-1 that their names say, read from the store.

Odoo names a file by the SHA-1 of its content, ``ab/ab12…`` (odoo/addons/base/models/ir_attachment.py). Few files are
restored to a scratch folder; many come as one tar through a pipe, of which nothing is kept.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.jobs.proven import ProvenSnapshot, ProvenSnapshots
from odoo_tenancy.services.restic import Repository, Snapshot

NAME: Final = re.compile(r"[0-9a-f]{2,3}/[0-9a-f]{40}")
"""Of a file with content: not of ``checklist/``, where the garbage collector keeps its marks."""
_CHUNK: Final = 1 << 20
_FEW: Final = 4000
_FEW_SHARE: Final = 0.25
"""Of the bytes: up to here single files are restored, beyond it a tar of all is read. A guess, not measured."""


@dataclass
class FilestoreProof:
    """What the snapshots hold together."""

    good: set[str] = field(default_factory=set)
    """Names whose content has that SHA-1 in one of the snapshots."""
    bad: set[str] = field(default_factory=set)
    """Names whose content hasn't in one of them."""
    known: ProvenSnapshots = field(default_factory=ProvenSnapshots)
    """What is known from now on."""
    files_read: int = 0
    bytes_read: int = 0

    def check(self, names: Collection[str]) -> None:
        """All of these, which the database names, are there as they should be.

        Raises:
            Refused: ``FileChanged`` or ``FileMissing``.
        """
        changed = sorted(name for name in names if name in self.bad and name not in self.good)
        if changed:
            raise Refused(
                "FileChanged",
                f"{_some(changed)} of the filestore: the content hasn't the SHA-1 that the name says. It was damaged "
                "before it was backed up: compare with the living file, and restore it from an earlier backup.",
            )
        if missing := sorted(name for name in names if name not in self.good):
            raise Refused(
                "FileMissing",
                f"{_some(missing)}: the database names it, and no snapshot of the filestore has it. If the living Odoo "
                "lacks it too, it was lost before; else back up again.",
            )


async def prove(
    repository: Repository,
    snapshots: Sequence[Snapshot],
    known: ProvenSnapshots,
    there: frozenset[str],
    scratch: Path,
) -> FilestoreProof:
    """Read what isn't known yet.

    Args:
        snapshots: of the filestore.
        known: from before.
        there: ids of all of the repository's snapshots.
        scratch: an existing folder with room for a quarter of the filestore.

    Raises:
        Refused: ``FilestoreUnreadable``: restic gave less than it lists; and what a repository raises.
    """
    proof = FilestoreProof(known=known)
    for snapshot in snapshots:
        sizes = await _sizes(repository, snapshot)
        bad = await _bad_of(repository, snapshot, sizes, proof, there, scratch)
        proof.good |= sizes.keys() - bad
        proof.bad |= bad
        entry = ProvenSnapshot(
            id=snapshot.id, folder=snapshot.paths[0], time=snapshot.time, bad=tuple(sorted(bad))
        )
        if proof.known.of(snapshot.id) != entry:
            proof.known = proof.known.with_snapshot(entry, there)
    return proof


async def _sizes(repository: Repository, snapshot: Snapshot) -> dict[str, int]:
    """Bytes of each file with content, by the name that the database has for it."""
    above = snapshot.paths[0].rstrip("/") + "/"
    sizes = {}
    async for file in repository.list_files(snapshot.id):
        name = file.path.removeprefix(above)
        if NAME.fullmatch(name):
            sizes[name] = file.size
    return sizes


async def _bad_of(
    repository: Repository,
    snapshot: Snapshot,
    sizes: dict[str, int],
    proof: FilestoreProof,
    there: frozenset[str],
    scratch: Path,
) -> set[str]:
    unread, bad = set(sizes), set[str]()
    if base := proof.known.of(snapshot.id) or proof.known.nearest(snapshot, there):
        changed = await _changed(repository, base, snapshot)
        unread &= changed
        bad = set(base.bad) & sizes.keys() - changed
    size = sum(sizes[name] for name in unread)
    if not unread:
        return bad
    if len(unread) <= _FEW and size <= _FEW_SHARE * sum(sizes.values()):
        read, wrong = await _read_few(repository, snapshot, unread, scratch)
    else:
        read, wrong = await _read_all(repository, snapshot, unread)
    if lacking := unread - read:
        raise Refused(
            "FilestoreUnreadable",
            f"{_some(sorted(lacking))}: restic lists it in snapshot {snapshot.id[:12]} and didn't give it.",
        )
    proof.files_read += len(unread)
    proof.bytes_read += size
    return bad | wrong


async def _changed(repository: Repository, base: ProvenSnapshot, snapshot: Snapshot) -> set[str]:
    """Names that are new, or whose contents differ by restic's own ids."""
    if base.id == snapshot.id:
        return set()
    changes = repository.changes(f"{base.id}:{base.folder}", f"{snapshot.id}:{snapshot.paths[0]}")
    return {change.path.removeprefix("/") async for change in changes}


async def _read_few(
    repository: Repository, snapshot: Snapshot, names: set[str], scratch: Path
) -> tuple[set[str], set[str]]:
    folder = Path(tempfile.mkdtemp(prefix="files-", dir=scratch))
    try:
        include = [f"/{name}" for name in sorted(names)]
        await repository.restore(snapshot.id, folder, include, folder=snapshot.paths[0])
        return await asyncio.to_thread(_hash_folder, folder, names)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _read_all(repository: Repository, snapshot: Snapshot, names: set[str]) -> tuple[set[str], set[str]]:
    out, into = os.pipe()
    fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, _CHUNK)

    async def write() -> None:
        try:
            await repository.dump_into(f"{snapshot.id}:{snapshot.paths[0]}", "/", into)
        finally:
            os.close(into)

    wrote, hashed = await asyncio.gather(
        write(), asyncio.to_thread(_hash_tar, out, names), return_exceptions=True
    )
    # restic's own failure says more than that its stream was cut.
    for each in (wrote, hashed):
        if isinstance(each, BaseException):
            raise each
    assert isinstance(hashed, tuple)
    return hashed


def _hash_folder(folder: Path, names: Iterable[str]) -> tuple[set[str], set[str]]:
    read, wrong = set[str](), set[str]()
    for name in names:
        try:
            with (folder / name).open("rb") as file:
                if not has_its_name(file, name):
                    wrong.add(name)
        except FileNotFoundError:
            continue
        read.add(name)
    return read, wrong


def _hash_tar(descriptor: int, names: set[str]) -> tuple[set[str], set[str]]:
    read, wrong = set[str](), set[str]()
    with os.fdopen(descriptor, "rb", buffering=_CHUNK) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|", bufsize=_CHUNK) as archive:
                while (member := archive.next()) is not None:
                    # It would keep all that it saw.
                    archive.members.clear()  # type: ignore[attr-defined]
                    content = archive.extractfile(member) if member.name in names else None
                    if content is None:
                        continue
                    read.add(member.name)
                    if not has_its_name(content, member.name):
                        wrong.add(member.name)
        finally:
            # A writer is never left with a full pipe.
            while stream.read(_CHUNK):
                pass
    return read, wrong


def has_its_name(content: IO[bytes], name: str) -> bool:
    """Whether the content has the SHA-1 that the last part of the name says."""
    digest = hashlib.sha1(usedforsecurity=False)
    while chunk := content.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest() == name.rpartition("/")[2]


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{len(names)} files ({shown}, …)"
