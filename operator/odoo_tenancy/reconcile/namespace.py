"""NamespaceReady: where the tenant runs, with its fences."""

from __future__ import annotations

from odoo_tenancy.api.errors import Waiting
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.desired import tenant as desired
from odoo_tenancy.desired.namespace import of
from odoo_tenancy.reconcile.look import Look


async def stage(look: Look) -> None:
    """One look at the namespace.

    Raises:
        Refused: it exists and is not this tenant's.
        Waiting: the pool's is not there yet, or ours is going away.
    """
    where = of(look.context)
    if look.tenant.spec.tenancy == "Shared" and look.pool.namespace_problem is not None:
        problem = look.pool.namespace_problem
        raise Waiting("PoolNamespaceNotReady", f"Namespace {where} of the pool: {problem.message}", 10.0)
    child = look.world.children.get(ObjectRef("v1", "Namespace", "", where))
    if child is not None and child.terminating:
        raise Waiting(
            "NamespaceTerminating",
            f"Namespace {where} was deleted and goes away; it is made anew when it is gone.",
            look.world.options.look_again,
        )
    await look.apply(desired.fences(look.context))
    look.report.good("NamespaceReady", "Applied", f"Namespace {where} and its fences are there")
