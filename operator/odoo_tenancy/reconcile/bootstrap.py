"""A tenant that starts from something older (``spec.bootstrap``): its own database and volume are filled by a Job, and
nothing is served before they are whole, fit the image and are, where that is asked for, neutral.

Filled is the tenant's own database, which is empty, as its own role; what it is filled from can only be read. Each step
that is done is written into the vault, so that a fresh operator goes on where one stopped.
"""

from __future__ import annotations

from dataclasses import replace

from odoo_tenancy.api.meta import Key
from odoo_tenancy.api.tenant import Archive, OdooTenant
from odoo_tenancy.api.work import STORE_CA_FILE, StorePlace
from odoo_tenancy.cluster.children import Child
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.cluster.readiness import JobRun
from odoo_tenancy.desired import archive_job, names, restore_jobs
from odoo_tenancy.desired import tenant as desired
from odoo_tenancy.desired.archive_job import ArchiveSource
from odoo_tenancy.desired.backup_jobs import BackupJob
from odoo_tenancy.desired.namespace import of
from odoo_tenancy.desired.restore_jobs import MadeFor, Target
from odoo_tenancy.desired.routing import url
from odoo_tenancy.reconcile import bootstrap_repository, bootstrap_run, neutralization
from odoo_tenancy.reconcile.bootstrap_source import (
    check_source_at_rest,
    check_usable,
    chosen_of_tenant,
    origin_of,
)
from odoo_tenancy.reconcile.credentials import Beginning, Installed
from odoo_tenancy.reconcile.jobs import run_job
from odoo_tenancy.reconcile.look import Look
from odoo_tenancy.reconcile.store_access import read_access
from odoo_tenancy.services.object_store import Credentials
from odoo_tenancy.services.odoo_password import GENERATED_ROUNDS, hash_password
from odoo_tenancy.services.postgres import PostgresServer, TenantDatabase

ARCHIVE = "archive"
""":attr:`Beginning.source` of ``fromArchive``, of which there is but one."""


def is_asked(tenant: OdooTenant) -> bool:
    """Whether it starts from anything."""
    start = tenant.spec.bootstrap
    return start is not None and any(
        (start.from_backup, start.from_tenant, start.from_archive, start.from_repository)
    )


def neutralizes(tenant: OdooTenant) -> bool:
    """Whether it must not send mail, take money or act by itself."""
    start = tenant.spec.bootstrap
    copies = (start.from_backup, start.from_tenant, start.from_repository) if start is not None else ()
    return any(copy is not None and copy.neutralize for copy in copies)


def comes_back(tenant: OdooTenant) -> bool:
    """Whether it is the tenant that was, and no copy of it."""
    start = tenant.spec.bootstrap
    return start is not None and start.from_repository is not None and not start.from_repository.neutralize


async def fill(look: Look, server: PostgresServer, wanted: TenantDatabase) -> Installed:
    """All steps, as far as they go; what is installed then.

    Raises:
        OperatorError: what stops it, or what it waits for.
    """
    beginning = look.vault.beginning
    if beginning is None or not beginning.restored:
        beginning = await _restored(look)
    image, password = look.tenant.spec.odoo.image, look.vault.credentials.database_password
    if beginning.fits != image:
        await run_job(look, desired.image_check(look.context), "ImageUnfit", "CheckingImage")
        await look.store(replace(look.vault, beginning=replace(beginning, fits=image)))
    if neutralizes(look.tenant):
        await neutralization.ensure(look, server, wanted)
    state = await server.odoo_state(wanted, password)
    languages = await server.odoo_languages(wanted, password)
    hashed = hash_password(look.vault.credentials.admin_password, rounds=GENERATED_ROUNDS)
    since = None if comes_back(look.tenant) else look.world.now()
    await server.personalise_copy(wanted, password, hashed, since, url(look.context))
    return Installed(image, tuple(sorted(state.installed)), tuple(sorted(languages)))


