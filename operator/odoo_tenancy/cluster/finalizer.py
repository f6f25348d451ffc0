"""Our own finalizer: written before the first thing is made, taken away when the last one is gone."""

from __future__ import annotations

from odoo_tenancy.api.errors import Waiting
from odoo_tenancy.api.meta import GROUP, Manifest
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.objects import ObjectRef

FINALIZER = f"{GROUP}/finalizer"


def has_finalizer(body: Manifest) -> bool:
    """Whether the object waits for us before it goes."""
    return FINALIZER in (body["metadata"].get("finalizers") or ())


async def add_finalizer(cluster: Cluster, body: Manifest) -> Manifest:
    """The object with our finalizer; no request where it has it.

    Raises:
        Conflict: the object was written since ``body`` was read.
    """
    if has_finalizer(body):
        return body
    return await _write(cluster, body, [*(body["metadata"].get("finalizers") or ()), FINALIZER])


async def remove_finalizer(cluster: Cluster, body: Manifest) -> None:
    """Let the object go. That it has gone already is fine.

    Raises:
        Conflict: the object was written since ``body`` was read.
    """
    if not has_finalizer(body):
        return
    try:
        await _write(cluster, body, [f for f in body["metadata"]["finalizers"] if f != FINALIZER])
    except Waiting as gone:
        if gone.reason != "NotFound":
            raise


async def _write(cluster: Cluster, body: Manifest, finalizers: list[str]) -> Manifest:
    # A merge patch replaces the list whole: with the resourceVersion nobody else's entry gets lost by it.
    version = body["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version, "finalizers": finalizers}}
    return await cluster.merge_patch(ObjectRef.of(body), patch)
