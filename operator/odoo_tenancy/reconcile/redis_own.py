"""RedisReady of a tenant with a Redis of its own, in a namespace beside its pods.

Whether it serves its pods its readiness probe says; what it uses, and whose passwords it takes, the operator asks it, once
a look. Passwords stand in its configuration too, which it reads at its start alone. The kubelet may be a minute late with
that: a server that starts anew in between with the old ones is told again, as its start wakes its tenant.
"""

from __future__ import annotations

from dataclasses import replace

from odoo_tenancy.api.errors import Unavailable, Waiting
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.api.types import parse_quantity
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.cluster.readiness import Rollout, Volume
from odoo_tenancy.desired import dedicated_redis as desired
from odoo_tenancy.desired import labels, names
from odoo_tenancy.desired.context import RedisAccess
from odoo_tenancy.desired.dedicated_redis import DedicatedRedis
from odoo_tenancy.reconcile import diagnosis, redis_certificate, redis_quota
from odoo_tenancy.reconcile.credentials import Vault
from odoo_tenancy.reconcile.filestore import apply_volume
from odoo_tenancy.reconcile.look import Look
from odoo_tenancy.reconcile.memory import OwnRedis, PoolState
from odoo_tenancy.reconcile.world import World, written
from odoo_tenancy.services.redis import (
    DedicatedUser,
    RedisAddress,
    RedisCertificateRefused,
    RedisPasswordRejected,
    RedisPrivilegeMissing,
    Seen,
    hash_password,
)


async def certified(
    world: World, tenant: OdooTenant, state: PoolState, vault: Vault, placement: str
) -> Vault:
    """The vault with the server's certificate and the operator's login, where the tenant has such a server; without
    them where it has not.

    Raises:
        Unavailable: ``CertificateNotMade``.
    """
    known = vault.redis_certificate
    if placement != "Dedicated":
        return vault if known is None else replace(vault, redis_certificate=None, redis_operator_password="")
    host = desired.host(tenant, state.facts.pool.spec.namespace)
    now = await redis_certificate.current(known, host, world.now())
    if now is known and vault.redis_operator_password:
        return vault
    return replace(vault, redis_certificate=now, redis_operator_password=world.token(32))


def access(tenant: OdooTenant, state: PoolState, vault: Vault) -> RedisAccess:
    """How the tenant's pods reach its own server."""
    assert vault.redis_certificate is not None
    ca = vault.redis_certificate.authority.certificate.decode()
    return desired.access(tenant, state.facts.pool.spec.namespace, vault.claim, ca)


async def stage(look: Look) -> None:
    """One look at the server.

    Raises:
        OperatorError: what keeps it from running, or ``Waiting`` while it starts.
    """
    wait_for_a_namespace_that_goes(look, desired.data_namespace(look.context))
    await look.apply(desired.fences(look.context))
    redis = _wanted(look)
    await apply_volume(look, [desired.volume(look.context, redis)], "spec.redis.maxMemory")
    manifests = desired.build(look.context, redis, stopped=look.tenant.spec.suspended)
    await look.apply(manifests)
    server = ObjectRef.of(manifests[-1])
    child = look.world.children.get(server)
    rollout = child.readiness if child is not None else None
    if not isinstance(rollout, Rollout) or not rollout.complete:
        await _explain(look, server, rollout if isinstance(rollout, Rollout) else None)
    if look.tenant.spec.suspended:
        look.report.good(
            "RedisReady", "Suspended", "Its own Redis is stopped, as spec.suspended asks; its data stays"
        )
        return
    seen = await _ask(look)
    where = desired.data_namespace(look.context)
    _note_what_is_used(look, seen.used_bytes)
    look.report.good(
        "RedisReady", "Ready", f"Its own Redis in namespace {where} answers, and its user is right"
    )


async def let_in(look: Look) -> None:
    """Make it take the passwords of the vault, from now on and after its next start.

    Raises:
        OperatorError: it doesn't answer.
    """
    await look.apply([desired.config_secret(look.context, _wanted(look))])
    if not look.tenant.spec.suspended:
        await _ask(look)


async def give_back(look: Look) -> None:
    """The namespace of a server that the tenant has no more goes, and its data with it: sessions and caches.

    To be called when the tenant's pods don't use it any more.
    """
    ref = ObjectRef("v1", "Namespace", "", desired.data_namespace(look.context))
    if ref in look.keep:  # there is another server in it
        ref = ObjectRef("v1", "PersistentVolumeClaim", ref.name, desired.VOLUME)
    child = look.world.children.get(ref)
    if child is None or child.owner.uid != look.owner.uid:
        return
    look.world.own_redis.pop(look.key, None)
    others = {child.ref for child in look.world.children.of(look.owner)} - {ref}
    look.changes.extend(written(await look.world.applier.prune(look.owner, others, including_data=True)))


