"""Whether a backup may begin, and with what: its tenant, its policy, a place among those that run."""

from __future__ import annotations

from datetime import timedelta

from odoo_tenancy.api.errors import OperatorError, Refused, Waiting
from odoo_tenancy.api.meta import API_VERSION, Key
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.desired import labels, names
from odoo_tenancy.desired.context import TenantContext
from odoo_tenancy.desired.effective import effective
from odoo_tenancy.reconcile import tenant_login
from odoo_tenancy.reconcile.active_backup import ActiveBackup
from odoo_tenancy.reconcile.backup_memory import PolicyState
from odoo_tenancy.reconcile.backup_policy import address_of
from odoo_tenancy.reconcile.backup_work import BackupPlan
from odoo_tenancy.reconcile.context import context_of
from odoo_tenancy.reconcile.credentials import Vault
from odoo_tenancy.reconcile.diagnosis import is_alive
from odoo_tenancy.reconcile.memory import PoolState, TenantRecord
from odoo_tenancy.reconcile.server_state import ServerState
from odoo_tenancy.reconcile.upkeep_memory import upkeep_runs
from odoo_tenancy.reconcile.world import World
from odoo_tenancy.services.object_store import Purpose, assume_role

NOBODY = Key("TenantBackup", "", "")
"""No backup that there is."""
LOOK_AGAIN = 30.0
"""Seconds until a backup that waits for others is looked at again; those that end wake it sooner."""
_SOON = 5.0
"""The same of a pod that is about to end."""
_MARGIN = timedelta(minutes=15)
"""For which a session outlives the Job that it was made for."""


def record_of(world: World, active: ActiveBackup) -> TenantRecord:
    """The tenant, as far as it is remembered.

    Raises:
        Refused: ``TenantNotFound``, ``TenantDeleted``.
    """
    backup = active.backup
    key = Key("OdooTenant", backup.metadata.namespace, backup.spec.tenant_ref.name)
    record = world.tenants.get(key)
    if record is None:
        raise Refused(
            "TenantNotFound",
            f"There is no OdooTenant {key.namespace}/{key.name} (spec.tenantRef): name one beside this TenantBackup.",
            LOOK_AGAIN,
        )
    if record.going and active.keep is None:
        raise Refused("TenantDeleted", f"OdooTenant {key.namespace}/{key.name} is being deleted.", LOOK_AGAIN)
    return record


def policy_of(world: World, active: ActiveBackup) -> PolicyState | None:
    """The policy that it is made by: its own, or its tenant's."""
    backup, namespace = active.backup, active.backup.metadata.namespace
    if backup.spec.policy_ref is not None:
        return world.policies.get(namespace, backup.spec.policy_ref.name)
    record = world.tenants.get(Key("OdooTenant", namespace, backup.spec.tenant_ref.name))
    return world.policies.get(namespace, record.policy) if record is not None else None


async def plan_of(world: World, active: ActiveBackup) -> BackupPlan:
    """All that its Jobs are told.

    Raises:
        OperatorError: what is missing.
    """
    record = record_of(world, active)
    if active.plan is not None and active.backup.status.phase not in (None, "Pending"):
        return active.plan
    state = _checked(policy_of(world, active), active, record)
    assert state.store is not None
    context, _, _ = await context_for(world, record)
    active.plan = BackupPlan(active.backup, context, state, state.store)
    return active.plan


async def context_for(world: World, record: TenantRecord) -> tuple[TenantContext, Vault, ServerState]:
    """A tenant that has a database, with its vault, and where the database is.

    Raises:
        OperatorError: what is missing.
    """
    pool = world.pools.get(record.pool)
    if pool is None:
        raise Waiting("PoolNotFound", f"HostingPool {record.pool} of the tenant is not there.", LOOK_AGAIN)
    tenant = await _tenant(world, record)
    vault, server = await _vault(world, tenant), server_for(world, tenant, pool)
    return context_of(world, tenant, pool, server, effective(tenant, pool.facts.pool), vault), vault, server


