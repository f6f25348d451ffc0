"""A tenant's manifests, by the stages in which they are applied. The way in for ``reconcile/tenant.py``."""

from __future__ import annotations

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.desired import jobs, namespace, network, read_only, scripts, secrets, storage
from odoo_tenancy.desired import routing as edge
from odoo_tenancy.desired import workload as odoo
from odoo_tenancy.desired.context import TenantContext


def fences(ctx: TenantContext) -> list[Manifest]:
    """What must stand before anything runs: the namespace with its fences, and the policies.

    Raises:
        Refused: a network that is not allowed.
    """
    own = namespace.build(ctx) if ctx.tenant.spec.tenancy == "Dedicated" else []
    return [*own, *network.build(ctx), *read_only.policies(ctx)]


def volume(ctx: TenantContext) -> list[Manifest]:
    """The filestore."""
    return storage.build(ctx)


def configuration(ctx: TenantContext) -> list[Manifest]:
    """What the pods mount: odoo.conf, registry credentials, scripts.

    Raises:
        Refused: an option of odoo.conf that is not allowed.
    """
    return [secrets.configuration(ctx), *secrets.pull_copies(ctx), scripts.build(ctx)]


def initialization(ctx: TenantContext) -> list[Manifest]:
    """The Job that makes an empty database an Odoo; wanted until it is done."""
    return [jobs.initialization(ctx)]


def installation(ctx: TenantContext) -> list[Manifest]:
    """The Job that installs modules and languages asked for later; wanted until it is done."""
    return [jobs.modules(ctx)]


def image_check(ctx: TenantContext) -> list[Manifest]:
    """The Job that tells whether another image may serve the database as it is; wanted until it is done."""
    return [jobs.image_check(ctx)]


def neutralization(ctx: TenantContext, database: str = "") -> list[Manifest]:
    """The Job that neutralizes a copy; wanted until it is done."""
    return [jobs.neutralization(ctx, database)]


def administrator(ctx: TenantContext) -> list[Manifest]:
    """The Secret with the administrator's password, beside the CR. Before the route."""
    return [secrets.administrator(ctx, edge.url(ctx))]


def reporting(ctx: TenantContext) -> list[Manifest]:
    """The Secret with the login of ``readOnlyAccess``, beside the CR, where there is one."""
    return [read_only.secret(ctx)] if ctx.tenant.spec.database.read_only_access.enabled else []


def workload(ctx: TenantContext, *, stopped: bool = False) -> list[Manifest]:
    """Web and cron, their Service, autoscaler and disruption budget; ``stopped`` scales them to nothing."""
    return odoo.build(ctx, stopped=stopped)


def routing(ctx: TenantContext) -> list[Manifest]:
    """What lets the world in, with the certificate that it shows: last."""
    return [*secrets.certificate_copy(ctx), *edge.build(ctx)]
