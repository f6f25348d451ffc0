"""The Job that loads what a customer brought, where the tenant runs: nobody trusts the file, so it reaches nothing but
PostgreSQL and the store, and all that it may write is bounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from odoo_tenancy.api.restore_work import ArchiveWork
from odoo_tenancy.api.types import parse_quantity
from odoo_tenancy.api.work import STORE_CA_FILE, StorePlace
from odoo_tenancy.desired.backup_jobs import POSTGRES_CA_FILE, SCRATCH, BackupJob, Run, in_tenant
from odoo_tenancy.desired.context import Peer, TenantContext
from odoo_tenancy.desired.restore_jobs import FILESTORES, MadeFor, Target, database_place

TIMEOUT_SECONDS = 4 * 3600
"""There is no policy that could say it: as long as a policy allows where it says nothing."""


@dataclass(frozen=True, slots=True)
class ArchiveSource:
    """One file in a bucket, and how it is reached."""

    store: StorePlace
    key: str
    """Of the object, below the bucket."""
    credentials: Mapping[str, str] = field(repr=False)
    """Variables by which it gets at the store."""
    ca: str | None = field(repr=False)
    """PEM; ``None``: the authorities of the image."""
    peers: tuple[Peer, ...]


def archive(ctx: TenantContext, made_for: MadeFor, source: ArchiveSource, target: Target) -> BackupJob:
    """Loads it into the tenant's new database and a folder of its volume.

    The file itself may be as large as the pool's scratch, what is in it as ``filestore.size`` and ``database.maxSize``
    allow; without the latter the script is bounded as the file is.
    """
    tenant, scratch = ctx.tenant.spec, parse_quantity(ctx.pool.pool.spec.scratch.size)
    script = parse_quantity(tenant.database.max_size) if tenant.database.max_size else scratch
    work = ArchiveWork(
        restore=made_for.uid,
        store=source.store,
        key=source.key,
        database=database_place(ctx, target),
        filestores=FILESTORES,
        folder=target.folder,
        largest_archive_bytes=int(scratch),
        largest_database_bytes=int(script),
        largest_filestore_bytes=int(parse_quantity(tenant.filestore.size)),
        scratch=SCRATCH,
    )
    authorities = {STORE_CA_FILE: source.ca, POSTGRES_CA_FILE: ctx.postgres_ca}
    run = Run(
        backup=made_for.name,
        uid=made_for.uid,
        timeout_seconds=TIMEOUT_SECONDS,
        work=work.model_dump_json(by_alias=True),
        files={path.rpartition("/")[2]: pem.encode() for path, pem in authorities.items() if pem is not None},
        environment={**source.credentials, "PGPASSWORD": target.password},
        peers=(*source.peers, *ctx.database_peers),
        kind=made_for.kind,
    )
    return in_tenant(ctx, run, "restore", module="archive", filestore="write", scratch=True)
