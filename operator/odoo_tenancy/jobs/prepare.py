"""Make a tenant's repository, or open one that is there: ``python -m odoo_tenancy.jobs.prepare``.

Runs in the operator's namespace, as the only one that makes repositories and adds keys. Afterwards the tenant's key opens
it, and so does the password of every recovery key, and no lock stands there of a Job of ours that is gone. Killed at any
point it goes on where it was.

A repository that none of these passwords opens is a stranger's, and stays as it is.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from odoo_tenancy.api.backup_work import PrepareOutcome, PrepareWork, RecoveryPassword
from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.observe import WriteHook
from odoo_tenancy.jobs.entry import run_job
from odoo_tenancy.jobs.stale_locks import remove_stale_locks
from odoo_tenancy.services.object_store import Bucket, BucketAddress
from odoo_tenancy.services.restic import Repository, RepositoryPasswordWrong

RECOVERY_USER = "recovery"
"""How people find the recovery keys in ``restic key list``; the host is the key's id."""
_TENANT_USER = "tenant"

log = logging.getLogger(__name__)


async def prepare(
    work: PrepareWork,
    *,
    environment: Mapping[str, str],
    bucket: Bucket,
    hook: WriteHook | None = None,
) -> PrepareOutcome:
    """See above.

    Args:
        work: which repository.
        environment: restic's, with the store's credentials.
        bucket: in which it is.
        hook: called around each write.

    Raises:
        Refused: ``ForeignRepository``, ``RepositoryDamaged``.
        OperatorError: of restic and the store.
    """
    # restic makes a bucket that isn't there; this list fails instead.
    remains = await _remains(bucket, work.repository.path)
    repository = Repository(work.repository, environment=environment, hook=hook)
    made = await _open_or_make(repository, work.recovery, bucket, remains)
    removed = 0 if made else await _remove_locks(work, repository, bucket)
    for each in work.recovery:
        if not await _opens(repository, each):
            await repository.add_key(Path(each.password_file), user=RECOVERY_USER, host=each.id)
    ids = tuple(each.id for each in work.recovery)
    return PrepareOutcome(
        reason="Done",
        message=f"The tenant's key and {len(ids)} recovery keys open the repository; {removed} locks of the dead went.",
        made=made,
        locks_removed=removed,
        recovery_keys=ids,
    )


async def _open_or_make(
    repository: Repository, recovery: Sequence[RecoveryPassword], bucket: Bucket, remains: Sequence[str]
) -> bool:
    """Whether it was made."""
    try:
        if await repository.exists():
            return False
    except RepositoryPasswordWrong:
        await _let_the_tenant_in(repository, recovery)
        return False
    await _clear(bucket, repository.place.path, remains)
    await repository.init()
    return True


async def _remove_locks(work: PrepareWork, repository: Repository, bucket: Bucket) -> int:
    """Without it a maintenance that was killed would keep backups waiting until the next one. Who lives is left alone: a
    backup goes on beside all but what removes."""
    clocks = await bucket.clock(f"{work.repository.path}/")
    found = await remove_stale_locks(repository, bucket, work.pods_alive, work.pod_prefixes, clocks.store)
    return found.removed


async def _let_the_tenant_in(repository: Repository, recovery: Sequence[RecoveryPassword]) -> None:
    """The tenant's key was lost, or is a new one: a recovery key proves that the repository is ours."""
    for each in recovery:
        if await _opens(repository, each):
            log.info("the recovery key %s opens the repository: the tenant's key is added", each.id)
            opened = repository.opened_by(Path(each.password_file))
            await opened.add_key(Path(repository.place.password_file), user=_TENANT_USER)
            return
    tried = ", ".join(each.id for each in recovery) or "none is given"
    raise Refused(
        "ForeignRepository",
        f"There is a repository at {repository.place.store.bucket}/{repository.place.path} that neither the tenant's"
        f" key opens nor a recovery key of the policy ({tried}). It stays as it is. Add the recovery key that it was"
        " made with to the policy, or give the policy another prefix.",
    )


async def _opens(repository: Repository, recovery: RecoveryPassword) -> bool:
    try:
        return await repository.opened_by(Path(recovery.password_file)).exists()
    except RepositoryPasswordWrong:
        return False


async def _remains(bucket: Bucket, path: str) -> list[str]:
    """The first keys of what lies at a repository's place."""
    found = []
    async for each in bucket.objects(f"{path}/"):
        found.append(each.key)
        if len(found) == 100:
            break
    return found


async def _clear(bucket: Bucket, path: str, remains: Sequence[str]) -> None:
    """Where restic was killed while it made the repository, it left a key without its config, and would not make it
    again. Nothing was stored yet, so nobody misses that key."""
    others = [key for key in remains if not key.startswith(f"{path}/keys/")]
    if others:
        raise Refused(
            "RepositoryDamaged",
            f"The repository at {bucket.name}/{path} has lost its file 'config', and holds data ({others[0]}). Bring"
            f" its former version back; it is not made anew over what is stored.",
        )
    for key in remains:
        await bucket.hide(key)


async def run(work: PrepareWork) -> PrepareOutcome:
    """As a Job does it."""
    bucket = Bucket(BucketAddress.of(work.repository.store, os.environ))
    return await prepare(work, environment=os.environ, bucket=bucket)


if __name__ == "__main__":
    sys.exit(run_job(PrepareWork, run))
