"""Object Lock for as long as something is kept: of everything in a repository that its snapshots need, and of the
manifests, without which nobody knows of a backup."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.maintain_work import LockTerms, MaintainWork
from odoo_tenancy.jobs.stored_sets import StoredSets
from odoo_tenancy.services.object_store import Bucket, Extension, LedgerStore, StoredObject, Wanted, extend

_FOLDERS = ("index", "keys", "snapshots")
"""Of which everything is needed: what isn't, forget and prune have removed."""
_SHOWN = 3
_MARGIN = timedelta(days=1)
"""Longer than a run takes: a bucket policy may refuse a lock that ends before the period has passed from its own now on."""


def is_needed(key: str, prefix: str) -> bool:
    """Whether an object of a repository is more than one of restic's own locks, which must be removable."""
    return not key.startswith(f"{prefix}locks/")


async def extend_locks(
    bucket: Bucket, work: MaintainWork, objects: Iterable[StoredObject], packs: Iterable[str], now: datetime
) -> int:
    """Make the locks last; how many were made longer.

    Args:
        objects: of the repository.
        packs: ids of those that the index names, whether or not they are among the objects.
        now: by the store's clock, which is what locks go by.

    Raises:
        Refused: ``RepositoryTampered``, after all that could be done was done.
        OperatorError: the store refuses to make a lock longer.
    """
    terms, prefix = work.immutability, f"{work.repository.path}/"
    assert terms is not None
    ledgers = LedgerStore(bucket, work.prefix, work.claim)
    needed = _needed(prefix, objects, packs)
    done = await extend(bucket, prefix, needed, await ledgers.load(), _wanted(terms, now), ledgers.save)
    _check(done, prefix)
    return done.extended


async def extend_manifests(bucket: Bucket, work: MaintainWork, found: StoredSets, now: datetime) -> int:
    """The same of the manifests. Of one that can't be believed, or is hidden, it is the version that was locked before.

    Raises:
        Refused: ``RepositoryTampered``, after all that could be done was done.
        OperatorError: the store refuses to make a lock longer.
    """
    terms, prefix = work.immutability, work.manifests
    assert terms is not None
    seen = {f"{prefix}{each.name}.json": each.version for each in found.sets}
    doubtful = {*found.changed, *found.hidden} & work.backups.keys()  # what nobody knows of is anybody's
    needed = {*seen, *(f"{prefix}{name}.json" for name in doubtful)}
    ledgers = LedgerStore(bucket, work.prefix, work.claim, "manifests")
    wanted = _wanted(terms, now)
    done = await extend(bucket, prefix, needed, await ledgers.load(), wanted, ledgers.save, seen)
    _check(done, prefix)
    return done.extended


def _needed(prefix: str, objects: Iterable[StoredObject], packs: Iterable[str]) -> set[str]:
    folders = tuple(f"{prefix}{folder}/" for folder in _FOLDERS)
    found = {each.key for each in objects if each.key.startswith(folders)}
    return found | {f"{prefix}config"} | {f"{prefix}data/{pack[:2]}/{pack}" for pack in packs}


def _wanted(terms: LockTerms, now: datetime) -> Wanted:
    moment = now.replace(microsecond=0)
    until = moment + timedelta(seconds=terms.period_seconds) + _MARGIN
    return Wanted(
        terms.mode, until, moment + timedelta(seconds=min(terms.soon_seconds, terms.period_seconds))
    )


def _check(done: Extension, prefix: str) -> None:
    wrong = {
        "overwritten": done.overwritten,
        "hidden by a delete marker": done.hidden,
        "missing": done.missing,
    }
    said = [
        f"{len(keys)} are {what} ({', '.join(key.removeprefix(prefix) for key in keys[:_SHOWN])})"
        for what, keys in wrong.items()
        if keys
    ]
    if said:
        raise Refused(
            "RepositoryTampered",
            f"Of the objects in {prefix} that kept backups need, {'; '.join(said)}. Neither restic nor the operator did"
            " that. Their former versions are locked: copy the prefix as it was before (docs/security-backups.md), and take"
            " the key away from who did it.",
        )
