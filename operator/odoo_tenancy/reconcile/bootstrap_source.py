"""Where a new tenant's data comes from: which backup, in which store, and by which password it is opened.

A backup says of itself only where its manifest is. Whose repository that is, the vault of its claim says: a status that
somebody wrote by hand opens nobody's backups but those of its own namespace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from pydantic import ValidationError

from odoo_tenancy.api.backup import TenantBackup
from odoo_tenancy.api.errors import Refused, Waiting
from odoo_tenancy.api.manifest import BackupManifest
from odoo_tenancy.api.meta import API_VERSION, Key, Manifest
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.api.types import duration_seconds
from odoo_tenancy.cluster.failures import Conflict
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.desired import names
from odoo_tenancy.desired.restore_jobs import Source
from odoo_tenancy.reconcile import tenant_login
from odoo_tenancy.reconcile.backup_begin import check_not_maintained
from odoo_tenancy.reconcile.backup_health import rpo_of
from odoo_tenancy.reconcile.backup_memory import BackupRecord, PolicyState
from odoo_tenancy.reconcile.backup_policy import address_of
from odoo_tenancy.reconcile.backup_work import repository_of
from odoo_tenancy.reconcile.look import Look
from odoo_tenancy.reconcile.world import World
from odoo_tenancy.services.object_store import Credentials, DocumentUnusable, assume_role
from odoo_tenancy.services.restic import derived_password

LOOK_AGAIN = 30.0
"""Seconds until what is missing is looked for again."""
_SOON = 10.0
"""The same of a backup that is being made."""
_MARGIN = timedelta(minutes=15)
"""For which a session outlives the Job that it was made for."""
_MANIFESTS = "manifests"


@dataclass(frozen=True, slots=True)
class Origin:
    """A backup that can be restored, with all that a Job needs for it but credentials of the store."""

    source: Source
    policy: PolicyState
    claim: str
    """Of the tenant that was backed up."""
    prefix: str
    """Below which all of that tenant's is in the bucket."""
    login: Credentials | None = field(default=None, repr=False)
    """Of that tenant's Jobs, where its policy says that it has one of its own."""

    @property
    def timeout_seconds(self) -> int:
        """As for a backup."""
        return int(duration_seconds(self.policy.policy.spec.timeout))

    async def credentials(self) -> Mapping[str, str]:
        """What a Job may read the repository by: the policy's own, that tenant's own, or a session that can't write.

        Raises:
            Refused: ``SecretMissing``: it should have one of its own, and nobody knows which.
            OperatorError: the store gives no session.
        """
        if self.login is not None:
            return self.login.environment
        assert self.policy.store is not None
        s3, address = self.policy.policy.spec.store.s3, address_of(self.policy.policy, self.policy.store)
        if s3.access == "Static":
            return address.credentials.environment
        if s3.access == "PerTenantSecret":
            raise Refused(
                "SecretMissing",
                f"BackupPolicy {self.policy.policy.metadata.name} has access PerTenantSecret, and nobody knows whose "
                f"Secret opens {self.prefix}: name a policy of the same store whose access is Static or AssumeRole.",
                LOOK_AGAIN,
            )
        lasts = timedelta(seconds=self.timeout_seconds) + _MARGIN
        name = f"odoo-{self.claim[:16]}"
        session = await assume_role(address, s3.role_arn or "", self.prefix, "Read", lasts, name)
        return session.environment


async def chosen_of_tenant(look: Look, original: str) -> str:
    """The newest backup of a living tenant that was verified and is as recent as ``objectives.rpo`` promises of it; else a
    new one is made first.

    Raises:
        Refused: ``TenantNotFound``, ``NoPolicy``, ``BackupUnusable``.
        Waiting: ``MakingBackup``.
    """
    world, namespace = look.world, look.tenant.metadata.namespace
    manifest = await world.cluster.get(ObjectRef(API_VERSION, "OdooTenant", namespace, original))
    if manifest is None:
        raise Refused(
            "TenantNotFound",
            f"There is no OdooTenant {namespace}/{original} (spec.bootstrap.fromTenant). Without it, start from one of its "
            "backups: a new OdooTenant with bootstrap.fromBackup.",
            LOOK_AGAIN,
        )
    tenant = OdooTenant.parse(manifest)
    newest = newest_good(world, tenant)
    if newest is not None:
        return newest.key.name
    if tenant.spec.backup is None:
        raise Refused(
            "NoPolicy",
            f"OdooTenant {original} isn't backed up, and a copy is made of a backup: set its spec.backup.policyRef.",
            LOOK_AGAIN,
        )
    name = names.first_backup(original, look.context.claim)
    key = Key("TenantBackup", namespace, name)
    record = world.backups.get(key)
    if record is None:
        await _make(world, key, tenant)
        raise Waiting("MakingBackup", f"TenantBackup {name} of OdooTenant {original} is made first.", _SOON)
    check_usable(record, key)
    return name


