"""TenantBackups made again from the manifests in the bucket, where there are none: in an empty cluster after a disaster,
and after somebody deleted them. An object says what is stored, so it comes back for as long as that is stored.

Looked for when the operator starts, when a policy is new or changed, and once a day: one list for each tenant below the
policy's prefix, and nothing is read of what has its object.
"""

from __future__ import annotations

from odoo_tenancy.api.errors import OperatorError, Refused
from odoo_tenancy.api.meta import API_VERSION, GROUP, Key, Manifest
from odoo_tenancy.cluster.failures import Conflict
from odoo_tenancy.desired import labels, names
from odoo_tenancy.reconcile.backup_memory import CataloguePass, PolicyState
from odoo_tenancy.reconcile.world import World
from odoo_tenancy.services.object_store import Bucket
from odoo_tenancy.services.object_store.catalogue import (
    StoredManifest,
    claims,
    manifest_keys,
    read_manifest,
)
from odoo_tenancy.services.object_store.holds import Holds

REBUILT = f"{GROUP}/rebuilt-from"
"""Annotation of a TenantBackup that was made from a manifest: its key."""
EVERY = 86400.0
"""Seconds between two passes."""
_TENANTS_AT_ONCE = 20
_OBJECTS_AT_ONCE = 50
"""In one look at a policy: its turns must not wait for thousands."""
_PAUSE = 1.0
_AFTER_TROUBLE = 300.0


async def look(world: World, state: PolicyState, bucket: Bucket) -> float | None:
    """Go on with a pass, or begin one where it is time. What the store refuses is tried again later.

    Returns:
        Seconds until there is more to do; ``None``: at some later look.
    """
    known, now = world.catalogues.get(state.policy.key), world.seconds()
    if known is None or known.spec != state.policy.spec:
        known = world.catalogues[state.policy.key] = CataloguePass(state.policy.spec, due=now)
    try:
        if not known.claims:
            if now < known.due:
                return None
            known.claims = list(await claims(bucket, state.policy.spec.store.s3.prefix))
            known.due = now + EVERY
        for _ in range(min(_TENANTS_AT_ONCE, len(known.claims))):
            if not await _rebuild(world, state, bucket, known, known.claims[-1]):
                break
            known.claims.pop()
    except OperatorError as error:
        await _complain(world, state, error)
        return _AFTER_TROUBLE
    return _PAUSE if known.claims else None


async def _rebuild(
    world: World, state: PolicyState, bucket: Bucket, known: CataloguePass, claim: str
) -> bool:
    """One tenant's; whether all is there now."""
    if claim in known.passed_by or not _is_ours(world, claim):
        return True
    namespace, made = state.policy.metadata.namespace, 0
    held: frozenset[str] | None = None
    prefix = names.tenant_prefix(state.policy.spec.store.s3.prefix, claim)
    for name, key in (await manifest_keys(bucket, prefix)).items():
        if world.backups.get(Key("TenantBackup", namespace, name)) is not None or key in known.passed_by:
            continue
        try:
            stored = await read_manifest(bucket, key)
            if stored is not None and stored.manifest.namespace != namespace:
                known.passed_by.add(claim)
                return True
            if stored is None:
                continue
            held = await _held(state, bucket, claim) if held is None else held
            made += await _make(world, state, stored, hold=name in held)
        except Refused as error:
            known.passed_by.add(key)
            await _complain(world, state, error)
        if made >= _OBJECTS_AT_ONCE:
            return False
    return True


def _is_ours(world: World, claim: str) -> bool:
    """Not of a tenant that others serve, nor of one that goes: its last backup isn't whole yet."""
    return all(not who.going and world.options.serves(who.pool) for who in world.tenants.with_claim(claim))


async def _held(state: PolicyState, bucket: Bucket, claim: str) -> frozenset[str]:
    """Asked once for a tenant, and only where something is made."""
    return await Holds(bucket, state.policy.spec.store.s3.prefix, claim).names()


async def _make(world: World, state: PolicyState, stored: StoredManifest, *, hold: bool) -> bool:
    """The object; its own look fills in the rest. Whether there was none of that name."""
    manifest, metadata = stored.manifest, state.policy.metadata
    living = [
        who for who in world.tenants.with_claim(manifest.claim) if who.key.namespace == metadata.namespace
    ]
    body: Manifest = {
        "apiVersion": API_VERSION,
        "kind": "TenantBackup",
        "metadata": {
            "name": manifest.backup,
            "namespace": metadata.namespace,
            "labels": {labels.CLAIM: manifest.claim},
            "annotations": {REBUILT: stored.key},
        },
        "spec": {
            "tenantRef": {"name": living[0].key.name if living else manifest.tenant},
            "policyRef": {"name": metadata.name},
            "reason": manifest.reason,
            **({"hold": True} if hold else {}),
        },
    }
    try:
        made = await world.cluster.create(body)
    except Conflict as error:
        if error.reason != "AlreadyExists":
            raise
        return False
    key = world.backups.saw("ADDED", made)
    if key is not None:
        world.enqueue(key)
    return True


async def _complain(world: World, state: PolicyState, error: OperatorError) -> None:
    metadata = state.policy.metadata
    regarding: Manifest = {
        "apiVersion": API_VERSION,
        "kind": "BackupPolicy",
        "metadata": {"name": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid},
    }
    await world.events.publish(regarding, "Warning", "NotCatalogued", error.message)
