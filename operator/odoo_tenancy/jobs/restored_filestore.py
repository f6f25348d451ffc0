"""A stored filestore into a new folder beside the living one, checked while the database is still being restored."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.observe import NoHook, WriteHook
from odoo_tenancy.jobs.filestore_proof import NAME, FilestoreProof, has_its_name
from odoo_tenancy.services.restic import Repository, Snapshot

_UNFINISHED: Final = ".odoo-tenancy-restore"
"""Beside the folder's name: who is filling it."""


@dataclass
class RestoredFiles:
    """What lies in the folder."""

    folder: Path
    bytes: int = 0
    good: set[str] = field(default_factory=set)
    """Names of files whose content has the SHA-1 that they say."""
    bad: set[str] = field(default_factory=set)
    full: bool = False
    """It had files of unknown origin: of an attempt that ended, or somebody else's. They were only looked at."""

    def check(self, names: Collection[str]) -> None:
        """All that the database names is there.

        Raises:
            Refused: ``FileMissing`` or ``FileChanged``; ``FolderNotEmpty`` where the files are somebody else's.
        """
        try:
            FilestoreProof(self.good, self.bad).check(names)
        except Refused as error:
            if not self.full:
                raise
            raise Refused(
                "FolderNotEmpty",
                f"{self.folder} has files, and not those of this backup ({error.reason}): it is left as it is. Name a "
                "folder that nobody uses.",
            ) from error


async def restore_files(
    repository: Repository,
    snapshots: Sequence[Snapshot],
    folder: Path,
    work: str,
    progress: Callable[[int, int], None] | None = None,
    hook: WriteHook | None = None,
) -> RestoredFiles:
    """The newest snapshot, and from the others what it lacks.

    Args:
        snapshots: the oldest first; none: an empty folder.
        folder: new, or of an earlier attempt of this same work, whose files are used.
        work: an id of this restore.
    """
    hook = hook or NoHook()
    if not await asyncio.to_thread(take, folder, work):
        found = await asyncio.to_thread(look, folder)
        found.full = True
        return found
    hook.before_write(f"restore files into {folder.name}")
    for number, snapshot in enumerate(reversed(snapshots)):
        await repository.restore(
            snapshot.id, folder, folder=snapshot.paths[0], missing_only=number > 0, progress=progress
        )
    hook.after_write(f"restore files into {folder.name}")
    return await asyncio.to_thread(look, folder)


def discard(folder: Path) -> None:
    """Remove a folder that :func:`take` gave us, and its mark."""
    if folder.exists():
        shutil.rmtree(folder)
    release(folder)


def release(folder: Path) -> None:
    """It is whole: a later attempt of another restore may not write into it."""
    mark = _mark(folder)
    mark.unlink(missing_ok=True)
    _draft(mark).unlink(missing_ok=True)


def take(folder: Path, work: str) -> bool:
    """Whether it is ours to fill."""
    mark = _mark(folder)
    if not (mark.exists() and mark.read_text(encoding="utf-8") == work):
        if mark.exists() or (folder.is_dir() and any(folder.iterdir())):
            return False
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = _draft(mark)
        draft.write_text(work, encoding="utf-8")
        draft.replace(mark)
    folder.mkdir(exist_ok=True)
    return True


def _mark(folder: Path) -> Path:
    return folder.with_name(f"{_UNFINISHED}-{folder.name}")


def _draft(mark: Path) -> Path:
    """Always the same name, so that what is killed here leaves nothing that nobody finds."""
    return mark.with_name(f"{mark.name}.draft")


def look(folder: Path) -> RestoredFiles:
    """Every file's content against its name, by as many threads as there are processors: hashing lets others run."""
    found = RestoredFiles(folder)
    paths = [Path(entry) for entry in _files(folder)]
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for name, size, good in pool.map(_judge, paths):
            found.bytes += size
            (found.good if good else found.bad).add(name)
    return found


def _files(folder: Path) -> list[str]:
    found = []
    for part in os.scandir(folder):
        if part.is_dir(follow_symlinks=False):
            found += [each.path for each in os.scandir(part.path) if each.is_file(follow_symlinks=False)]
    return [path for path in found if NAME.fullmatch(path[len(str(folder)) + 1 :])]


def _judge(path: Path) -> tuple[str, int, bool]:
    name = f"{path.parent.name}/{path.name}"
    with path.open("rb") as file:
        good = has_its_name(file, name)
        return name, file.tell(), good