async def _restored(look: Look) -> Beginning:
    """Database and files are in, and compared."""
    ref = ObjectRef("batch/v1", "Job", of(look.context), job_name(look))
    beginning = look.vault.beginning
    if beginning is None or look.world.children.get(ref) is None:
        beginning = await _choose(look, beginning)
        if beginning != look.vault.beginning:
            await look.store(replace(look.vault, beginning=beginning))

    async def build() -> BackupJob:
        return await _job(look, beginning)

    # Not while its Job runs: maintenance waits for that. Made, and looked at once more before it is let go: of two that
    # begin at once, one sees the other.
    known = look.world.children.get(ref)
    if beginning.source != ARCHIVE and (known is None or _waits(known)):
        check_source_at_rest(look, beginning.source)
    said = await bootstrap_run.run(look, ref, build)
    done = replace(beginning, restored=True)
    await look.store(replace(look.vault, beginning=done))
    await look.world.events.publish(look.manifest, "Normal", "Restored", said)
    return done


def _waits(job: Child) -> bool:
    return isinstance(job.readiness, JobRun) and job.readiness.suspended


def job_name(look: Look) -> str:
    """The same for each attempt: what one left half done the next one clears away."""
    return names.backup_child(look.tenant, look.context.claim, "restore", look.context.uid)


async def _choose(look: Look, before: Beginning | None) -> Beginning:
    """The backup to restore, or ``ARCHIVE``. What was chosen stays, as long as it is good.

    Raises:
        OperatorError: there is none yet.
    """
    start, world = look.tenant.spec.bootstrap, look.world
    assert start is not None
    if start.from_repository is not None:
        return before or await bootstrap_repository.find(look, start.from_repository)
    namespace = look.tenant.metadata.namespace
    if before is not None:
        known = world.backups.get(Key("TenantBackup", namespace, before.source))
        if known is not None and known.recoverable:
            return before
    if start.from_tenant is not None:
        return Beginning(await chosen_of_tenant(look, start.from_tenant.name))
    if start.from_backup is not None:
        key = Key("TenantBackup", namespace, start.from_backup.name)
        check_usable(world.backups.get(key), key)
        return Beginning(key.name)
    assert start.from_archive is not None
    return Beginning(ARCHIVE)


async def _job(look: Look, beginning: Beginning) -> BackupJob:
    """By which the tenant's own database and folder are filled; nobody uses them yet."""
    start, ctx, meta = look.tenant.spec.bootstrap, look.context, look.tenant.metadata
    made_for, name = MadeFor("OdooTenant", meta.name, meta.uid), names.database(ctx.claim)
    user = names.login_role(ctx.claim, ctx.credentials.login_slot)
    target = Target(name, name, user, ctx.credentials.database_password)
    if start is not None and start.from_archive is not None:
        return archive_job.archive(ctx, made_for, await archive_of(look, start.from_archive), target)
    if start is not None and start.from_repository is not None:
        origin = bootstrap_repository.origin(look, start.from_repository, beginning)
    else:
        origin = await origin_of(look, beginning.source)
    login = await origin.credentials()
    return restore_jobs.restore(ctx, made_for, origin.source, target, login, origin.timeout_seconds)


async def archive_of(look: Look, asked: Archive) -> ArchiveSource:
    """The file, and what is read beside the tenant to get at it.

    Raises:
        Refused: a Secret is missing; ``PeersNeeded`` and the like.
    """
    meta, s3 = look.tenant.metadata, asked.s3
    referrer, field = f"OdooTenant {meta.namespace}/{meta.name}", "spec.bootstrap.fromArchive.s3"
    access = await read_access(look.world.cluster, referrer, meta.namespace, s3, field)
    ca_file = STORE_CA_FILE if access.ca is not None else ""
    return ArchiveSource(
        StorePlace(endpoint=s3.endpoint, region=s3.region, bucket=s3.bucket, ca_file=ca_file),
        f"{s3.prefix}/{asked.key}" if s3.prefix else asked.key,
        Credentials(access.key_id, access.secret_key).environment,
        access.ca,
        access.peers,
    )
