"""A tenant that comes back after the loss of its cluster (``bootstrap.fromRepository``): its claim, the store and a
recovery key are all that is known of it.

Which backup, a Job in the operator's namespace finds in the repository itself; how it is restored is as of any other.
"""

from __future__ import annotations

from pydantic import ValidationError

from odoo_tenancy.api.backup_work import RecoveryPassword
from odoo_tenancy.api.errors import Refused, Waiting
from odoo_tenancy.api.find_work import FindOutcome, FindWork
from odoo_tenancy.api.tenant import CopyOfRepository
from odoo_tenancy.api.types import duration_seconds
from odoo_tenancy.api.work import STORE_CA_FILE, WORK_FILE
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.desired import backup_jobs, names
from odoo_tenancy.desired.backup_jobs import BackupJob, Run
from odoo_tenancy.desired.restore_jobs import Source
from odoo_tenancy.reconcile import backup_run, bootstrap_run
from odoo_tenancy.reconcile.backup_memory import PolicyState
from odoo_tenancy.reconcile.backup_work import repository_of
from odoo_tenancy.reconcile.bootstrap_source import LOOK_AGAIN, Origin, of_another, usable_policy
from odoo_tenancy.reconcile.credentials import Beginning
from odoo_tenancy.reconcile.look import Look
from odoo_tenancy.services.restic import derived_password

_FOLDER = WORK_FILE.rpartition("/")[0]


async def find(look: Look, asked: CopyOfRepository) -> Beginning:
    """Which backup. It stays the choice from then on: ``latest`` is another one tomorrow.

    Raises:
        Refused: there is none, and why.
        Waiting: the Job runs.
    """
    namespace = look.tenant.metadata.namespace
    vault = look.world.credentials.known(asked.claim) or await look.world.credentials.read(asked.claim)
    if vault is not None and not vault.owner.startswith(f"{namespace}/"):
        raise of_another("spec.bootstrap.fromRepository names", namespace)
    made = _job(look, asked)

    async def build() -> BackupJob:
        return made

    ref = ObjectRef.of(made.job)
    said = await bootstrap_run.words(look, ref, build)
    try:
        found = FindOutcome.model_validate_json(said)
    except ValidationError as error:
        child = look.world.children.get(ref)
        if child is not None:
            await backup_run.clear_away(look.world, child)
        raise Waiting("Restoring", f"What {ref} found is lost with its pod: it looks again.", 1.0) from error
    if found.namespace != namespace:
        raise of_another("spec.bootstrap.fromRepository names", namespace)
    await look.world.events.publish(look.manifest, "Normal", "BackupFound", found.message)
    return Beginning(found.backup, manifest_sha256=found.manifest_sha256, recovery_key=found.recovery_key)


def origin(look: Look, asked: CopyOfRepository, found: Beginning) -> Origin:
    """All that its restore needs.

    Raises:
        OperatorError: the policy can't be used, or has lost the recovery key.
    """
    policy, path = _policy(look, asked), _path(look, asked)
    assert policy.store is not None
    key = next((key for id_, key in policy.recovery_keys if id_ == found.recovery_key), None)
    if key is None:
        raise _no_key(asked, found.recovery_key)
    prefix = path.rpartition("/")[0]
    source = Source(
        backup=found.source,
        repository=repository_of(policy.policy, policy.store, path),
        password=derived_password(key, path),
        manifest_key=f"{prefix}/manifests/{found.source}.json",
        manifest_sha256=found.manifest_sha256,
        store_ca=policy.store.ca,
        store_peers=policy.store.peers,
    )
    return Origin(source, policy, asked.claim, prefix)


def _job(look: Look, asked: CopyOfRepository) -> BackupJob:
    policy, path = _policy(look, asked), _path(look, asked)
    assert policy.store is not None
    if not policy.recovery_keys:
        raise _no_key(asked, "")
    passwords = {f"recovery-{id_}": derived_password(key, path) for id_, key in policy.recovery_keys}
    work = FindWork(
        repository=repository_of(policy.policy, policy.store, path),
        claim=asked.claim,
        recovery=tuple(
            RecoveryPassword(id=id_, password_file=f"{_FOLDER}/recovery-{id_}")
            for id_, _ in policy.recovery_keys
        ),
        at=asked.at,
    )
    files = {name: password.encode() for name, password in passwords.items()}
    if policy.store.ca is not None:
        files[STORE_CA_FILE.rpartition("/")[2]] = policy.store.ca.encode()
    run = Run(
        backup="",
        uid=look.context.uid,
        timeout_seconds=int(duration_seconds(policy.policy.spec.timeout)),
        work=work.model_dump_json(by_alias=True),
        files=files,
        environment={
            "AWS_ACCESS_KEY_ID": policy.store.key_id,
            "AWS_SECRET_ACCESS_KEY": policy.store.secret_key,
        },
        peers=policy.store.peers,
        kind="OdooTenant",
        repository=asked.claim,
    )
    return backup_jobs.find(look.context, run)


def _policy(look: Look, asked: CopyOfRepository) -> PolicyState:
    namespace, name = look.tenant.metadata.namespace, asked.policy_ref.name
    return usable_policy(look.world, namespace, name, "which spec.bootstrap.fromRepository names")


def _path(look: Look, asked: CopyOfRepository) -> str:
    return names.repository(_policy(look, asked).policy.spec.store.s3.prefix, asked.claim)


def _no_key(asked: CopyOfRepository, id_: str) -> Refused:
    which = f"recovery key {id_}, which opens" if id_ else "a recovery key, to open"
    return Refused(
        "RepositoryKeyMissing",
        f"BackupPolicy {asked.policy_ref.name} lacks {which} the repository of claim {asked.claim}: add it to its "
        "spec.encryption.recoveryKeys.",
        LOOK_AGAIN,
    )
