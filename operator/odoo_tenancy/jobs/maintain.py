"""Maintain one repository: forget what isn't kept, remove its data, make locks last: ``python -m
odoo_tenancy.jobs.maintain``.

Runs in the operator's namespace, while no other Job is at work in the repository. Killed at any point it goes on the next
time: snapshots go first, then the record of what is gone is written, then manifests go; what no snapshot needs any more
is found anew by each run. What is kept is never touched but for locks that become longer.

Exit status: 0 only if all was done; the outcome is in the termination message.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from pydantic import ValidationError

from odoo_tenancy.api.errors import OperatorError, Refused
from odoo_tenancy.api.maintain_work import ForgottenBackups, MaintainOutcome, MaintainWork
from odoo_tenancy.api.observe import WriteHook
from odoo_tenancy.api.work import DONE
from odoo_tenancy.jobs.entry import run_job
from odoo_tenancy.jobs.lasting_locks import extend_locks, extend_manifests, is_needed
from odoo_tenancy.jobs.report import ProgressLines, timed
from odoo_tenancy.jobs.retention import StoredSet, staying
from odoo_tenancy.jobs.stale_locks import locked_by, remove_stale_locks
from odoo_tenancy.jobs.stored_sets import StoredSets, read_sets
from odoo_tenancy.services.object_store import Bucket, BucketAddress, Clocks, StoredObject
from odoo_tenancy.services.object_store.holds import Holds
from odoo_tenancy.services.restic import Repository, Snapshot

_SHOWN = 5
_TOLD = 16
"""Names that have room in a termination message; of more the next run tells."""
_AT_ONCE = 500
"""Ids for one restic: they are words of its command line."""
_REMEMBERED = 5000
"""Of backups that are gone; their objects went long before that many more did."""


@dataclass
class Maintenance:
    """One run over one repository."""

    work: MaintainWork
    repository: Repository
    bucket: Bucket
    progress: ProgressLines = field(default_factory=ProgressLines)
    done: MaintainOutcome = field(default_factory=lambda: MaintainOutcome(reason=DONE, message=""))
    seconds: dict[str, float] = field(default_factory=dict)
    _problems: list[OperatorError] = field(default_factory=list)
    _stored: StoredSets | None = None
    """As far as it was read, without what was forgotten since."""

    async def run(self) -> MaintainOutcome:
        """All of it, as far as it goes; with the first problem as its reason."""
        try:
            await self._maintain()
        except OperatorError as error:
            self._problems.append(error)
        return self._outcome()

    def _outcome(self) -> MaintainOutcome:
        done = self.done.model_copy(update={"seconds": self.seconds})
        if not self._problems:
            return done.model_copy(update={"message": self._summary()})
        # That somebody wrote over what was kept says more than that restic can't read it.
        tampered = [each for each in self._problems if each.reason == "RepositoryTampered"]
        first = (tampered or self._problems)[0]
        said = {
            "reason": first.reason,
            "message": " ".join(each.message for each in self._problems),
            "again": not isinstance(first, Refused),
        }
        return done.model_copy(update=said)

    def _summary(self) -> str:
        done = self.done
        return (
            f"{done.kept} backups are kept, {done.forgotten} were forgotten with {done.strays} snapshots of none;"
            f" {done.freed_bytes} bytes were freed, {done.stored_bytes} are left; {done.locks_extended} locks were made"
            " longer."
        )

    async def _maintain(self) -> None:
        clocks = await self.bucket.clock(f"{self.work.repository.path}/")
        before = await self._objects()
        done = (
            await self._attempt("locks", self._remove_locks(clocks.store))
            and await self._attempt("forget", self._forget(clocks))
            and await self._attempt("prune", self.repository.prune())
        )
        after = await self._objects()
        left = sum(each.bytes for each in after)
        self._found(freed_bytes=max(0, sum(each.bytes for each in before) - left), stored_bytes=left)
        packs = await self._packs(after)
        if done:
            self._check_removed(after, packs)
        if self.work.immutability is not None:
            await self._attempt("extend", self._extend(after, packs, clocks.store))
            await self._attempt("manifests", self._extend_manifests(clocks.store))

    async def _remove_locks(self, now: datetime) -> None:
        """
        Raises:
            RepositoryLocked: somebody is at work there.
        """
        work = self.work
        found = await remove_stale_locks(
            self.repository, self.bucket, work.pods_alive, work.pod_prefixes, now
        )
        self._found(locks_removed=found.removed)
        if found.living:
            raise locked_by(found.living[0], work.repository.path)

    async def _extend(self, objects: Sequence[StoredObject], packs: frozenset[str], now: datetime) -> None:
        extended = await extend_locks(self.bucket, self.work, objects, packs, now)
        self._found(locks_extended=self.done.locks_extended + extended)

    async def _extend_manifests(self, now: datetime) -> None:
        # Nothing was forgotten where somebody is at work.
        stored = self._stored if self._stored is not None else await self._read_sets(await self._record(), ())
        extended = await extend_manifests(self.bucket, self.work, stored, now)
        self._found(locks_extended=self.done.locks_extended + extended)

    async def _attempt(self, step: str, work: Coroutine[None, None, None]) -> bool:
        """Whether it came to its end. Whatever keeps it from that, locks are made longer all the same."""
        try:
            with self._step(step):
                await work
        except OperatorError as error:
            self._problems.append(error)
            return False
        return True

    async def _packs(self, objects: Sequence[StoredObject]) -> frozenset[str]:
        """What is needed by the index; where that can't be read, or is not whole, all that is there too: what an index says
        that was taken away would let the locks of packs run out."""
        named = frozenset[str]()
        try:
            named = await self.repository.packs()
        except OperatorError as error:
            self._problems.append(error)
        else:
            if not any(each.reason == "RepositoryDamaged" for each in self._problems):
                return named
        data = f"{self.work.repository.path}/data/"
        return named | {each.key.rpartition("/")[2] for each in objects if each.key.startswith(data)}

    async def _read_sets(self, record: ForgottenBackups, snapshots: Sequence[Snapshot]) -> StoredSets:
        held = await Holds(self.bucket, self.work.prefix, self.work.claim).names()
        self._stored = await read_sets(self.bucket, self.work, snapshots, record.backups, held)
        return self._stored

    async def _forget(self, clocks: Clocks) -> None:
        """Whole backups that need not stay, and snapshots of none."""
        work, now = self.work, min(clocks.store, clocks.ours)
        record = await self._record()
        found = await self._read_sets(record, await self.repository.snapshots())
        begun = {each.name for each in found.sets if _is_half_gone(each, record)}
        kept = staying(found.without(begun).sets, work.keep, now)
        going = [each for each in found.sets if each.name not in kept]
        strays = found.strays(now, timedelta(seconds=work.strays_after_seconds))
        needed = {identifier for each in found.sets if each.name in kept for identifier in each.snapshots}
        doomed = {identifier for each in going for identifier in each.snapshots - each.missing} - needed
        self._say_what_is_wrong(found)
        broken = sorted(each.name for each in found.sets if each.name in kept and self._broke(each))
        self._found(kept=len(found.sets) - len(going) + len(found.changed), broken=tuple(broken[:_TOLD]))
        if going:
            intent = record.model_copy(update={"going": {each.name: each.sha256 for each in going}})
            await self._write(intent)
        remaining = await self._remove(sorted(doomed | strays))
        gone = [each for each in going if not each.snapshots & remaining]
        await self._remember(record, gone)
        self._stored = found.without({each.name for each in gone})
        for each in gone:
            await self.bucket.hide(f"{work.manifests}{each.name}.json")
        self._found(forgotten=len(gone), strays=len(strays - remaining))
        if remaining & (doomed | strays):
            raise self._still_there(len(remaining & (doomed | strays)), "snapshots")

    def _broke(self, each: StoredSet) -> bool:
        """It was good when it was last looked at, and lacks a part."""
        known = self.work.backups.get(each.name)
        return bool(each.missing) and known is not None and known.verified

    async def _remove(self, doomed: Sequence[str]) -> frozenset[str]:
        """Forget snapshots; those that are there all the same: restic ends well also where it could remove none."""
        rest = iter(doomed)
        while some := list(islice(rest, _AT_ONCE)):
            await self.repository.forget(snapshots=some)
        if not doomed:
            return frozenset()
        return frozenset(each.id for each in await self.repository.snapshots())

    async def _record(self) -> ForgottenBackups:
        document = await self.bucket.get_document(self.work.record_key)
        try:
            return ForgottenBackups.model_validate_json(document.content) if document else ForgottenBackups()
        except ValidationError as error:
            raise Refused(
                "RecordUnreadable",
                f"{self.work.record_key}, which says what maintenance removed, is not what maintenance wrote:"
                f" {error.error_count()} errors. Nothing is forgotten. Bring its former version back, or remove it: then"
                " manifests that maintenance removed are told as missing.",
            ) from error

    async def _remember(self, record: ForgottenBackups, gone: Iterable[StoredSet]) -> None:
        """Before manifests go: who finds neither snapshots nor manifest must know that it was on purpose."""
        names = {each.name: each.sha256 for each in gone}
        if not names:
            return
        merged = [*((name, sha) for name, sha in record.backups.items() if name not in names), *names.items()]
        await self._write(ForgottenBackups(backups=dict(merged[-_REMEMBERED:])))

    async def _write(self, record: ForgottenBackups) -> None:
        text = record.model_dump_json(by_alias=True)
        await self.bucket.put_document(self.work.record_key, text.encode())

    def _say_what_is_wrong(self, found: StoredSets) -> None:
        for names, reason, what in (
            (
                found.hidden,
                "ManifestMissing",
                "is gone from the bucket though the operator did not remove it",
            ),
            (found.changed, "ManifestChanged", "is not what the backup wrote, or can't be read"),
        ):
            if names:
                shown = ", ".join(sorted(names)[:_SHOWN])
                self._problems.append(
                    Refused(
                        reason,
                        f"The manifest of {len(names)} backups ({shown}) {what}. They stay as they are, and so do"
                        f" snapshots that no manifest names. Bring {self.work.manifests}<backup>.json back (in a bucket"
                        " with versions the former one is still there); see who wrote there.",
                    )
                )

    def _check_removed(self, objects: Sequence[StoredObject], packs: frozenset[str]) -> None:
        """restic also ends well where the store let it remove no pack."""
        prefix = f"{self.work.repository.path}/data/"
        left = [
            each.key
            for each in objects
            if each.key.startswith(prefix) and each.key.rpartition("/")[2] not in packs
        ]
        if left:
            self._problems.append(self._still_there(len(left), "packs"))

    def _still_there(self, number: int, what: str) -> Refused:
        return Refused(
            "RemovalRefused",
            f"{number} {what} of the repository {self.work.repository.path} had to go and are still there: the store"
            " refuses to delete. Grant the key of the policy's credentialsSecretRef s3:DeleteObject below the prefix; in a"
            " bucket with Object Lock that needs versioning, so that a delete only hides.",
        )

    async def _objects(self) -> list[StoredObject]:
        """Of the repository, but for restic's locks."""
        prefix = f"{self.work.repository.path}/"
        return [each async for each in self.bucket.objects(prefix) if is_needed(each.key, prefix)]

    def _found(self, **figures: object) -> None:
        self.done = self.done.model_copy(update=figures)

    def _step(self, name: str) -> AbstractContextManager[None]:
        return timed(name, self.progress, self.seconds)


def _is_half_gone(each: StoredSet, record: ForgottenBackups) -> bool:
    """A former run was killed while it removed it: what is left of it can't be restored, and nobody else is to blame."""
    return bool(each.missing) and not each.hold and record.going.get(each.name) == each.sha256


async def maintain(
    work: MaintainWork,
    *,
    environment: Mapping[str, str],
    bucket: Bucket,
    cache: Path | None = None,
    hook: WriteHook | None = None,
) -> MaintainOutcome:
    """See above.

    Args:
        work: which repository, and what stays.
        environment: restic's, with the store's credentials.
        bucket: in which it is.
        cache: a directory for what restic reads often.
        hook: called around each of restic's writes.
    """
    repository = Repository(work.repository, environment=environment, cache=cache, hook=hook)
    return await Maintenance(work, repository, bucket).run()


async def run(work: MaintainWork) -> MaintainOutcome:
    """As a Job does it."""
    bucket = Bucket(BucketAddress.of(work.repository.store, os.environ))
    with tempfile.TemporaryDirectory() as cache:
        return await maintain(work, environment=os.environ, bucket=bucket, cache=Path(cache))


if __name__ == "__main__":
    sys.exit(run_job(MaintainWork, run))
