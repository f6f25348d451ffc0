"""Whether a restore may begin, and with what: its tenant, the backup that is meant, and nobody else at work there."""

from __future__ import annotations

from dataclasses import replace

from odoo_tenancy.api.backup import TenantBackup
from odoo_tenancy.api.errors import Waiting
from odoo_tenancy.api.meta import API_VERSION, Key
from odoo_tenancy.cluster.finalizer import add_finalizer
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.desired import names
from odoo_tenancy.reconcile import restore_status
from odoo_tenancy.reconcile.active_restore import ActiveRestore, RestoreEnded, RestorePlace
from odoo_tenancy.reconcile.backup_begin import check_login, check_not_maintained, context_for
from odoo_tenancy.reconcile.backup_memory import BackupRecord, PolicyState
from odoo_tenancy.reconcile.backup_place import may_lie_here
from odoo_tenancy.reconcile.backup_work import BackupPlan
from odoo_tenancy.reconcile.database import server_of
from odoo_tenancy.reconcile.memory import TenantRecord
from odoo_tenancy.reconcile.restore_memory import TURN, RestoreRecord
from odoo_tenancy.reconcile.tenant_database import database_of
from odoo_tenancy.reconcile.world import World
from odoo_tenancy.services.postgres import ReadOnlyAccess

LOOK_AGAIN = 30.0
"""Seconds until one that waits is looked at again; what it waits for wakes it sooner, where that can."""


async def begin(world: World, active: ActiveRestore) -> None:
    """Take the tenant into its hands, and write down which backup is meant. Nothing is touched yet.

    Raises:
        RestoreEnded: it never can.
        OperatorError: what it waits for.
    """
    record = record_of(world, active)
    check_turn(world, active.owner.key, record.pool)
    check_not_maintained(world, record)
    holder = world.restores.begin(active.owner.key, active.tenant)
    if holder is not None:
        raise Waiting(
            "AnotherRestoreRuns",
            f"TenantRestore {holder.name} has OdooTenant {active.tenant.name} in its hands: this one is next.",
            LOOK_AGAIN,
        )
    try:
        source = _wanted(world, active)
        place = await place_of(world, active)
        await check_login(world, await plan_of(world, active, place, source.key.name))
        await _check_at_rest(world, active, place)
        active.became(await add_finalizer(world.cluster, active.manifest))
        point = source.recovery_point
        assert point is not None
        await restore_status.enters(
            world,
            active,
            "SafetyBackup",
            backup=source.key.name,
            recoveryPoint=point.strftime("%Y-%m-%dT%H:%M:%SZ"),
            safetyBackup=active.safety_backup,
        )
    except BaseException:
        world.restores.give_way(active.owner.key, active.tenant)
        raise


def check_turn(world: World, key: Key, pool: str) -> None:
    """Whether it is this one's turn: of a pool's restores ``backups.maxConcurrent`` run at once, the oldest first. One that
    waits for something else holds nobody up meanwhile.

    Raises:
        Waiting: ``PoolBusy``.
    """
    state = world.pools.get(pool)
    if state is None:
        return
    most = state.facts.pool.spec.backups.max_concurrent
    run = [each for each in world.restores.at_work() if each.key != key and _pool_of(world, each) == pool]
    before = [each for each in world.restores.before(key) if _pool_of(world, each) == pool]
    if len(run) + len(before) < most:
        return
    first = before[0].key if before else None
    turn = (
        f"{len(before)} are before this one, and {first.namespace}/{first.name} is next"
        if first
        else "this one is next"
    )
    raise Waiting(
        TURN,
        f"{len(run)} restores run in HostingPool {pool} of spec.backups.maxConcurrent {most}: {turn}.",
        LOOK_AGAIN,
    )


def _pool_of(world: World, restore: RestoreRecord) -> str:
    tenant = world.tenants.get(restore.tenant)
    return tenant.pool if tenant is not None else ""


def record_of(world: World, active: ActiveRestore) -> TenantRecord:
    """The tenant, as far as it is remembered.

    Raises:
        RestoreEnded: ``TenantNotFound``, ``TenantDeleted``.
    """
    tenant = active.tenant
    record = world.tenants.get(tenant)
    if record is None:
        raise RestoreEnded(
            "TenantNotFound",
            f"There is no OdooTenant {tenant.namespace}/{tenant.name} (spec.tenantRef): name one that is beside this "
            "TenantRestore.",
        )
    if record.going:
        raise RestoreEnded("TenantDeleted", f"OdooTenant {tenant.namespace}/{tenant.name} is being deleted.")
    return record


def _wanted(world: World, active: ActiveRestore) -> BackupRecord:
    """The backup that is meant, once it counts.

    Raises:
        RestoreEnded: ``NoBackup``, ``BackupNotFound``, ``BackupOfAnotherTenant``, ``BackupNotGood``.
        Waiting: ``BackupRuns``.
    """
    named = active.restore.spec.source.backup_ref
    if named is None:
        return _latest(world, active)
    record = world.backups.get(Key("TenantBackup", active.tenant.namespace, named.name))
    if record is None:
        raise RestoreEnded(
            "BackupNotFound",
            f"There is no TenantBackup {active.tenant.namespace}/{named.name}: name another one.",
        )
    if record.tenant != active.tenant:
        raise RestoreEnded(
            "BackupOfAnotherTenant",
            f"TenantBackup {named.name} is of OdooTenant {record.tenant.name}, not of {active.tenant.name}: name one of "
            "this tenant's. Another tenant's data belongs into a new tenant.",
        )
    if not record.finished:
        raise Waiting("BackupRuns", f"TenantBackup {named.name} is not finished yet.", LOOK_AGAIN)
    if not record.recoverable:
        raise RestoreEnded(
            "BackupNotGood",
            f"TenantBackup {named.name} is {record.phase} and was not found good when it was last read back: name one that "
            "was (kubectl get otb).",
        )
    return record


