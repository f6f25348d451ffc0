"""A PostgreSQL of a Dedicated tenant's own, made by CloudNativePG in a namespace beside its pods.

Here is what differs from a server that somebody else runs (``postgres_own.py``): it is made, waited for, and kept or
given up at the end.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import NoReturn

from odoo_tenancy.api.errors import OperatorError, Refused, Unavailable, Waiting
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.cluster.objects import ObjectRef, Owner
from odoo_tenancy.cluster.readiness import Instances
from odoo_tenancy.desired import dedicated_postgres as desired
from odoo_tenancy.desired import dedicated_redis, labels
from odoo_tenancy.desired.context import Peer
from odoo_tenancy.desired.dedicated_postgres import DedicatedPostgres
from odoo_tenancy.reconcile.credentials import RETAINED, Vault
from odoo_tenancy.reconcile.look import Look, owner_of
from odoo_tenancy.reconcile.redis_own import wait_for_a_namespace_that_goes
from odoo_tenancy.reconcile.server_state import ServerState
from odoo_tenancy.reconcile.world import World
from odoo_tenancy.services.postgres import PostgresAddress

LOOK_AGAIN = 30.0
"""Seconds: CloudNativePG that is installed is seen by the next look."""
_ENDPOINTS = ObjectRef("discovery.k8s.io/v1", "EndpointSlice", "default", "kubernetes")
_RAN = ("Ready", "Degraded", "Suspended")


def with_password(world: World, tenant: OdooTenant, vault: Vault) -> Vault:
    """The vault with the admin's password, where the tenant has such a server."""
    if tenant.spec.database.placement != "Dedicated" or vault.server_password:
        return vault
    return replace(vault, server_password=world.token(32))


async def address(
    world: World, tenant: OdooTenant, postgres: ServerState, where: str, vault: Vault
) -> PostgresAddress | None:
    """Where the server is, from what CloudNativePG made in ``where``; ``None`` before it did.

    Nothing is believed that is in a namespace of somebody else's.

    Raises:
        Unavailable: ``AuthorityMissing``: a tenant that runs must not be given a configuration without it.
    """
    postgres.peers = (desired.peer(where),)
    if not has_namespace(world, tenant, where):
        return None
    return await published(world, tenant, where, vault)


def has_namespace(world: World, tenant: OdooTenant, where: str) -> bool:
    """Whether the namespace is there, and this tenant's."""
    return _owner(world, ObjectRef("v1", "Namespace", "", where)) == owner_of(tenant)


async def published(world: World, tenant: OdooTenant, where: str, vault: Vault) -> PostgresAddress | None:
    """The same, of a namespace that was just seen to be the tenant's.

    Raises:
        Unavailable: ``AuthorityMissing``.
    """
    live = await world.cluster.get(ObjectRef("v1", "Secret", where, desired.AUTHORITY))
    ca = base64.b64decode(((live or {}).get("data") or {}).get("ca.crt", "")).decode()
    if not ca:
        if tenant.status.phase in _RAN:
            raise Unavailable(
                "AuthorityMissing",
                f"Secret {where}/{desired.AUTHORITY}, which CloudNativePG keeps, has no ca.crt: what runs is left as it is "
                "until it is back.",
                10.0,
            )
        return None
    return PostgresAddress(
        host=desired.host(where),
        port=desired.PORT,
        username=desired.ADMIN,
        password=vault.server_password,
        sslmode="verify-full",
        ca_pem=ca,
    )


def nobody_is_there(world: World, where: str) -> OperatorError | None:
    """That no instance is ready, where CloudNativePG says so: a look need not wait for a connection that can't be."""
    instances = _instances(world, where)
    if instances is None or instances.ready > 0:
        return None
    return Waiting("DatabaseServerStarting", f"Cluster {where}/{desired.NAME}: {instances}.", 10.0)


async def stage(look: Look) -> None:
    """Make the Cluster, and wait until it answers; it is part of DatabaseReady.

    Raises:
        Refused: ``CloudNativePGNotInstalled``.
        Waiting: ``DatabaseServerStarting``, with CloudNativePG's own words.
    """
    where = _where(look)
    wait_for_a_namespace_that_goes(look, where)
    await look.apply(dedicated_redis.fences(look.context))
    try:
        await look.apply(desired.build(look.context, await _wanted(look)))
    except OperatorError as error:
        if error.reason != "KindNotServed":
            raise
        raise Refused(
            "CloudNativePGNotInstalled",
            "spec.database.placement is Dedicated, which needs CloudNativePG, and this cluster does not serve its kind "
            f"Cluster ({desired.API_VERSION}): install it (https://cloudnative-pg.io), or make a new OdooTenant with "
            "another placement.",
            LOOK_AGAIN,
        ) from error
    instances = instances_of(look)
    whole = instances is not None and instances.complete
    if look.postgres.problem is None and look.postgres.inventory is not None and (whole or look.initialized):
        return
    if look.postgres.problem is not None and whole:
        raise look.postgres.problem
    said = "CloudNativePG has not looked at it yet" if instances is None else str(instances)
    raise Waiting(
        "DatabaseServerStarting",
        f"Cluster {where}/{desired.NAME}: {said}. It is waited for.",
        look.world.options.look_again * 5,
    )


def say(look: Look) -> None:
    """After all is well with the database: that one more failure would not be, where instances are missing."""
    found, instances = look.report.findings.get("DatabaseReady"), instances_of(look)
    if found is None or found.reason != "Ready" or instances is None or instances.complete:
        return
    look.report.good(
        "DatabaseReady",
        "InstancesMissing",
        f"It answers, but Cluster {_where(look)}/{desired.NAME} is not whole: {instances}",
    )