def newest_good(world: World, tenant: OdooTenant) -> BackupRecord | None:
    """A tenant's own newest backup that counts, if it is no older than its ``objectives.rpo``: none of a former tenant of
    its name."""
    now = world.now()
    since = now - rpo_of(tenant)
    good = [
        (record.recovery_point, record)
        for record in world.backups.of_tenant(tenant.key)
        if record.counts(now) and record.claim == tenant.status.claim
        if record.recovery_point is not None and record.recovery_point >= since
    ]
    return max(good, key=lambda each: each[0], default=(None, None))[1]


async def _make(world: World, key: Key, tenant: OdooTenant) -> None:
    body: Manifest = {
        "apiVersion": API_VERSION,
        "kind": key.kind,
        "metadata": {"name": key.name, "namespace": key.namespace},
        "spec": {"tenantRef": {"name": tenant.metadata.name}, "reason": "OnDemand"},
    }
    try:
        made = world.backups.saw("ADDED", await world.cluster.create(body))
    except Conflict as error:
        if error.reason != "AlreadyExists":
            raise
        return  # made before a restart, and the watch will tell
    if made is not None:
        world.enqueue(made)


def check_usable(record: BackupRecord | None, key: Key) -> None:
    """Whether it may be restored.

    Raises:
        Refused: ``BackupNotFound``, ``BackupUnusable``.
        Waiting: ``MakingBackup``.
    """
    if record is None:
        raise Refused(
            "BackupNotFound",
            f"There is no TenantBackup {key.namespace}/{key.name} (spec.bootstrap): see kubectl get otb, and make a new "
            "OdooTenant that names one.",
            LOOK_AGAIN,
        )
    if not record.finished:
        raise Waiting("MakingBackup", f"TenantBackup {key.name} is {record.phase}: it is waited for.", _SOON)
    if not record.recoverable:
        why = record.reason if record.phase == "Failed" else "it was read back and is not good"
        raise Refused(
            "BackupUnusable",
            f"TenantBackup {key.name} is not to be restored: {why}. One counts only once it is Completed and verified. Of "
            "fromTenant: delete it, and another one is made; else make a new OdooTenant that names another.",
            LOOK_AGAIN,
        )


def check_source_at_rest(look: Look, backup: str) -> None:
    """Nothing is removed from the repository that it lies in while it is read.

    Raises:
        Waiting: ``RepositoryMaintained``.
    """
    world = look.world
    record = world.backups.get(Key("TenantBackup", look.tenant.metadata.namespace, backup))
    if record is None or not record.claim:
        return
    for original in world.tenants.with_claim(record.claim):
        check_not_maintained(world, original)


async def origin_of(look: Look, backup: str) -> Origin:
    """All that its restore needs.

    Raises:
        OperatorError: what is missing, or isn't this namespace's.
    """
    world, namespace = look.world, look.tenant.metadata.namespace
    key = Key("TenantBackup", namespace, backup)
    check_usable(world.backups.get(key), key)
    manifest = await world.cluster.get(ObjectRef(API_VERSION, key.kind, namespace, backup))
    if manifest is None:
        raise Refused("BackupNotFound", f"TenantBackup {namespace}/{backup} is gone.", LOOK_AGAIN)
    made = TenantBackup.parse(manifest)
    policy = _policy(world, made)
    assert policy.store is not None
    s3 = policy.policy.spec.store.s3
    claim = claim_of(made, s3.prefix)
    place = repository_of(policy.policy, policy.store, names.repository(s3.prefix, claim))
    source = Source(
        backup=backup,
        repository=place,
        password=await _password(world, made, policy, claim, place.path),
        manifest_key=made.status.manifest.key,
        manifest_sha256=made.status.manifest.sha256,
        store_ca=policy.store.ca,
        store_peers=policy.store.peers,
    )
    login = None
    if s3.access == "PerTenantSecret":
        login = await tenant_login.read(world.cluster, policy.policy, made.spec.tenant_ref.name, claim)
    return Origin(source, policy, claim, names.tenant_prefix(s3.prefix, claim), login)


