"""Who is at work in a tenant's repository, wherever it runs. Asked afresh: what is done next removes data."""

from __future__ import annotations

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.desired import labels
from odoo_tenancy.reconcile.diagnosis import is_alive


async def jobs(cluster: Cluster, claim: str) -> list[str]:
    """Namespaces and names of the Jobs that have not ended; those that were not let go yet are among them."""
    live = await cluster.list("batch/v1", "Job", label_selector=f"{labels.REPOSITORY}={claim}")
    return [f"{job['metadata']['namespace']}/{job['metadata']['name']}" for job in live if not _is_done(job)]


async def pods(cluster: Cluster, claim: str) -> list[ObjectRef]:
    """The pods that may still do something: one that a Job left behind, too."""
    live = await cluster.list("v1", "Pod", label_selector=f"{labels.REPOSITORY}={claim}")
    return [_ref(pod) for pod in live if is_alive(pod)]


def _ref(pod: Manifest) -> ObjectRef:
    """Of what a list returned, which doesn't say its kind."""
    return ObjectRef("v1", "Pod", pod["metadata"]["namespace"], pod["metadata"]["name"])


def _is_done(job: Manifest) -> bool:
    if job["metadata"].get("deletionTimestamp"):
        return True  # its pods are listed too
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)