def instances_of(look: Look) -> Instances | None:
    """What CloudNativePG says of the Cluster; ``None``: nothing yet."""
    return _instances(look.world, _where(look))


async def retain(world: World, tenant: OdooTenant, where: str, claim: str) -> None:
    """Leave the Cluster and its namespace to nobody, marked with the claim: from then on they are not the tenant's to
    be pruned. May be cut short anywhere; the namespace comes last."""
    owner, since = owner_of(tenant), world.now().isoformat(timespec="seconds")
    refs = [ObjectRef(api_version, kind, where, name) for api_version, kind, name in desired.retained()]
    gone = dict.fromkeys(
        (labels.INSTANCE, labels.MANAGED_BY, labels.TENANT, labels.TENANT_NAMESPACE, labels.TENANT_UID)
    )
    patch: Manifest = {
        "metadata": {"labels": {**gone, labels.CLAIM: claim}, "annotations": {RETAINED: since}},
    }
    for ref in (*refs, ObjectRef("v1", "Namespace", "", where)):
        live = await world.cluster.get(ref)
        if live is not None and owner.owns(live):
            await world.cluster.merge_patch(ref, patch)
        if _owner(world, ref) == owner:
            world.children.drop(ref)


async def take_back(world: World, tenant: OdooTenant, where: str, claim: str) -> None:
    """Make what :func:`retain` left this tenant's. May be cut short anywhere: the deletion of a tenant that came no
    further leaves it again.

    Raises:
        Refused: ``NothingToAdopt``; ``DataNamespaceDiffers``: it is in another namespace than this tenant's would be.
    """
    owner, home = owner_of(tenant), ObjectRef("v1", "Namespace", "", where)
    cluster = ObjectRef(desired.API_VERSION, "Cluster", where, desired.NAME)
    live = await world.cluster.get(home)
    if live is None or not _left_by(live, claim, owner):
        await _refuse_to_look_elsewhere(world, where, claim)
    found = await world.cluster.get(cluster)
    if found is None or not _left_by(found, claim, owner):
        raise Refused(
            "NothingToAdopt",
            f"spec.adopt.claim {claim}: {cluster} of that claim is gone from its namespace, and its data with it: restore "
            "it from a backup into a tenant without adopt.",
        )
    theirs = labels.for_tenant(tenant, desired.NAME)
    marks = {each: theirs[each] for each in (labels.TENANT, labels.TENANT_NAMESPACE, labels.TENANT_UID)}
    patch: Manifest = {"metadata": {"labels": marks, "annotations": {RETAINED: None}}}
    refs = [ObjectRef(api_version, kind, where, name) for api_version, kind, name in desired.retained()]
    for ref in (*refs, home):
        live = await world.cluster.get(ref)
        if live is not None and _left_by(live, claim, owner) and not owner.owns(live):
            await world.cluster.merge_patch(ref, patch)


def _left_by(live: Manifest, claim: str, owner: Owner) -> bool:
    """Whether a former tenant of the claim left it; or we have taken it already, in a look that was cut short."""
    meta = live["metadata"]
    if meta.get("deletionTimestamp") or (meta.get("labels") or {}).get(labels.CLAIM) != claim:
        return False
    return owner.owns(live) or (Owner.of(live) is None and RETAINED in (meta.get("annotations") or {}))


async def _refuse_to_look_elsewhere(world: World, where: str, claim: str) -> NoReturn:
    """Volumes can't move between namespaces, and so neither can the server."""
    live = await world.cluster.list("v1", "Namespace", label_selector=f"{labels.CLAIM}={claim}")
    left = [m["metadata"]["name"] for m in live if RETAINED in (m["metadata"].get("annotations") or {})]
    if not left:
        raise Refused(
            "NothingToAdopt",
            f"spec.adopt.claim {claim}: no PostgreSQL of a tenant's own was left with that claim: mend the claim, or "
            "spec.database.placement, if its database was on another server.",
        )
    raise Refused(
        "DataNamespaceDiffers",
        f"spec.adopt.claim {claim}: its PostgreSQL was left in namespace {left[0]}, and this tenant's would be in {where}. "
        f"It can't move: create the OdooTenant with spec.namespace: {left[0].removesuffix('-data')}.",
    )


async def _wanted(look: Look) -> DedicatedPostgres:
    options = look.world.options
    return DedicatedPostgres(
        password=look.vault.server_password,
        image=options.postgres_image,
        operator_namespace=options.cloudnative_pg_namespace,
        api_server=await _api_server(look.world),
    )


async def _api_server(world: World) -> tuple[Peer, ...]:
    """By its addresses behind its Service: a NetworkPolicy is held against those."""
    live = await world.cluster.get(_ENDPOINTS)
    if live is None:
        raise Waiting(
            "NoApiServerEndpoints", f"{_ENDPOINTS}, which says where the API server is, is missing.", 10.0
        )
    ports = tuple(sorted(each["port"] for each in live.get("ports") or ()))
    addresses = sorted(a for each in live.get("endpoints") or () for a in each["addresses"])
    bits = 128 if live.get("addressType") == "IPv6" else 32
    return tuple(Peer(cidr=f"{each}/{bits}", ports=ports) for each in addresses)


def _instances(world: World, where: str) -> Instances | None:
    child = world.children.get(ObjectRef(desired.API_VERSION, "Cluster", where, desired.NAME))
    return child.readiness if child is not None and isinstance(child.readiness, Instances) else None


def _where(look: Look) -> str:
    return desired.data_namespace(look.tenant, look.pool.facts.pool.spec.namespace)


def _owner(world: World, ref: ObjectRef) -> Owner | None:
    child = world.children.get(ref)
    return child.owner if child is not None else None
