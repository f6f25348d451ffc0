"""WorkloadReady: web and cron run, from the image asked for, with the configuration asked for."""

from __future__ import annotations

from dataclasses import replace

from odoo_tenancy.api.errors import OperatorError, Waiting
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.cluster.readiness import Rollout
from odoo_tenancy.desired import labels, pods
from odoo_tenancy.desired import tenant as desired
from odoo_tenancy.desired.namespace import of
from odoo_tenancy.reconcile import diagnosis, fronts
from odoo_tenancy.reconcile.database import compare_template, mend_password
from odoo_tenancy.reconcile.look import Look
from odoo_tenancy.reconcile.modules import check_image, install_added
from odoo_tenancy.reconcile.tenant_database import wanted_database

PATIENCE = 15.0
"""Seconds in which pods start, as a rule."""
NOT_SEEN = Rollout(wanted=1, updated=0, ready=0, available=0, total=0, observed=False)


async def stage(look: Look) -> None:
    """One look at the Deployments.

    Raises:
        OperatorError: what keeps pods from running, or ``Waiting`` while they start.
    """
    await check_image(look)
    manifests = desired.workload(look.context)
    await look.apply(manifests)
    await install_added(look)
    for manifest in manifests:
        if manifest["kind"] == "Deployment" and not (rollout := _rollout(look, manifest)).complete:
            await _explain(look, manifest, rollout)
    if look.tenant.spec.suspended:
        look.report.good("WorkloadReady", "Suspended", "Scaled to nothing, as spec.suspended asks")
        return
    if not look.held("WorkloadReady", "Running"):
        await _note_image(look)
    look.report.good("WorkloadReady", "Running", "Web and cron run as asked")


async def _explain(look: Look, manifest: Manifest, rollout: Rollout) -> None:
    """Say why a Deployment is not as it should be."""
    ref = ObjectRef.of(manifest)
    if rollout.problem and rollout.problem != "ProgressDeadlineExceeded":
        raise Waiting("PodsRefused", f"{ref}: {rollout.problem}", 10.0)
    problem = await _problem_of_pods(look, manifest) if rollout.observed else None
    if _is_overdue(look):
        await mend_password(look)
        await _try_pooler(look)
    if problem is not None:
        raise problem
    raise Waiting(
        "RollingOut",
        f"{ref}: {rollout.available} of {rollout.wanted} pods are available, {rollout.updated} of the new revision, "
        f"{rollout.total} in all.",
        look.world.options.look_again * 5,
    )


async def _try_pooler(look: Look) -> None:
    """What keeps Odoo from its database may stand between the two."""
    pooler, server = look.context.pooler, look.postgres.server
    if pooler is None or server is None or look.postgres.problem is not None:
        return
    wanted = wanted_database(look)
    login = replace(
        server.address,
        username=wanted.login_role,
        password=look.vault.credentials.database_password,
        database=wanted.database,
    )
    await fronts.check_login(look.context.pool, login, pooler)


async def _problem_of_pods(look: Look, manifest: Manifest) -> OperatorError | None:
    selector = manifest["spec"]["selector"]["matchLabels"]
    live = await diagnosis.pods(look.world.cluster, manifest["metadata"]["namespace"], selector)
    return await diagnosis.why_not_running(look.world.cluster, live)


def _is_overdue(look: Look) -> bool:
    """Pods ran and don't any more, or have been starting for long: every start takes some seconds, a login costs CPU."""
    if not look.initialized or look.tenant.spec.suspended:
        return False
    before = next((c for c in look.tenant.status.conditions if c.type == "WorkloadReady"), None)
    if before is None or before.last_transition_time is None:
        return False
    since = (look.world.now() - before.last_transition_time).total_seconds()
    return before.status == "True" or since > PATIENCE


async def _note_image(look: Look) -> None:
    """The digest that runs, looked up once for each rollout."""
    selector = labels.of_component(look.context.uid, "web")
    live = await diagnosis.pods(look.world.cluster, of(look.context), selector)
    look.image = diagnosis.image_digest(live, pods.CONTAINER)
    if look.image:
        await compare_template(look)


def _rollout(look: Look, manifest: Manifest) -> Rollout:
    child = look.world.children.get(ObjectRef.of(manifest))
    return child.readiness if child is not None and isinstance(child.readiness, Rollout) else NOT_SEEN