def _latest(world: World, active: ActiveRestore) -> BackupRecord:
    tenant = record_of(world, active)
    good = [
        record
        for record in world.backups.of_tenant(active.tenant)
        if record.counts(world.now()) and _is_of(world, tenant, record)
    ]
    if not good:
        raise RestoreEnded(
            "NoBackup",
            f"OdooTenant {active.tenant.name} has no TenantBackup that was completed and found good.",
        )
    return max(good, key=lambda record: (record.recovery_point, record.created))


def _is_of(world: World, tenant: TenantRecord, record: BackupRecord) -> bool:
    """Not of a former tenant of this name, nor from where its policy kept backups in former days."""
    state = world.policies.get(tenant.key.namespace, record.policy or tenant.policy)
    if state is None:
        return record.claim == tenant.claim
    return may_lie_here(world.policies, record, tenant.claim, state.policy)


async def place_of(world: World, active: ActiveRestore) -> RestorePlace:
    """Where it works: looked up at each look, as passwords and servers may be others by now.

    Raises:
        RestoreEnded: ``TenantNotFound``.
        OperatorError: what is missing.
    """
    record = world.tenants.get(active.tenant)
    if record is None:
        raise RestoreEnded("TenantNotFound", f"There is no OdooTenant {active.tenant.name} any more.")
    context, _, postgres = await context_for(world, record)
    server, _ = server_of(postgres)
    readers = context.effective.read_only_connections
    wanted = replace(
        database_of(context.claim, context.effective.connections.limit, context.credentials.login_slot),
        read_only=ReadOnlyAccess(readers) if readers else None,
    )
    new, former = (
        names.new_database(context.claim, active.uid),
        names.former_database(context.claim, active.uid),
    )
    return RestorePlace(context, postgres, server, wanted, new, former)


async def plan_of(world: World, active: ActiveRestore, place: RestorePlace, backup: str) -> BackupPlan:
    """The stored backup, with the policy by which it was made.

    Raises:
        RestoreEnded: it is gone, or of another claim: of a former tenant of this name.
        Waiting: ``PolicyNotFound``, or what is wrong with the policy.
    """
    namespace = active.tenant.namespace
    manifest = await world.cluster.get(ObjectRef(API_VERSION, "TenantBackup", namespace, backup))
    if manifest is None:
        raise RestoreEnded("BackupNotFound", f"TenantBackup {namespace}/{backup} is gone: name another one.")
    stored = TenantBackup.parse(manifest)
    policy = _policy(world, active, stored)
    assert policy.store is not None
    plan = BackupPlan(stored, place.context, policy, policy.store)
    if not stored.status.manifest.key.startswith(f"{plan.prefix}/"):
        raise RestoreEnded(
            "BackupOfAnotherTenant",
            f"TenantBackup {backup} lies at {stored.status.manifest.key}, not below {plan.prefix}, which is this tenant's: "
            "it is of a former tenant of this name, or of another policy. Restore it into a new tenant.",
        )
    return plan


def _policy(world: World, active: ActiveRestore, stored: TenantBackup) -> PolicyState:
    named, record = stored.spec.policy_ref, world.tenants.get(active.tenant)
    name = named.name if named is not None else (record.policy if record is not None else "")
    state = world.policies.get(active.tenant.namespace, name) if name else None
    if state is None:
        raise Waiting(
            "PolicyNotFound",
            f"There is no BackupPolicy {active.tenant.namespace}/{name or '(none is named)'}, by which TenantBackup "
            f"{stored.metadata.name} was made: create it.",
            LOOK_AGAIN,
        )
    if state.problem is not None:
        problem = state.problem
        raise Waiting(problem.reason, f"BackupPolicy {name} can't be used yet: {problem.message}", LOOK_AGAIN)
    return state


async def _check_at_rest(world: World, active: ActiveRestore, place: RestorePlace) -> None:
    """Nothing else changes who the tenant logs in as, or what as, meanwhile.

    Raises:
        Waiting: ``RotatingCredentials``, ``DatabaseFull``.
    """
    vault = world.credentials.known(place.context.claim)
    if vault is not None and vault.rotation is not None:
        raise Waiting(
            "RotatingCredentials", "The tenant's passwords are being changed: this one is next.", LOOK_AGAIN
        )
    found = place.postgres.inventory
    if found is not None and place.wanted.restricted_role in found.roles:
        raise Waiting(
            "DatabaseFull",
            "The tenant's database is full, so nobody may fill another one in its name: raise spec.database.maxSize of the "
            "OdooTenant first.",
            LOOK_AGAIN,
        )
