"""What the Jobs of a backup are told, out of a tenant, its policy and its vault. Nothing is asked of anybody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from odoo_tenancy.api.backup import TenantBackup
from odoo_tenancy.api.backup_work import BackupWork, Circumstances, PrepareWork, RecoveryPassword
from odoo_tenancy.api.meta import ApiModel, ApiObject, Manifest
from odoo_tenancy.api.policy import BackupPolicy
from odoo_tenancy.api.types import duration_seconds
from odoo_tenancy.api.verify_work import VerifyWork, proven_key
from odoo_tenancy.api.work import (
    PASSWORD_FILE,
    STORE_CA_FILE,
    WORK_FILE,
    DatabasePlace,
    RepositoryPlace,
    StorePlace,
)
from odoo_tenancy.desired import names, odoo_conf
from odoo_tenancy.desired.backup_jobs import POSTGRES_CA_FILE, SCRATCH, Run
from odoo_tenancy.desired.context import Peer, TenantContext
from odoo_tenancy.reconcile.backup_memory import PolicyState, StoreAccess
from odoo_tenancy.reconcile.credentials import fingerprint
from odoo_tenancy.services.restic import derived_password

_FOLDER = WORK_FILE.rpartition("/")[0]
_CACHE = "/tmp/restic-cache"  # noqa: S108 - the pod's own emptyDir


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """One backup, with all that is known of it before it begins."""

    backup: TenantBackup
    context: TenantContext
    policy: PolicyState
    store: StoreAccess
    last: bool = False
    """It is the tenant's last: there is no TenantBackup of it."""

    @property
    def path(self) -> str:
        """Of the repository, below the bucket."""
        return names.repository(self.policy.policy.spec.store.s3.prefix, self.context.claim)

    @property
    def keys(self) -> str:
        """Tells this repository with these keys from any other: what was prepared once is so for good."""
        s3, passwords = self.policy.policy.spec.store.s3, self.derived
        known = [f"{id_}:{fingerprint(password)}" for id_, password in sorted(passwords.items())]
        own = fingerprint(self.context.credentials.repository_password)
        return names.digest(s3.endpoint, s3.bucket, self.path, own, *known, length=32)

    @property
    def derived(self) -> dict[str, str]:
        """The password that each recovery key opens the repository by."""
        keys = self.policy.recovery_keys
        return {id_: derived_password(key, self.path) for id_, key in keys} or dict(self.policy.derived)

    def prepare(self, pods_alive: Iterable[str] = ()) -> Run:
        """For the Job that makes the repository, and takes away locks of the dead: of those that aren't among these."""
        passwords = {id_: f"recovery-{id_}" for id_ in self.derived}
        work = PrepareWork(
            repository=self.place,
            recovery=tuple(
                RecoveryPassword(id=id_, password_file=f"{_FOLDER}/{file}") for id_, file in passwords.items()
            ),
            pods_alive=tuple(pods_alive),
            pod_prefixes=names.pods_in_repository(self.context.tenant, self.context.claim),
        )
        files = {passwords[id_]: password.encode() for id_, password in self.derived.items()}
        own = {"AWS_ACCESS_KEY_ID": self.store.key_id, "AWS_SECRET_ACCESS_KEY": self.store.secret_key}
        return self._run(work, files, own, ())

    @property
    def no_credentials(self) -> dict[str, str]:
        """The variables that a Job where the tenant runs gets them by: enough to look for what was made."""
        session = self.policy.policy.spec.store.s3.access == "AssumeRole"
        found = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", *(("AWS_SESSION_TOKEN",) if session else ()))
        return dict.fromkeys(found, "")

    def store_it(self, credentials: Mapping[str, str]) -> Run:
        """For the Job that backs up, with these of the store."""
        ctx, claim = self.context, self.context.claim
        work = BackupWork(
            repository=self.place,
            database=self._database(names.backup_role(claim), names.database(claim)),
            filestore=f"{odoo_conf.DATA_DIR}/filestore/{names.database(claim)}",
            manifest_key=f"{self.prefix}/manifests/{self.backup.metadata.name}.json",
            about=self._circumstances(),
            cache=_CACHE,
        )
        login = {**credentials, "PGPASSWORD": ctx.credentials.backup_password}
        return self._run(work, self._authority, login, ctx.database_peers)

    def verify(
        self,
        manifest_key: str,
        manifest_sha256: str,
        credentials: Mapping[str, str],
        scratch_password: str = "",
    ) -> Run:
        """For the Job that reads back what was stored, with these of the store.

        Args:
            scratch_password: at level Restore, of the scratch database's login.
        """
        wanted, ctx = self.policy.policy.spec.verification, self.context
        work = VerifyWork(
            backup=self.backup.metadata.name,
            level=wanted.level,
            read_data_percent=wanted.read_data_percent,
            repository=self.place,
            manifest_key=manifest_key,
            manifest_sha256=manifest_sha256,
            ledger_key=proven_key(self.policy.policy.spec.store.s3.prefix, self.context.claim),
            scratch=SCRATCH,
        )
        if not self.restores:
            return self._run(work, {}, credentials, ())
        place = self._database(names.scratch_login(ctx.claim), names.scratch_database(ctx.claim))
        login = {**credentials, "PGPASSWORD": scratch_password}
        return self._run(
            work.model_copy(update={"database": place}), self._authority, login, ctx.database_peers
        )

    @property
    def restores(self) -> bool:
        """Whether a verification needs a scratch database."""
        return self.policy.policy.spec.verification.level == "Restore"

    def _database(self, user: str, name: str) -> DatabasePlace:
        """On the server of the tenant's database, itself: no pooler."""
        ctx = self.context
        return DatabasePlace.model_validate(
            {
                "host": ctx.database_host,
                "port": ctx.database_port,
                "user": user,
                "name": name,
                "ssl_mode": ctx.database_tls,
                "ca_file": POSTGRES_CA_FILE if ctx.postgres_ca is not None else "",
            }
        )

    @property
    def _authority(self) -> dict[str, bytes]:
        """Of that server's certificate, as a file beside the work."""
        ca = self.context.postgres_ca
        return {} if ca is None else {_file(POSTGRES_CA_FILE): ca.encode()}

    @property
    def timeout_seconds(self) -> int:
        """For each of the Jobs."""
        return int(duration_seconds(self.policy.policy.spec.timeout))

    @property
    def prefix(self) -> str:
        """Below which all of the tenant's is in the bucket."""
        return names.tenant_prefix(self.policy.policy.spec.store.s3.prefix, self.context.claim)

    @property
    def place(self) -> RepositoryPlace:
        """Where the repository is."""
        return repository_of(self.policy.policy, self.store, self.path)

    def _run(
        self,
        work: ApiModel,
        files: Mapping[str, bytes],
        environment: Mapping[str, str],
        peers: tuple[Peer, ...],
    ) -> Run:
        return Run(
            backup=self.backup.metadata.name,
            uid=self.backup.metadata.uid,
            timeout_seconds=self.timeout_seconds,
            work=work.model_dump_json(by_alias=True),
            files={**files_of(self.context, self.store), **files},
            environment=environment,
            peers=(*self.store.peers, *peers),
            repository=self.context.claim,
            last=self.last,
        )

    def _circumstances(self) -> Circumstances:
        tenant, pool, policy = self.context.tenant, self.context.pool.pool, self.policy.policy
        objects = tuple(_as_it_is(each) for each in (tenant, policy, pool))
        return Circumstances(
            backup=self.backup.metadata.name,
            namespace=tenant.metadata.namespace,
            tenant=tenant.metadata.name,
            claim=self.context.claim,
            reason=self.backup.spec.reason,
            policy=policy.metadata.name,
            recovery_keys=tuple(self.derived),
            image=tenant.status.image or tenant.spec.odoo.image,
            custom_resources=objects,
            odoo_conf=odoo_conf.without_secrets(self.context),
            secrets=tuple(sorted({name for each in objects for name in _secrets(each["spec"])})),
        )


