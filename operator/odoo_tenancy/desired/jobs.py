"""The Jobs at a database: initialisation, modules or languages that were asked for later, a look at whether another image
fits it, and the neutralization of a copy."""

from __future__ import annotations

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.desired import labels, names, pods, scripts
from odoo_tenancy.desired.context import TenantContext
from odoo_tenancy.desired.namespace import of

DEADLINE_SECONDS = 3600
"""Odoo's largest applications with their localisations take minutes; after an hour something hangs."""
BACKOFF_LIMIT = 2
"""Further attempts after a failure that may pass; the script may be run again on a half-done database."""
KEPT_SECONDS = 3600
"""How long a Job that is done, and its log, stay to be looked at."""
WRONG_SPEC = 64
"""Exit status of ``jobs/initialize.py`` where trying again cannot help (EX_USAGE of sysexits.h)."""


def initialization(ctx: TenantContext) -> Manifest:
    """Initialises an empty database. It needs no filestore: attachments are left in the database."""
    return _fill(ctx, "init", ["--initialize", *(["--demo"] if ctx.tenant.spec.odoo.demo else [])])


def modules(ctx: TenantContext) -> Manifest:
    """Installs what of the spec's modules and languages is not there yet, beside a running Odoo."""
    return _fill(ctx, "modules", [])


def job_name(ctx: TenantContext, part: str, *more: str) -> str:
    """A Job cannot be changed, so what it does is in its name."""
    odoo = ctx.tenant.spec.odoo
    work = names.digest(
        odoo.image,
        *sorted(odoo.modules),
        "languages",
        *sorted(odoo.languages),
        str(odoo.demo),
        ctx.claim,
        *filter(None, more),
        length=8,
    )
    return names.child(ctx.tenant, ctx.claim, f"{part}-{work}")


def image_check(ctx: TenantContext) -> Manifest:
    """Tells, in the image that is asked for, whether it may serve the database as it is."""
    return _job(ctx, "image", scripts.CHECK_IMAGE, [])


def neutralization(ctx: TenantContext, database: str = "") -> Manifest:
    """Takes from a copy what sends mail, takes money or acts by itself. It needs no filestore.

    Args:
        database: another one than the tenant's own, such as one that is to take its place.
    """
    arguments = [f"--database={database}"] if database else []
    manifest = _job(ctx, "neutralize", scripts.NEUTRALIZE, arguments)
    return {**manifest, "metadata": {**manifest["metadata"], "name": job_name(ctx, "neutral", database)}}


def _fill(ctx: TenantContext, part: str, options: list[str]) -> Manifest:
    odoo = ctx.tenant.spec.odoo
    arguments = [
        *options,
        f"--modules={','.join(sorted(odoo.modules))}",
        f"--languages={','.join(sorted(odoo.languages))}",
        f"--connections={ctx.effective.connections.per_job}",
    ]
    return _job(ctx, part, scripts.INITIALIZE, arguments)


def _job(ctx: TenantContext, part: str, script: str, arguments: list[str]) -> Manifest:
    process = pods.Process(
        component=part,
        command=("python3", script),
        resources=ctx.effective.job,
        grace_seconds=60,
        mounts_filestore=part == "modules",
        mounts_scripts=True,
    )
    # The pod has the deadline too: by it the quota for Jobs tells them from what runs for good.
    pod: Manifest = {"activeDeadlineSeconds": DEADLINE_SECONDS, "restartPolicy": "Never"}
    spec: Manifest = {
        "activeDeadlineSeconds": DEADLINE_SECONDS,
        "backoffLimit": BACKOFF_LIMIT,
        "podFailurePolicy": {"rules": _failure_rules()},
        "template": pods.template(ctx, process, {"args": arguments}, pod),
        "ttlSecondsAfterFinished": KEPT_SECONDS,
    }
    marks = labels.for_tenant(ctx.tenant, part)
    return labels.manifest("batch/v1", "Job", job_name(ctx, part), of(ctx), marks, spec=spec)


def _failure_rules() -> list[Manifest]:
    wrong_spec = {"containerName": pods.CONTAINER, "operator": "In", "values": [WRONG_SPEC]}
    return [
        {"action": "FailJob", "onExitCodes": wrong_spec},
        # A drained node is nobody's failure.
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
