"""The Jobs of a restore, where the tenant runs: one that lays a backup beside what lives, one that puts its files in the
living ones' place, and one that removes what nobody needs any more.

Made and let go as those of a backup (:mod:`odoo_tenancy.desired.backup_jobs`); all write the tenant's volume.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from odoo_tenancy.api.meta import ApiModel, Manifest
from odoo_tenancy.api.restore_work import DiscardWork, RestoreWork, SwapWork
from odoo_tenancy.api.work import PASSWORD_FILE, STORE_CA_FILE, DatabasePlace, RepositoryPlace
from odoo_tenancy.desired import jobs, labels, names, odoo_conf
from odoo_tenancy.desired.backup_jobs import POSTGRES_CA_FILE, SCRATCH, BackupJob, Run, in_tenant
from odoo_tenancy.desired.context import Peer, TenantContext

FILESTORES = f"{odoo_conf.DATA_DIR}/filestore"
_SWAP_SECONDS = 900
"""For two renames, and for the pod to start."""


@dataclass(frozen=True, slots=True)
class MadeFor:
    """The object that a restore is made for: a TenantRestore, or the very tenant that begins with it."""

    kind: labels.OwnerKind
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Source:
    """One stored backup, of this tenant or of another."""

    backup: str
    """Name of the TenantBackup, for messages."""
    repository: RepositoryPlace
    password: str = field(repr=False)
    """That opens the repository."""
    manifest_key: str
    manifest_sha256: str
    store_ca: str | None = field(repr=False)
    """PEM; ``None``: the authorities of the image."""
    store_peers: tuple[Peer, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """Where it is laid: a database that was just made for it, and a folder of the tenant's volume that nobody uses."""

    database: str
    folder: str
    user: str
    """The tenant's login role."""
    password: str = field(repr=False)


def restore(
    ctx: TenantContext,
    made_for: MadeFor,
    source: Source,
    target: Target,
    credentials: Mapping[str, str],
    timeout_seconds: int,
) -> BackupJob:
    """Fills a new database and a new folder, and compares both with the manifest.

    Args:
        credentials: variables by which it gets at the store.
        timeout_seconds: of the whole Job.
    """
    files = {_file(PASSWORD_FILE): source.password.encode()}
    if source.store_ca is not None:
        files[_file(STORE_CA_FILE)] = source.store_ca.encode()
    if ctx.postgres_ca is not None:
        files[_file(POSTGRES_CA_FILE)] = ctx.postgres_ca.encode()
    run = Run(
        backup=made_for.name,
        uid=made_for.uid,
        timeout_seconds=timeout_seconds,
        work=_work(ctx, made_for, source, target).model_dump_json(by_alias=True),
        files=files,
        environment={**credentials, "PGPASSWORD": target.password},
        peers=(*source.store_peers, *ctx.database_peers),
        kind=made_for.kind,
        repository=source.repository.path.split("/")[-2],
    )
    return in_tenant(ctx, run, "restore", filestore="write", scratch=True)


def database_place(ctx: TenantContext, target: Target) -> DatabasePlace:
    """The target's database, as a Job of the tenant gets there."""
    place = {
        "host": ctx.database_host,
        "port": ctx.database_port,
        "user": target.user,
        "name": target.database,
        "ssl_mode": ctx.database_tls,
        "ca_file": POSTGRES_CA_FILE if ctx.postgres_ca is not None else "",
    }
    return DatabasePlace.model_validate(place)


def _work(ctx: TenantContext, made_for: MadeFor, source: Source, target: Target) -> RestoreWork:
    return RestoreWork(
        restore=made_for.uid,
        backup=source.backup,
        repository=source.repository,
        manifest_key=source.manifest_key,
        manifest_sha256=source.manifest_sha256,
        database=database_place(ctx, target),
        filestores=FILESTORES,
        folder=target.folder,
        scratch=SCRATCH,
    )


def swap(ctx: TenantContext, made_for: MadeFor, new: str, former: str, *, back: bool = False) -> BackupJob:
    """Two renames of folders: ``new`` becomes the living filestore, which becomes ``former``.

    Args:
        back: the same the other way round, by a Job of another name.
    """
    if back:
        new, former = former, new
    work = SwapWork(filestores=FILESTORES, living=names.database(ctx.claim), new=new, former=former)
    run = _on_the_volume(made_for, work)
    part = "back" if back else "swap"
    return in_tenant(ctx, run, "swap", module="filestore_swap", part=part, filestore="write")


def discard(ctx: TenantContext, made_for: MadeFor, folders: tuple[str, ...]) -> BackupJob:
    """Removes folders of the tenant's volume."""
    run = _on_the_volume(made_for, DiscardWork(filestores=FILESTORES, folders=folders))
    return in_tenant(ctx, run, "swap", module="filestore_discard", part="discard", filestore="write")


def neutralization(ctx: TenantContext, made_for: MadeFor, database: str) -> Manifest:
    """Takes from what was restored what sends mail, takes money or acts by itself, before it takes the living one's place:
    the tenant's own Job for it, in its image, on another database."""
    manifest = jobs.neutralization(ctx, database)
    marks = labels.for_run(ctx.tenant, made_for.kind, made_for.name, made_for.uid, "neutralize")
    spec = manifest["spec"]
    template = {**spec["template"], "metadata": {**spec["template"]["metadata"], "labels": marks}}
    metadata = {**manifest["metadata"], "labels": marks}
    return {**manifest, "metadata": metadata, "spec": {**spec, "template": template}}


def _on_the_volume(made_for: MadeFor, work: ApiModel) -> Run:
    """Of a Job that talks to nobody."""
    return Run(
        backup=made_for.name,
        uid=made_for.uid,
        timeout_seconds=_SWAP_SECONDS,
        work=work.model_dump_json(by_alias=True),
        files={},
        environment={},
        peers=(),
        kind=made_for.kind,
    )


def _file(path: str) -> str:
    """Its key in the Secret."""
    return path.rpartition("/")[2]