async def _ask(look: Look) -> Seen:
    """One look at the server itself: its user as it should be, and what it uses.

    Raises:
        OperatorError: it doesn't answer, or doesn't know the operator.
    """
    vault, context, certificate = look.vault, look.context, look.vault.redis_certificate
    assert certificate is not None
    address = RedisAddress(
        host=certificate.host,
        port=desired.PORT,
        username=desired.OPERATOR,
        password=vault.redis_operator_password,
        ca_pem=certificate.authority.certificate.decode(),
    )
    wanted = DedicatedUser(names.redis_user(context.claim), _hashes(vault), desired.USER_RULES, desired.MODEL)
    try:
        seen = await look.world.connect_dedicated_redis(address).ensure(wanted)
    except (RedisPasswordRejected, RedisPrivilegeMissing, RedisCertificateRefused) as error:
        where = desired.data_namespace(context)
        raise type(error)(
            f"The tenant's own Redis at {address} is not as its configuration says ({error.reason} for its user "
            f"{desired.OPERATOR}): somebody changed it by hand. It reads its configuration anew when it starts: "
            f"kubectl delete pod -n {where} {desired.NAME}-0. Odoo answers with 503 for that time."
        ) from error
    await _tell_what_was_changed(look, OwnRedis(wanted, seen.run_id), seen)
    return seen


async def _tell_what_was_changed(look: Look, now: OwnRedis, seen: Seen) -> None:
    """A start with older passwords, and ours that are new, are nobody's doing."""
    before, look.world.own_redis[look.key] = look.world.own_redis.get(look.key), now
    if seen.differences:
        look.changes.append(f"applied redis user {now.user.name}")
        if before == now:
            await look.report_drift_of("Redis", seen.differences)


def _note_what_is_used(look: Look, used: int) -> None:
    """The metric has it exactly; the status what is news."""
    look.world.redis_used(look.key, used)
    told, limit = look.tenant.status.redis.used_bytes, parse_quantity(look.tenant.spec.redis.max_memory)
    if not told or abs(used - told) >= redis_quota.NEWS * float(limit):
        look.redis_used = used


def _hashes(vault: Vault) -> tuple[str, ...]:
    return tuple(map(hash_password, vault.redis_passwords))


def wait_for_a_namespace_that_goes(look: Look, where: str) -> None:
    """Of a tenant's own servers.

    Raises:
        Waiting: ``NamespaceTerminating``.
    """
    child = look.world.children.get(ObjectRef("v1", "Namespace", "", where))
    if child is not None and child.terminating:
        raise Waiting(
            "NamespaceTerminating",
            f"Namespace {where} was deleted and goes away; it is made anew when it is gone.",
            look.world.options.look_again,
        )


def _wanted(look: Look) -> DedicatedRedis:
    """What was generated and chosen; of the volume what can't be undone stays as it is."""
    context, certificate = look.context, look.vault.redis_certificate
    assert certificate is not None
    ref = ObjectRef("v1", "PersistentVolumeClaim", desired.data_namespace(context), desired.VOLUME)
    child = look.world.children.get(ref)
    volume = child.readiness if child is not None and isinstance(child.readiness, Volume) else None
    least = desired.least_storage(context)
    storage, class_name = desired.quantity(least), context.pool.pool.spec.storage.storage_class_name or ""
    if volume is not None:
        class_name = volume.storage_class
        if volume.requested and parse_quantity(volume.requested) >= least:
            storage = volume.requested
    return DedicatedRedis(
        image=look.world.options.redis_image,
        password_hashes=_hashes(look.vault),
        operator_hash=hash_password(look.vault.redis_operator_password),
        certificate=certificate.server.certificate,
        key=certificate.server.key,
        ca=certificate.authority.certificate,
        storage=storage,
        storage_class_name=class_name,
    )


async def _explain(look: Look, server: ObjectRef, rollout: Rollout | None) -> None:
    """Say why it doesn't run as it should."""
    if rollout is not None and rollout.observed:
        selector = labels.of_component(look.context.uid, desired.NAME)
        live = await diagnosis.pods(look.world.cluster, server.namespace, selector)
        problem = await diagnosis.why_not_running(look.world.cluster, live)
        if problem is not None:
            raise problem
        if look.held("RedisReady", "Ready"):
            raise Unavailable(
                "RedisNotAnswering",
                f"{server} ran, and its probe gets no answer now: it is started anew where it doesn't come back. "
                f"kubectl logs -n {server.namespace} {desired.NAME}-0 shows its words. Odoo answers with 503 meanwhile.",
                look.world.options.look_again * 5,
            )
    raise Waiting(
        "RedisStarting",
        f"{server} starts: its volume is bound, its image pulled, its append-only file read.",
        look.world.options.look_again * 5,
    )


def uses_data_namespace(look: Look) -> str:
    """The namespace beside the tenant's, where it has one; else empty."""
    effective = look.context.effective
    if "Dedicated" not in (effective.redis_placement, effective.database_placement):
        return ""
    return names.data_namespace(look.tenant, look.pool.facts.pool.spec.namespace)
