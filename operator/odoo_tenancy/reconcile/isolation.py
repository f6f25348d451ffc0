"""Whether anything in a namespace of ours lets in, or out, what our own policies do not: NetworkPolicies add up."""

from __future__ import annotations

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.cluster.children import Children
from odoo_tenancy.desired.namespace import of
from odoo_tenancy.reconcile import redis_own
from odoo_tenancy.reconcile.look import Look

LOOK_AGAIN = 30.0


def openings(children: Children, namespace: str) -> str:
    """A sentence that names what strangers put there and what to do; empty where there is nothing."""
    strangers = children.foreign(namespace)
    if not strangers:
        return ""
    named = "; ".join(f"{s.kind} {namespace}/{s.name} ({s.opens})" for s in strangers[:5])
    more = f" and {len(strangers) - 5} more" if len(strangers) > 5 else ""
    return f"Opened by what this operator did not make: {named}{more}. Delete it, or move it out of the namespace."


async def stage(look: Look) -> None:
    """NetworkIsolated.

    Raises:
        Refused: ``OpenedByStranger``.
    """
    places = filter(None, (of(look.context), redis_own.uses_data_namespace(look)))
    found = " ".join(filter(None, (openings(look.world.children, where) for where in places)))
    if found:
        raise Refused("OpenedByStranger", found, LOOK_AGAIN)
    look.report.good(
        "NetworkIsolated", "Enforced", "Only our own NetworkPolicies are there, and nothing opens more"
    )