def repository_of(policy: BackupPolicy, store: StoreAccess, path: str) -> RepositoryPlace:
    """As a Job is told it."""
    s3 = policy.spec.store.s3
    ca_file = STORE_CA_FILE if store.ca is not None else ""
    place = StorePlace(endpoint=s3.endpoint, region=s3.region, bucket=s3.bucket, ca_file=ca_file)
    return RepositoryPlace(store=place, path=path)


def files_of(context: TenantContext, store: StoreAccess) -> dict[str, bytes]:
    """What opens a tenant's repository, as files beside a Job's work."""
    authority = {} if store.ca is None else {_file(STORE_CA_FILE): store.ca.encode()}
    return {_file(PASSWORD_FILE): context.credentials.repository_password.encode(), **authority}


def _file(path: str) -> str:
    """Its key in the Secret."""
    return path.rpartition("/")[2]


_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""The whole object once more."""


def _as_it_is(live: ApiObject) -> Manifest:
    """An object as somebody would apply it again."""
    body: Manifest = live.model_dump(mode="json", by_alias=True, exclude_none=True)
    metadata = live.metadata
    annotations = {key: value for key, value in metadata.annotations.items() if key != _APPLIED}
    named: Manifest = {"name": metadata.name, "labels": metadata.labels, "annotations": annotations}
    if metadata.namespace:
        named["namespace"] = metadata.namespace
    return {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "metadata": {key: value for key, value in named.items() if value},
        "spec": body["spec"],
    }


def _secrets(spec: Any) -> Iterator[str]:
    """The names of the Secrets that a spec refers to."""
    if isinstance(spec, list):
        for item in spec:
            yield from _secrets(item)
    elif isinstance(spec, dict):
        for key, value in spec.items():
            if key.lower().endswith("secretref") and isinstance(value, dict):
                yield value["name"]
            elif key == "imagePullSecrets":
                yield from (secret["name"] for secret in value)
            else:
                yield from _secrets(value)
