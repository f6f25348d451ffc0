"""Find the backup that a tenant is to come back from, with nothing but the store and a recovery key:
``python -m odoo_tenancy.jobs.find``.

Runs in the operator's namespace, as the only one that opens a repository by what recovery keys make. It writes nothing.

Exit status: 0 only if there is one; the outcome is in the termination message.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.find_work import LATEST, FindOutcome, FindWork
from odoo_tenancy.api.work import DONE
from odoo_tenancy.jobs.entry import run_job
from odoo_tenancy.jobs.recoverable import Contents, contents
from odoo_tenancy.services.object_store import Bucket, BucketAddress
from odoo_tenancy.services.object_store.catalogue import StoredManifest
from odoo_tenancy.services.restic import Repository, RepositoryPasswordWrong

_SHOWN = 5


async def find(work: FindWork, *, environment: Mapping[str, str], bucket: Bucket) -> FindOutcome:
    """See above.

    Args:
        environment: restic's, with the store's credentials.

    Raises:
        Refused: ``ClaimNotFound``, ``RepositoryDamaged``, ``RecoveryKeyWrong``, ``MomentInvalid``, and those of
            :func:`choose`.
        OperatorError: of restic and the store.
    """
    moment = _moment(work.at)
    repository, recovery_key = await _opened(
        work, Repository(work.repository, environment=environment), bucket
    )
    found = await contents(bucket, repository)
    chosen = choose(found, moment, f"{bucket.name}/{work.repository.path}")
    manifest = chosen.manifest
    passed_by = [each.manifest.backup for each in found.damaged if _is_between(each, chosen, moment)]
    more = (
        f" Newer, but without all of their snapshots: {', '.join(passed_by[:_SHOWN])}." if passed_by else ""
    )
    return FindOutcome(
        reason=DONE,
        message=f"Backup {manifest.backup} of OdooTenant {manifest.namespace}/{manifest.tenant} is as of {_said(chosen)}."
        + more,
        backup=manifest.backup,
        namespace=manifest.namespace,
        manifest_sha256=chosen.sha256,
        recovery_point=manifest.recovery_point,
        recovery_key=recovery_key,
    )


def choose(found: Contents, moment: datetime | None, where: str) -> StoredManifest:
    """The newest whole backup until the moment.

    Args:
        moment: to the second, as a status says it; ``None``: the newest of all.
        where: of the repository, for messages.

    Raises:
        Refused: ``NoBackup``, ``NothingBefore``; ``ManifestUnreadable`` where one that can't be read may be newer than it.
    """
    until = [each for each in found.whole if moment is None or _second(each) <= moment]
    newest = until[0] if until else None
    # What was written no later than a backup's recovery point is of an older one.
    hidden = [
        each for each in found.unreadable if newest is None or each.modified > newest.manifest.recovery_point
    ]
    if hidden and (newest is None or _second(newest) != moment):
        names = ", ".join(each.key for each in hidden[:_SHOWN])
        instead = (
            f", or set at to {_second(newest):%Y-%m-%dT%H:%M:%SZ} for the newest that can" if newest else ""
        )
        raise Refused(
            "ManifestUnreadable",
            f"{len(hidden)} manifests of {where} can't be read, or are of another repository ({names}), and one of them may"
            " be the newest. Bring their former versions back (in a bucket with versions they are still there), or remove"
            f" them{instead}.",
        )
    if newest is not None:
        return newest
    if not found.whole:
        raise Refused(
            "NoBackup",
            f"{where} holds no backup with all of its snapshots ({len(found.damaged)} without): compare the claim with the"
            " one in the last status of the tenant, or bring the bucket back as it was at a moment.",
        )
    raise Refused(
        "NothingBefore",
        f"{where} holds no backup as of {moment:%Y-%m-%d %H:%M:%S} UTC or before: the oldest is as of"
        f" {_said(found.whole[-1])}. Choose that moment or a later one.",
    )


async def _opened(work: FindWork, repository: Repository, bucket: Bucket) -> tuple[Repository, str]:
    """By which recovery key."""
    where = f"{bucket.name}/{work.repository.path}"
    tried = ", ".join(each.id for each in work.recovery)
    for each in work.recovery:
        opened = repository.opened_by(Path(each.password_file))
        try:
            if await opened.exists():
                return opened, each.id
        except RepositoryPasswordWrong:
            continue
        break
    else:
        raise Refused(
            "RecoveryKeyWrong",
            f"None of the recovery keys of the BackupPolicy ({tried}) opens the repository {where}: add the one that it was"
            " made with (the manifests beside it name its id), byte for byte; and the prefix must be the one of then.",
        )
    async for _ in bucket.objects(f"{work.repository.path}/"):
        raise Refused(
            "RepositoryDamaged",
            f"The repository {where} has lost its file 'config': bring its former version back.",
        )
    raise Refused(
        "ClaimNotFound",
        f"There is no repository {where}: see which claims there are (docs/recovery.md, step 2), and whether endpoint,"
        " bucket and prefix of the BackupPolicy are the ones of then.",
    )


def _moment(at: str) -> datetime | None:
    """Without what is less than a second, as a TenantBackup says its recovery point."""
    if at == LATEST:
        return None
    try:
        return datetime.fromisoformat(at).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError) as error:
        raise Refused("MomentInvalid", f"{at} (at) is no moment of the calendar: {error}.") from error


def _second(each: StoredManifest) -> datetime:
    return each.manifest.recovery_point.astimezone(UTC).replace(microsecond=0)


def _said(each: StoredManifest) -> str:
    return f"{_second(each):%Y-%m-%d %H:%M:%S} UTC"


def _is_between(each: StoredManifest, chosen: StoredManifest, moment: datetime | None) -> bool:
    """Whether it would have been the one."""
    newer = each.manifest.recovery_point > chosen.manifest.recovery_point
    return newer and (moment is None or _second(each) <= moment)


async def run(work: FindWork) -> FindOutcome:
    """As a Job does it."""
    bucket = Bucket(BucketAddress.of(work.repository.store, os.environ))
    return await find(work, environment=os.environ, bucket=bucket)


if __name__ == "__main__":
    sys.exit(run_job(FindWork, run))