def _checked(state: PolicyState | None, active: ActiveBackup, record: TenantRecord) -> PolicyState:
    named = active.backup.spec.policy_ref
    name = named.name if named is not None else record.policy
    if not name:
        raise Refused(
            "NoPolicy",
            f"Neither this TenantBackup (spec.policyRef) nor OdooTenant {record.key.name} (spec.backup.policyRef) names a "
            "BackupPolicy: name one in either.",
            LOOK_AGAIN,
        )
    if state is None:
        raise Refused(
            "PolicyNotFound",
            f"There is no BackupPolicy {active.backup.metadata.namespace}/{name}: create it, or name another.",
            LOOK_AGAIN,
        )
    if state.problem is not None:
        problem = state.problem
        raise Waiting(problem.reason, f"BackupPolicy {name} can't be used yet: {problem.message}", LOOK_AGAIN)
    return state


async def _tenant(world: World, record: TenantRecord) -> OdooTenant:
    key = record.key
    manifest = await world.cluster.get(ObjectRef(API_VERSION, "OdooTenant", key.namespace, key.name))
    if manifest is None:
        raise Refused("TenantNotFound", f"There is no OdooTenant {key.namespace}/{key.name}.", LOOK_AGAIN)
    return OdooTenant.parse(manifest)


async def _vault(world: World, tenant: OdooTenant) -> Vault:
    """With passwords that those outside know.

    Raises:
        Waiting: ``TenantNotReady``.
    """
    claim = tenant.status.claim
    vault = world.credentials.known(claim)
    if vault is None:
        vault = await world.credentials.open(claim, tenant.key, tenant.metadata.uid) if claim else None
    if vault is None or vault.installed is None or not vault.backup_password_set:
        raise Waiting(
            "TenantNotReady",
            f"OdooTenant {tenant.metadata.name} has no database yet that could be backed up.",
            LOOK_AGAIN,
        )
    return vault


def server_for(world: World, tenant: OdooTenant, pool: PoolState) -> ServerState:
    """Where the tenant's database is.

    Raises:
        OperatorError: it doesn't answer, or nobody has looked at it yet.
    """
    own = tenant.spec.database.placement not in (None, "Pool")
    postgres = world.own_servers.get(tenant.key) if own else pool.postgres
    if postgres is None or postgres.inventory is None:
        raise Waiting("PostgresNotLookedAt", "Its PostgreSQL was not looked at yet.", 5.0)
    if postgres.problem is not None:
        raise postgres.problem
    return postgres


def admit(world: World, active: ActiveBackup) -> None:
    """Give it its place: from now on it counts as running. No await between the question and the answer.

    Raises:
        Waiting: what :func:`check_room` does.
    """
    check_room(world, active)
    world.backups.begin(active.backup.key, record_of(world, active).pool)


def check_room(world: World, active: ActiveBackup) -> None:
    """Whether it might begin now, as far as others are concerned.

    Raises:
        Waiting: ``AnotherBackupRuns`` of the same tenant, ``RestoreRuns``, ``RepositoryMaintained``, or ``PoolBusy``.
        Refused: there is no such tenant.
    """
    key, tenant = active.backup.key, record_of(world, active)
    restore = world.restores.of(tenant.key)
    if restore is not None and restore.safety_backup != key.name:
        raise Waiting(
            "RestoreRuns",
            f"TenantRestore {restore.key.name} has the tenant in its hands: this one is next.",
            LOOK_AGAIN,
        )
    check_not_maintained(world, tenant)
    for other, _ in world.backups.running(but=key):
        record = world.backups.get(other)
        if record is not None and record.tenant == tenant.key:
            raise Waiting(
                "AnotherBackupRuns",
                f"TenantBackup {other.name} of the same tenant runs: this one is next.",
                LOOK_AGAIN,
            )
    pool, beside = world.pools.get(tenant.pool), places_taken(world, tenant.pool, tenant.key, key)
    if pool is not None and beside >= (most := pool.facts.pool.spec.backups.max_concurrent):
        raise Waiting(
            "PoolBusy",
            f"{beside} backups, or verifications of stored ones, run in HostingPool {tenant.pool} of "
            f"spec.backups.maxConcurrent {most}: this one waits until one of them has ended.",
            LOOK_AGAIN,
        )


