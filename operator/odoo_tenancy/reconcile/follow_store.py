"""TenantBackups follow what is stored: an object whose backup was forgotten goes. The other way round nothing is done:
deleting an object or a policy removes nothing from the store, nor does deleting a tenant, unless its ``deletion.policy`` is
``Delete`` (``stored_backups.py``)."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import ValidationError

from odoo_tenancy.api.maintain_work import ForgottenBackups, forgotten_key
from odoo_tenancy.api.meta import API_VERSION, Key, Manifest
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.reconcile.backup_memory import PolicyState
from odoo_tenancy.reconcile.backup_policy import address_of
from odoo_tenancy.reconcile.memory import TenantRecord
from odoo_tenancy.reconcile.world import World

FAILED_KEPT = timedelta(days=30)
"""For which a record of a backup that failed and stored nothing stays."""


async def objects_of(world: World, tenant: Key) -> list[Manifest]:
    """All TenantBackups of a tenant, afresh, by one list that the API server narrows down."""
    selector = f"spec.tenantRef.name={tenant.name}"
    return await world.cluster.list(API_VERSION, "TenantBackup", tenant.namespace, field_selector=selector)


async def follow(world: World, record: TenantRecord, state: PolicyState) -> None:
    """After a maintenance: what it forgot goes, and old failures of which nothing was stored."""
    forgotten = await _forgotten(world, record, state)
    oldest = world.now() - FAILED_KEPT
    for body in await objects_of(world, record.key):
        if _is_forgotten(body, forgotten) or _is_old_failure(body, oldest):
            metadata = body["metadata"]
            ref = ObjectRef(API_VERSION, "TenantBackup", metadata["namespace"], metadata["name"])
            await world.cluster.delete(ref, uid=metadata["uid"])


async def _forgotten(world: World, record: TenantRecord, state: PolicyState) -> dict[str, str]:
    """What the Job wrote down, in the part of the bucket that no tenant reaches."""
    policy, store = state.policy, state.store
    if store is None:
        return {}
    bucket = world.buckets.of(policy.key, address_of(policy, store))
    document = await bucket.get_document(forgotten_key(policy.spec.store.s3.prefix, record.claim))
    try:
        return ForgottenBackups.model_validate_json(document.content).backups if document else {}
    except ValidationError:  # the Job failed with RecordUnreadable, which the policy says
        return {}


def _is_forgotten(body: Manifest, forgotten: dict[str, str]) -> bool:
    """By its manifest's SHA-256 too: another one may have had its name before."""
    sha256 = ((body.get("status") or {}).get("manifest") or {}).get("sha256")
    return bool(sha256) and forgotten.get(body["metadata"]["name"]) == sha256


def _is_old_failure(body: Manifest, oldest: datetime) -> bool:
    status = body.get("status") or {}
    stored = (status.get("manifest") or {}).get("key")
    ended = status.get("completionTime")
    if status.get("phase") != "Failed" or stored or not ended or body["spec"].get("hold"):
        return False
    return datetime.fromisoformat(ended) < oldest
