"""One repository, by everything that is done with it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pydantic_core

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.observe import NoHook, WriteHook
from odoo_tenancy.api.work import RepositoryPlace
from odoo_tenancy.services.restic import place as places
from odoo_tenancy.services.restic.contents import (
    Change,
    Checked,
    Forgotten,
    Keep,
    OnProgress,
    RepositoryKey,
    RepositoryLock,
    Restored,
    Snapshot,
    StoredFile,
    lock_of,
    snapshot_of,
    snapshot_of_summary,
)
from odoo_tenancy.services.restic.errors import CommandFailed, RepositoryMissing, SourceUnreadable
from odoo_tenancy.services.restic.process import Document, Restic, Running

HOST = "odoo"
"""Of every snapshot: restic looks for the one before by it, and a pod's name is new each time."""
PATIENCE = 300.0
"""Seconds for which the store may fail at a stretch before a command is given up."""
_ERRORS_APART = 'exec 2>"$0"; exec "$@"'
_FAILED = 1
_SHOWN = 5


class Repository:
    """A restic repository in a bucket, opened by the password in a file.

    Every method starts restic, which takes about half a second of processor time to open the repository, and raises
    :class:`~odoo_tenancy.api.errors.OperatorError`: of :mod:`odoo_tenancy.services.restic.errors`. A cancelled one
    leaves no process and no lock behind.

    Args:
        place: where it is, and the file with its password.
        environment: all that restic and its commands see, with the store's credentials, and the ``PATH`` to find it by.
        cache: a directory for what restic reads often; ``None``: without.
        hook: called around each write.
        patience: seconds for which the store may fail at a stretch.
    """

    def __init__(
        self,
        place: RepositoryPlace,
        *,
        environment: Mapping[str, str],
        cache: Path | None = None,
        hook: WriteHook | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.place = place
        self._hook: WriteHook = hook or NoHook()
        self._restic = Restic(
            places.options(place, cache),
            places.environment(environment),
            f"{place.store.bucket}/{place.path}",
            patience,
        )

    def opened_by(self, password_file: Path) -> Repository:
        """The same repository with another password."""
        other = object.__new__(Repository)
        other.place = self.place.model_copy(update={"password_file": str(password_file)})
        other._hook = self._hook
        before, after = self.place.password_file, str(password_file)
        given = self._restic.options
        at = given.index("--password-file") + 1
        assert given[at] == before
        other._restic = replace(self._restic, options=(*given[:at], after, *given[at + 1 :]))
        return other

    # --- The repository itself

    async def exists(self) -> bool:
        """Whether there is one, which our password opens.

        Raises:
            RepositoryPasswordWrong: there is one, and it doesn't.
        """
        try:
            await self._restic.text("cat config", "cat", "config", "--no-lock")
        except RepositoryMissing:
            return False
        return True

    async def init(self) -> None:
        """Make it. One that is there already is left as it is, and is an error.

        restic also makes the bucket where there is none: look before.
        """
        with self._writing("init"):
            await self._restic.documents("init", "init", "--json", "--repository-version", "2")

    async def add_key(self, password: str | Path, *, user: str = "", host: str = "") -> None:
        """One more password that opens it, or the file that it stands in. ``user`` and ``host`` are what people see of
        it."""
        if isinstance(password, Path):
            await self._add_key(password, user, host)
            return
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "password"
            file.touch(0o600)
            file.write_text(password)
            await self._add_key(file, user, host)

    async def _add_key(self, file: Path, user: str, host: str) -> None:
        label = [*(("--user", user) if user else ()), *(("--host", host) if host else ())]
        arguments = ["--new-password-file", str(file), *label, "--retry-lock", places.LOCK_PATIENCE]
        with self._writing("key add"):
            await self._restic.text("key add", "key", "add", *arguments)

    async def keys(self) -> tuple[RepositoryKey, ...]:
        """Who may open it."""
        said = await self._restic.text("key list", "key", "list", "--json", "--no-lock")
        return tuple(
            RepositoryKey(
                each["id"], each["userName"], each["hostName"], each["created"], bool(each["current"])
            )
            for each in pydantic_core.from_json(said)
        )

    # --- Storing

    async def backup_command(
        self,
        command: Sequence[str],
        filename: str,
        tags: Sequence[str],
        environment: Mapping[str, str] | None = None,
        progress: OnProgress | None = None,
    ) -> Snapshot:
        """Store what a command writes to its standard output as ``/<filename>``. No snapshot is made if it fails.

        Args:
            command: its words; none of them secret.
            filename: the one file of the snapshot.
            tags: of the snapshot.
            environment: what the command needs beside the repository's own.
            progress: called every few seconds.

        Raises:
            CommandFailed: it could not be started, or ended with another exit status than 0.
            SourceUnreadable: it wrote nothing.
        """
        with tempfile.TemporaryDirectory() as folder:
            errors = Path(folder) / "errors"
            # restic loses what a command says in its last moment: the end of the one isn't waited for by the other.
            spoken = ["sh", "-c", _ERRORS_APART, str(errors), *command]
            words = ["--stdin-from-command", "--stdin-filename", filename, *_tags(tags), "--", *spoken]
            try:
                return await self._backup(words, tags, (f"/{filename}",), progress, environment)
            except (CommandFailed, SourceUnreadable) as error:
                said = self._restic.words_of(errors, environment)
                raise type(error)(f"{command[0]}: {said or 'it said nothing'}. {error.message}") from error

    async def backup_files(
        self,
        directory: Path,
        tags: Sequence[str],
        *,
        exclude: Sequence[str] = (),
        progress: OnProgress | None = None,
    ) -> Snapshot:
        """Store a directory with everything in it. What is deleted meanwhile may be in it or not.

        Raises:
            SourceUnreadable: the directory isn't there, or something in it could not be read. A snapshot of the rest
                may have been made, which nobody is told of.
        """
        words = [*(f"--exclude={each}" for each in exclude), *_tags(tags), "--", str(directory)]
        return await self._backup(words, tags, (str(directory),), progress, None, changing=True)

    async def _backup(
        self,
        words: Sequence[str],
        tags: Sequence[str],
        paths: tuple[str, ...],
        progress: OnProgress | None,
        environment: Mapping[str, str] | None,
        *,
        changing: bool = False,
    ) -> Snapshot:
        arguments = ["backup", "--json", "--host", HOST, "--retry-lock", places.LOCK_PATIENCE, *words]
        summary: Document | None = None
        vanished = 0
        with self._writing(f"backup {paths[0]}"):
            async with self._restic.running("backup", *arguments, environment=environment) as restic:
                async for document in restic.documents():
                    _tell(progress, document)
                    summary = document if document.get("message_type") == "summary" else summary
                if changing:
                    vanished = await restic.ended_but_for_vanished()
                else:
                    await restic.ended()
        if summary is None or not summary.get("snapshot_id"):
            raise Refused("ResticUnknown", "restic ended well and named no snapshot: use restic 0.18.")
        return replace(snapshot_of_summary(summary, tuple(tags), paths), vanished=vanished)

    # --- Looking and reading

    async def snapshots(self, tags: Sequence[str] = ()) -> tuple[Snapshot, ...]:
        """Those that carry all of the tags, the oldest first."""
        said = await self._restic.text("snapshots", "snapshots", "--json", "--no-lock", *_tags(tags))
        found = [snapshot_of(each) for each in pydantic_core.from_json(said) or ()]
        return tuple(sorted(found, key=lambda snapshot: snapshot.time))

    async def list_files(self, snapshot: str) -> AsyncIterator[StoredFile]:
        """The regular files of a snapshot, as they come. The end of the loop says that these are all."""
        async with self._restic.running("ls", "ls", "--json", "--no-lock", snapshot) as restic:
            async for document in restic.documents():
                if document.get("type") == "file":
                    yield StoredFile(document["path"], int(document.get("size", 0)))
            await restic.ended()

    async def changes(self, before: str, after: str) -> AsyncIterator[Change]:
        """The files of ``after`` that ``before`` hasn't with the same contents, by restic's own ids of these.

        Args:
            before, after: each a snapshot's id, or ``id:/folder``.
        """
        async with self._restic.running("diff", "diff", "--json", "--no-lock", before, after) as restic:
            async for document in restic.documents():
                if document.get("message_type") == "change" and document["modifier"] not in ("-", "U"):
                    yield Change(document["path"], document["modifier"])
            await restic.ended()

    @asynccontextmanager
    async def dump(self, snapshot: str, filename: str) -> AsyncIterator[DumpStream]:
        """The bytes of a file. What was read counts only once the context was left without an error: that is when
        restic's failure shows. Left before the end of the file, it stops restic and tells nothing."""
        async with self._restic.running("dump", "dump", "--no-lock", snapshot, filename) as restic:
            stream = DumpStream(restic)
            yield stream
            if stream.at_end:
                await restic.ended()

    async def dump_into(self, snapshot: str, filename: str, descriptor: int) -> None:
        """The bytes of a file, written by restic itself to a pipe or file of ours; returns when all are written."""
        arguments = ("dump", "--no-lock", snapshot, filename)
        async with self._restic.running("dump", *arguments, stdout=descriptor) as restic:
            await restic.ended()

    async def restore(
        self,
        snapshot: str,
        target: Path,
        include: Sequence[str] = (),
        *,
        folder: str = "",
        missing_only: bool = False,
        progress: OnProgress | None = None,
    ) -> Restored:
        """Write a snapshot's files below ``target``. What is there already as it should be is left.

        Args:
            snapshot: its id.
            target: made where it isn't there.
            include: patterns of what is wanted; empty: everything.
            folder: of the snapshot, whose contents then are right below ``target``.
            missing_only: what is there already is left, whatever it is.
            progress: called every few seconds.
        """
        source = f"{snapshot}:{folder}" if folder else snapshot
        arguments = ["restore", "--json", "--no-lock", source, "--target", str(target)]
        arguments += [
            *(f"--include={each}" for each in include),
            *(("--overwrite=never",) if missing_only else ()),
        ]
        said = await self._restic.documents(
            "restore", *arguments, each=lambda each: _tell_restore(progress, each)
        )
        summary = next((each for each in reversed(said) if each.get("message_type") == "summary"), {})
        number = {key: int(value) for key, value in summary.items() if isinstance(value, int)}
        return Restored(
            number.get("files_restored", 0), number.get("bytes_restored", 0), number.get("files_skipped", 0)
        )

    async def check(self, read_data_percent: float = 0) -> Checked:
        """Whether the repository is whole, with so many percent of its data read, chosen at random; 0: none."""
        share = (
            () if not read_data_percent
            else ("--read-data",) if read_data_percent >= 100
            else (f"--read-data-subset={read_data_percent:g}%",)
        )  # fmt: skip
        async with self._restic.running("check", "check", "--json", "--no-lock", *share) as restic:
            summary = [each async for each in restic.documents() if each.get("message_type") == "summary"]
            if not summary:
                await restic.ended()
                raise Refused("ResticUnknown", "restic check ended without a result: use restic 0.18.")
            code = await restic.ended(_FAILED)
            said = restic.said.summary()
        broken = tuple(summary[-1].get("broken_packs") or ())
        errors = int(summary[-1].get("num_errors") or 0)
        return Checked(
            max(errors, 1) if code else errors, broken, tuple(said.split(" | ")[:_SHOWN]) if code else ()
        )

    async def packs(self) -> frozenset[str]:
        """Ids of the packs that the index names: all that snapshots need, right after a :meth:`prune`."""
        listed = (await self._restic.text("list index", "list", "index", "--no-lock")).split()
        found: set[str] = set()
        for identifier in listed:
            said = await self._restic.text("cat index", "cat", "index", identifier, "--no-lock")
            found |= {each["id"] for each in pydantic_core.from_json(said).get("packs") or ()}
        return frozenset(found)

    # --- Removing

    async def forget(
        self,
        keep: Keep | None = None,
        *,
        snapshots: Sequence[str] = (),
        tags: Sequence[str] = (),
        dry_run: bool = False,
    ) -> Forgotten:
        """Remove snapshots, not yet their data: by rules, over all that carry the tags together, or by their ids."""
        if (keep is None) == (not snapshots):
            raise ValueError("either rules or ids")
        words = list(snapshots) if keep is None else [*_keep(keep), *_tags(tags), "--group-by", ""]
        arguments = ["forget", "--json", "--retry-lock", places.LOCK_PATIENCE, *words]
        with self._writing("forget"):
            said = await self._restic.text("forget", *arguments, *(["--dry-run"] if dry_run else []))
        groups = pydantic_core.from_json(said) if said.startswith("[") else []
        return Forgotten(
            tuple(snapshot_of(each) for group in groups for each in group.get("keep") or ()),
            tuple(snapshot_of(each) for group in groups for each in group.get("remove") or ()),
        )

    async def prune(self, max_unused: str = "5%") -> None:
        """Remove data that no snapshot needs, with an exclusive lock. ``max_unused``: how much may stay."""
        with self._writing("prune"):
            await self._restic.text(
                "prune", "prune", "--max-unused", max_unused, "--retry-lock", places.LOCK_PATIENCE
            )

    async def locks(self) -> tuple[RepositoryLock, ...]:
        """Who is at work in it, or died there; the oldest first."""
        listed = (await self._restic.text("list locks", "list", "locks", "--no-lock")).split()
        found = []
        for identifier in listed:
            said = await self._restic.text("cat lock", "cat", "lock", identifier, "--no-lock")
            found.append(lock_of(identifier, pydantic_core.from_json(said)))
        return tuple(sorted(found, key=lambda lock: lock.time))

    async def unlock(self, identifiers: Sequence[str], delete: Callable[[str], Awaitable[object]]) -> None:
        """Take away these locks and no others, which restic can't: it knows only those that look old, or all.

        Args:
            identifiers: of locks whose holder is proven gone.
            delete: removes an object from the bucket, by its key.
        """
        for identifier in identifiers:
            await delete(f"{self.place.path}/locks/{identifier}")

    def _writing(self, what: str) -> _Announced:
        return _Announced(self._hook, f"restic {what} {self.place.path}")


class DumpStream:
    """The bytes of a file, as restic reads them from the store."""

    def __init__(self, running: Running) -> None:
        assert running.process.stdout is not None
        self._stream = running.process.stdout
        self.at_end = False

    async def read(self, most: int = 1 << 20) -> bytes:
        """The next bytes, at most so many; none: that was all, if restic then ended well."""
        chunk = await self._stream.read(most)
        self.at_end = not chunk
        return chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self.read():
            yield chunk


class _Announced:
    """Tells the hook before, and after a success."""

    def __init__(self, hook: WriteHook, description: str) -> None:
        self._hook, self._description = hook, description

    def __enter__(self) -> None:
        self._hook.before_write(self._description)

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._hook.after_write(self._description)


def _tags(tags: Sequence[str]) -> list[str]:
    return ["--tag", ",".join(tags)] if tags else []


def _keep(keep: Keep) -> list[str]:
    numbers = {
        "last": keep.last, "daily": keep.daily, "weekly": keep.weekly, "monthly": keep.monthly, "yearly": keep.yearly,
    }  # fmt: skip
    return [
        *(f"--keep-{name}={number}" for name, number in numbers.items() if number),
        *([f"--keep-within={keep.within}"] if keep.within else []),
        *(f"--keep-tag={tag}" for tag in keep.tags),
    ]


def _tell(progress: OnProgress | None, document: Document) -> None:
    if progress is not None and document.get("message_type") == "status":
        progress(int(document.get("bytes_done", 0)), int(document.get("total_bytes", 0)))


def _tell_restore(progress: OnProgress | None, document: Document) -> None:
    if progress is not None and document.get("message_type") == "status":
        progress(int(document.get("bytes_restored", 0)), int(document.get("total_bytes", 0)))