def places_taken(world: World, pool: str, tenant: Key, backup: Key = NOBODY) -> int:
    """How many of a pool's backups, and of those verified again, run, but for those of this tenant and this backup: budget
    and quota set aside what as many need as ``backups.maxConcurrent`` says."""
    running = world.backups.running(but=backup)
    backups = sum((where or _pool_of(world, other)) == pool for other, where in running)
    return backups + world.upkeep.verifying(pool, but=tenant)


def check_not_maintained(world: World, record: TenantRecord) -> None:
    """
    Raises:
        Waiting: ``RepositoryMaintained``.
    """
    if world.upkeep.works(record.key) or upkeep_runs(world.children, record):
        raise Waiting(
            "RepositoryMaintained",
            "The tenant's repository is being maintained, or a backup in it verified again: this one is next.",
            LOOK_AGAIN,
        )


def _pool_of(world: World, backup: Key) -> str:
    record = world.backups.get(backup)
    tenant = world.tenants.get(record.tenant) if record is not None else None
    return tenant.pool if tenant is not None else ""


def prepared(world: World, plan: BackupPlan) -> bool:
    """Whether this repository was made with these keys."""
    claim = plan.context.claim
    vault = world.credentials.known(claim)
    return plan.keys in (world.prepared.get(claim), vault.prepared if vault is not None else "")


async def is_locked(world: World, plan: BackupPlan) -> bool:
    """Whether restic's locks stand in the repository: of a Job that was killed, it may be. One question for each backup."""
    assert plan.policy.store is not None
    bucket = world.buckets.of(plan.policy.policy.key, address_of(plan.policy.policy, plan.policy.store))
    try:
        async for _ in bucket.objects(f"{plan.path}/locks/"):
            return True
    except OperatorError:
        pass  # a store that does not answer the Job says more of
    return False


async def pods_at_work(world: World, plan: BackupPlan) -> list[str]:
    """Names of the pods that may hold a lock. Asked afresh: all other locks go.

    Raises:
        Waiting: ``RepositoryMaintained``: a maintenance that was told to stop has not ended yet.
    """
    selector = f"{labels.REPOSITORY}={plan.context.claim}"
    alive = [pod for pod in await world.cluster.list("v1", "Pod", label_selector=selector) if is_alive(pod)]
    for pod in alive:
        if pod["metadata"]["labels"].get(labels.COMPONENT) == "maintain":
            raise Waiting(
                "RepositoryMaintained",
                f"Pod {pod['metadata']['name']}, which maintains the tenant's repository, has not ended yet.",
                _SOON,
            )
    return [pod["metadata"]["name"] for pod in alive]


def remember_prepared(world: World, plan: BackupPlan) -> None:
    """The tenant's next look writes it down: two who write one Secret would undo each other."""
    world.prepared[plan.context.claim] = plan.keys
    world.enqueue(plan.context.tenant.key)


async def check_login(world: World, plan: BackupPlan) -> None:
    """Whether the tenant has the Secret that its policy asks for: before a Job is begun, and a place is taken.

    Raises:
        Refused: ``SecretMissing``, ``SecretOfAnotherClaim`` and the like.
    """
    if plan.policy.policy.spec.store.s3.access == "PerTenantSecret":
        await tenant_login.of_plan(world, plan)


async def credentials(world: World, plan: BackupPlan, purpose: Purpose) -> dict[str, str]:
    """What a Job where the tenant runs may get at the store with: the policy's own, the tenant's own, or a session bound to
    what is the tenant's, and to what it is for.

    Raises:
        OperatorError: the store gives no session; the tenant's Secret is missing.
    """
    policy = plan.policy.policy
    s3, address = policy.spec.store.s3, address_of(policy, plan.store)
    if s3.access == "Static":
        return address.credentials.environment
    if s3.access == "PerTenantSecret":
        return (await tenant_login.of_plan(world, plan)).environment
    prefix = names.tenant_prefix(s3.prefix, plan.context.claim)
    lasts = timedelta(seconds=plan.timeout_seconds) + _MARGIN
    name = f"odoo-{plan.context.claim[:16]}"
    session = await assume_role(address, s3.role_arn or "", prefix, purpose, lasts, name)
    return session.environment