def claim_of(backup: TenantBackup, prefix: str) -> str:
    """Whose repository it is in, by the place of its manifest.

    Raises:
        Refused: ``BackupElsewhere``.
    """
    key, digest = backup.status.manifest.key, backup.status.manifest.sha256
    below = key.removeprefix(f"{prefix}/") if prefix else key
    claim, folder, document = [*below.split("/"), "", ""][:3]
    expected = f"{names.tenant_prefix(prefix, claim)}/{_MANIFESTS}/{document}"
    known = len(claim) == 32 and set(claim) <= set("0123456789abcdef") and folder == _MANIFESTS
    if not known or key != expected or len(digest) != 64:
        raise Refused(
            "BackupElsewhere",
            f"TenantBackup {backup.metadata.name} says that its manifest is {key or 'nowhere'}, which is not below the "
            f"prefix of its BackupPolicy ({prefix or 'none'}): name the policy by which it was made (spec.policyRef), or "
            "another backup.",
            LOOK_AGAIN,
        )
    return claim


def _policy(world: World, backup: TenantBackup) -> PolicyState:
    """The policy by which it was made: its own, or its tenant's.

    Raises:
        Refused: ``NoPolicy``, ``PolicyNotFound``.
        Waiting: what keeps the policy from being used.
    """
    namespace, about = backup.metadata.namespace, f"by which TenantBackup {backup.metadata.name} was made"
    record = world.tenants.get(Key("OdooTenant", namespace, backup.spec.tenant_ref.name))
    named = backup.spec.policy_ref
    name = named.name if named is not None else (record.policy if record is not None else "")
    if not name:
        raise Refused(
            "NoPolicy",
            f"TenantBackup {backup.metadata.name} names no BackupPolicy, and its tenant, which did, is gone: nobody knows "
            "in which store it is. Name a backup that has spec.policyRef.",
            LOOK_AGAIN,
        )
    return usable_policy(world, namespace, name, about)


def usable_policy(world: World, namespace: str, name: str, about: str) -> PolicyState:
    """A policy whose store can be read.

    Args:
        about: what it is to this tenant, for the message.

    Raises:
        Refused: ``PolicyNotFound``.
        Waiting: what keeps the policy from being used.
    """
    state = world.policies.get(namespace, name)
    if state is None:
        raise Refused(
            "PolicyNotFound",
            f"There is no BackupPolicy {namespace}/{name}, {about}: create it again, with the same store.",
            LOOK_AGAIN,
        )
    if state.problem is not None:
        raise Waiting(
            state.problem.reason,
            f"BackupPolicy {name} can't be used yet: {state.problem.message}",
            LOOK_AGAIN,
        )
    return state


async def _password(world: World, backup: TenantBackup, policy: PolicyState, claim: str, path: str) -> str:
    """The tenant's own key, where the operator has it; else what a recovery key makes that the manifest names.

    Raises:
        Refused: ``BackupOfAnother``, ``ManifestMissing``, ``RepositoryKeyMissing``.
    """
    namespace = backup.metadata.namespace
    vault = world.credentials.known(claim) or await world.credentials.read(claim)
    if vault is not None:
        if not vault.owner.startswith(f"{namespace}/"):
            raise _of_another(backup)
        if vault.credentials.repository_password:
            return vault.credentials.repository_password
    manifest = await _manifest(world, backup, policy)
    if manifest.namespace != namespace or manifest.claim != claim:
        raise _of_another(backup)
    for id_, key in policy.recovery_keys:
        if id_ in manifest.recovery_keys:
            return derived_password(key, path)
    raise Refused(
        "RepositoryKeyMissing",
        f"The key of repository {path} is gone with its tenant, and BackupPolicy {policy.policy.metadata.name} has none of "
        f"the recovery keys that open it ({', '.join(manifest.recovery_keys) or 'there are none'}): add one to its "
        "spec.encryption.recoveryKeys.",
        LOOK_AGAIN,
    )


async def _manifest(world: World, backup: TenantBackup, policy: PolicyState) -> BackupManifest:
    assert policy.store is not None
    bucket = world.buckets.of(policy.policy.key, address_of(policy.policy, policy.store))
    stored = backup.status.manifest
    try:
        document = await bucket.get_document(stored.key, sha256=stored.sha256)
        if document is not None:
            return BackupManifest.model_validate_json(document.content)
    except (DocumentUnusable, ValidationError):
        document = None
    raise Refused(
        "ManifestMissing",
        f"The manifest {stored.key} of TenantBackup {backup.metadata.name} isn't in the bucket as it was written: bring "
        "its former version back, or name another backup.",
        LOOK_AGAIN,
    )


def _of_another(backup: TenantBackup) -> Refused:
    return of_another(f"TenantBackup {backup.metadata.name} points to", backup.metadata.namespace)


def of_another(who: str, namespace: str) -> Refused:
    """Whose data one team has is not for another.

    Args:
        who: names it, and how.
    """
    return Refused(
        "BackupOfAnother",
        f"{who} a repository that belongs to a tenant of another namespace: nothing of it is restored here. Name one of a "
        f"tenant of {namespace}.",
        LOOK_AGAIN,
    )
