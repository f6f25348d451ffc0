"""The backup that a tenant with ``deletion.policy: Backup`` ends with. As long as there is none that was read back and
found good, nothing of the tenant goes.

Nothing can be made beside an OdooTenant whose namespace goes away too, so there is no TenantBackup of it: its record is in
the tenant's vault, and what it needs of the policy as well (``kept_policy.py``). Its Jobs are those of any other backup.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from odoo_tenancy.api.errors import OperatorError, Refused, Unavailable, Waiting
from odoo_tenancy.api.meta import API_VERSION, Manifest
from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.desired import names
from odoo_tenancy.desired.effective import effective
from odoo_tenancy.reconcile import backup_begin, backup_run, backup_status, kept_policy, postgres_own
from odoo_tenancy.reconcile.active_backup import ActiveBackup
from odoo_tenancy.reconcile.backup_memory import PolicyState
from odoo_tenancy.reconcile.backup_policy import address_of
from odoo_tenancy.reconcile.backup_run import JobEnded
from odoo_tenancy.reconcile.backup_work import BackupPlan
from odoo_tenancy.reconcile.context import context_of
from odoo_tenancy.reconcile.credentials import Vault, secret
from odoo_tenancy.reconcile.look import owner_of, vault_labels
from odoo_tenancy.reconcile.memory import PoolState
from odoo_tenancy.reconcile.server_state import ServerState
from odoo_tenancy.reconcile.tenant_backup import BackupReconciler
from odoo_tenancy.reconcile.world import World
from odoo_tenancy.services.object_store import BucketAddress

FIRST_PAUSE = timedelta(minutes=5)
"""After an attempt that failed; then twice as long each time."""
LONGEST_PAUSE = timedelta(hours=1)
LOOK_AGAIN = 15.0
"""Seconds until it is tried again to begin."""
_ATTEMPT = "attempt"
_BASIS = "basis"
"""Annotations of the record: how many there were, and what the last one was made by."""


@dataclass
class LastBackup:
    """One look at it. May be cut short anywhere."""

    world: World
    tenant: OdooTenant
    vault: Vault

    async def make(self) -> tuple[str, ...]:
        """What was done, once there is a good one; nothing of a tenant that has no database yet, or whose was made before.

        Raises:
            OperatorError: what it waits for, or why it failed, and what to do.
        """
        if self.vault.installed is None:
            return ()
        active = self._known()
        if active is not None and active.backup.status.phase == "Completed":
            await clear_away(self.world, self.tenant)
            return ()
        try:
            if active is None or active.backup.status.phase == "Failed":
                active = await self._begin(active)
            await self._go_on(active)
        except OperatorError as error:
            raise _explained(error) from error
        return (await self._completed(active),)

    def _known(self) -> ActiveBackup | None:
        """As this process left it, or a former one."""
        if not self.vault.last_backup:
            return None
        known, kept = self.world.last_backups.get(self.vault.claim), json.loads(self.vault.last_backup)
        if known is None or known.backup.metadata.uid != kept["metadata"]["uid"]:
            known = ActiveBackup.of(kept)
            self.world.last_backups[self.vault.claim] = known
        known.keep = self._keep
        return known

    async def _begin(self, before: ActiveBackup | None) -> ActiveBackup:
        """Another attempt, written down before anything of it is made. What can't be is not begun."""
        attempt = 1
        if before is not None:
            self._check_pause(before)
            attempt = _attempt(before) + 1
        state = self._policy()
        assert state.store is not None
        prefix = state.policy.spec.store.s3.prefix
        bucket = self.world.buckets.of(state.policy.key, self._address(state))
        await bucket.clock(f"{prefix}/" if prefix else "")
        active = ActiveBackup.of(self._record(attempt))
        active.keep = self._keep
        await self._keep(active.manifest)
        self.world.last_backups[self.vault.claim] = active
        return active

    def _check_pause(self, failed: ActiveBackup) -> None:
        """A new one at once where tenant or policy say something else now, else after a while.

        Raises:
            Unavailable: why the last one failed.
        """
        status, annotations = failed.backup.status, failed.backup.metadata.annotations
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (min(_attempt(failed), 10) - 1))
        left = (status.completion_time or self.world.now()) + pause - self.world.now()
        if annotations.get(_BASIS) != self._basis or left <= timedelta():
            return
        ready = next((c for c in status.conditions if c.type == "Ready"), None)
        raise Unavailable(
            ready.reason if ready else "BackupFailed",
            f"{ready.message if ready else 'It failed'} The next attempt begins in {left / timedelta(minutes=1):.0f} min, "
            "or as soon as the spec of the tenant or of its BackupPolicy changes.",
            max(1.0, left.total_seconds()),
        )

    async def _go_on(self, active: ActiveBackup) -> None:
        world = self.world
        if active.backup.status.phase == "Pending":
            backup_begin.check_room(world, active)
        active.plan = active.plan or await self._plan(active)
        if active.backup.status.phase == "Pending":
            await backup_begin.check_login(world, active.plan)
            backup_begin.admit(world, active)
        else:
            world.backups.begin(active.backup.key, self.tenant.spec.pool_ref.name)
        try:
            await BackupReconciler(world).carry_out(active, active.plan)
        except JobEnded as ended:
            await backup_status.failed(world, active, ended.reason, ended.message, ended.verification)
            await backup_run.hide_credentials(world, active)
            world.backups.end(active.backup.key)
            message = (
                f"{ended.message} It is tried again in {FIRST_PAUSE / timedelta(minutes=1):.0f} min or later."
            )
            raise Unavailable(ended.reason, message, LOOK_AGAIN) from ended

    async def _completed(self, active: ActiveBackup) -> str:
        key, status = active.backup.key, active.backup.status
        await clear_away(self.world, self.tenant)
        await self.world.events.publish(
            {"apiVersion": API_VERSION, "kind": "OdooTenant", "metadata": self._who()},
            "Normal",
            "LastBackupMade",
            f"The last backup, {key.name} of {status.recovery_point}, is stored and was read back: {status.manifest.key}",
        )
        return f"last backup {key.name}"

    async def _plan(self, active: ActiveBackup) -> BackupPlan:
        world, tenant, state = self.world, self.tenant, self._policy()
        assert state.store is not None
        pool = world.pools.get(tenant.spec.pool_ref.name)
        if pool is None:
            raise Waiting(
                "PoolNotFound", f"HostingPool {tenant.spec.pool_ref.name} is not there.", LOOK_AGAIN
            )
        vault = await world.credentials.open(self.vault.claim, tenant.key, tenant.metadata.uid)
        postgres = await self._server(pool, vault)
        context = context_of(world, tenant, pool, postgres, effective(tenant, pool.facts.pool), vault)
        known = replace(state, login=kept_policy.login_of(self.vault))
        return BackupPlan(active.backup, context, known, state.store, last=True)

    async def _server(self, pool: PoolState, vault: Vault) -> ServerState:
        world, tenant = self.world, self.tenant
        found: ServerState | None = pool.postgres
        if tenant.spec.database.external is not None:
            found = await postgres_own.at_the_end(world, tenant)
        elif tenant.spec.database.placement == "Dedicated":
            where = names.data_namespace(tenant, pool.facts.pool.spec.namespace)
            found = await postgres_own.made_at_the_end(world, tenant, where, vault)
        if found is None or found.server is None:
            raise Waiting("PostgresNotLookedAt", "Its PostgreSQL was not looked at yet.", LOOK_AGAIN)
        if found.problem is not None:
            raise found.problem
        return found

    def _policy(self) -> PolicyState:
        """As it is; where it is gone, or its Secrets are, as it was. One that says something else now isn't passed by.

        Raises:
            OperatorError: neither can be used.
        """
        assert self.tenant.spec.backup is not None
        namespace, name = self.tenant.metadata.namespace, self.tenant.spec.backup.policy_ref.name
        state = kept_policy.usable(self.world, self.tenant)
        if state is not None:
            return state
        live, kept = (
            self.world.policies.get(namespace, name),
            kept_policy.of_vault(self.tenant, self.vault),
        )
        if kept is not None and (live is None or live.policy.spec == kept.policy.spec):
            return kept
        if live is not None and live.problem is not None:
            raise Waiting(
                live.problem.reason,
                f"BackupPolicy {name} can't be used yet: {live.problem.message}",
                LOOK_AGAIN,
            )
        raise Refused(
            "PolicyNotFound",
            f"There is no BackupPolicy {namespace}/{name}, and none was there before: create it.",
            LOOK_AGAIN,
        )

    def _address(self, state: PolicyState) -> BucketAddress:
        assert state.store is not None
        return address_of(state.policy, state.store)

    @property
    def _basis(self) -> str:
        """Changes with what somebody says who mends something."""
        assert self.tenant.spec.backup is not None
        live = self.world.policies.get(
            self.tenant.metadata.namespace, self.tenant.spec.backup.policy_ref.name
        )
        policy = live.policy.spec.model_dump_json() if live is not None else ""
        return names.digest(str(self.tenant.metadata.generation), policy)

    def _record(self, attempt: int) -> Manifest:
        tenant, now = self.tenant, self.world.now()
        assert tenant.spec.backup is not None
        return {
            "apiVersion": API_VERSION,
            "kind": "TenantBackup",
            "metadata": {
                "name": names.last_backup(tenant.metadata.name, f"{now:%y%m%d%H%M%S}"),
                "namespace": tenant.metadata.namespace,
                "uid": str(UUID(self.world.token(16))),
                "creationTimestamp": _text(now),
                "generation": tenant.metadata.generation,
                "annotations": {_ATTEMPT: str(attempt), _BASIS: self._basis},
            },
            "spec": {
                "tenantRef": {"name": tenant.metadata.name},
                "policyRef": {"name": tenant.spec.backup.policy_ref.name},
                "reason": "Final",
            },
            "status": {"phase": "Pending"},
        }

    async def _keep(self, record: Manifest) -> None:
        """In the vault, that is written by this very look alone."""
        self.vault = replace(self.vault, last_backup=json.dumps(record, sort_keys=True))
        body = secret(self.vault, self.world.options.namespace, vault_labels(self.tenant))
        await self.world.applier.apply(owner_of(self.tenant), [body])
        self.world.credentials.keep(self.vault)

    def _who(self) -> Manifest:
        metadata = self.tenant.metadata
        return {"name": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid}


async def clear_away(world: World, tenant: OdooTenant) -> None:
    """All Jobs of it, those of failed attempts with their logs: it is made, or nobody wants it any more."""
    for active in tuple(world.last_backups.values()):
        if active.owner.key == tenant.key:
            world.backups.end(active.backup.key)
    for owner in tuple(world.children.owners()):
        if owner.key == tenant.key and owner.uid != tenant.metadata.uid:
            await backup_run.clear_all_away(world, owner)


def _attempt(active: ActiveBackup) -> int:
    text = active.backup.metadata.annotations.get(_ATTEMPT, "")
    return int(text) if text.isdigit() else 1


def _explained(error: OperatorError) -> OperatorError:
    """What it means for the tenant; of a backup that runs just that."""
    if isinstance(error, Waiting):
        return Waiting(error.reason, f"The last backup: {error.message}", error.retry_after)
    kind = Refused if isinstance(error, Refused) else Unavailable
    return kind(
        error.reason,
        f"There is no last backup yet, so nothing is deleted: {error.message} To give it up, set spec.deletion.policy to "
        "Retain, which keeps database and volume, or to Delete.",
        error.retry_after,
    )


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
