"""TenantRestore: a backup in the place of what lives, which is there until Odoo runs on what was restored.

The status names the step, written before the step begins; each step finds what was done of it, so an operator that is
killed anywhere goes on there. ``notAfter`` counts until the first step is written: later than that it is Expired.

============= ============================================ =========================================================
step          what is done                                 killed in it, or it fails
============= ============================================ =========================================================
(Pending)     waits for its turn; the finalizer is written nothing was touched; the finalizer is found and kept
SafetyBackup  a TenantBackup PreRestore, until verified    found by its name; failed: Failed, nothing was touched
Restoring     new database ``_new_``, a Job fills it and   database and Job are found by their names; the Job begins
              a folder of that name; Odoo runs             again where it can. Failed: GivingUp
Neutralizing  with spec.neutralize: a Job neutralizes the  the Job is found by its name, and may run again. Failed,
              new database, and its rows are looked at     or not neutral: GivingUp
Stopping      the tenant's own reconciler scales Odoo to   it reads the step from the restore, so a new operator
              nothing and answers when no pod is left      stops Odoo too. Failed, or 15 minutes: GivingUp
Swapping      database: living to ``_old_``, ``_new_`` to  the databases that are there say whether the one
              living, one transaction; then a Job renames  transaction was; the folders that are there say which
              the folders the same way                     renames are left. Failed, or 15 minutes: GoingBack
Starting      the tenant starts Odoo and answers when it   it is asked again. Not ready in 20 minutes, or its image
              is ready                                     refuses the database: GoingBack
ClearingAway  ``_old_`` database and folder are removed    what is gone is not missed; tried until it is done, then
                                                           Completed
GoingBack     Odoo stopped as before; both swaps undone    as in Swapping; tried until it is done, then GivingUp
GivingUp      ``_new_`` database and folder are removed;   what is gone is not missed; tried until it is done, then
              Odoo runs on what lived                      Failed, with the reason of the step that failed
============= ============================================ =========================================================

Deleted while it runs, it is undone like one that failed (in ClearingAway it ends), and goes only then: our finalizer is on
it. A tenant that is being deleted waits for it. Backups of the tenant, but for the safety backup, and changes of its
passwords wait as long as it runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from odoo_tenancy.api.errors import OperatorError, Waiting
from odoo_tenancy.api.meta import API_VERSION, Key
from odoo_tenancy.api.restore import RestoreStep
from odoo_tenancy.cluster.finalizer import has_finalizer, remove_finalizer
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.reconcile import backup_run, restore_begin, restore_status
from odoo_tenancy.reconcile.active_restore import ActiveRestore, RestoreEnded
from odoo_tenancy.reconcile.restore_steps import STEPS, UNDONE_BY, check_patience
from odoo_tenancy.reconcile.result import Result
from odoo_tenancy.reconcile.serving import serves
from odoo_tenancy.reconcile.world import World


@dataclass
class RestoreReconciler:
    """Looks at one restore."""

    world: World
    _active: dict[Key, ActiveRestore] = field(default_factory=dict)
    """Those that are not finished, as they were last read or written."""

    async def __call__(self, key: Key) -> Result:
        """One look.

        Raises:
            OperatorError: what keeps it from going on, after it was written to its conditions.
        """
        record = self.world.restores.get(key)
        if record is None:
            await self._clear(key)
            return Result(gone=True)
        if not await serves(self.world, record.tenant):
            return Result(gone=True)
        if record.finished:
            await self._let_go(key)
            return Result(gone=True)
        active = self._active.get(key)
        if active is None or active.uid != record.uid or active.going != record.going:
            ref = ObjectRef(API_VERSION, key.kind, key.namespace, key.name)
            manifest = await self.world.cluster.get(ref)
            if manifest is None:
                return Result(gone=True)
            active = self._active[key] = ActiveRestore.of(manifest)
        return await self._look(active)

    async def _look(self, active: ActiveRestore) -> Result:
        try:
            while active.restore.status.phase in (None, "Pending", "Running"):
                await self._advance(active)
        except OperatorError as error:
            before = self.world.restores.get(active.owner.key)
            await restore_status.waits(self.world, active, error)
            after = self.world.restores.get(active.owner.key)
            if before is not None and before.in_line and not (after is not None and after.in_line):
                self._wake_others(active)
            if isinstance(error, Waiting):
                return Result(requeue_after=self._until_next(active, error.retry_after))
            self._active.pop(active.owner.key, None)  # it may be another one by now
            raise
        await self._let_go(active.owner.key)
        return Result(gone=True, changes=(f"restore {active.restore.status.phase}",))

    async def _advance(self, active: ActiveRestore) -> None:
        """One step, or what failed in it is undone next.

        Raises:
            OperatorError: what it waits for.
        """
        step = active.restore.status.step
        try:
            if active.restore.status.phase != "Running" or step is None:
                await self._begin(active)
                return
            if active.going and (step in UNDONE_BY or step == "SafetyBackup"):
                raise RestoreEnded("Deleted", "This TenantRestore was deleted before it was done.")
            await self._do(step, active)
        except RestoreEnded as ended:
            if step is not None and step in UNDONE_BY and ended.reason != "TenantNotFound":
                undone_by = UNDONE_BY[step]
                await restore_status.turns_back(self.world, active, undone_by, ended.reason, ended.message)
                self.world.enqueue(active.tenant)
            elif step in (None, "SafetyBackup") or ended.reason == "TenantNotFound":
                await restore_status.ends(self.world, active, "Failed", ended.reason, ended.message)
            else:
                raise Waiting(ended.reason, ended.message, restore_begin.LOOK_AGAIN) from ended

    async def _do(self, step: RestoreStep, active: ActiveRestore) -> None:
        try:
            await STEPS[step](self.world, active)
        except OperatorError as error:
            check_patience(self.world, active, error)
            raise

    async def _begin(self, active: ActiveRestore) -> None:
        if active.going:
            raise RestoreEnded("Deleted", "This TenantRestore was deleted before it began.")
        if self.world.now() >= active.restore.spec.not_after:
            await restore_status.ends(
                self.world,
                active,
                "Expired",
                "Expired",
                f"It had not begun by spec.notAfter ({active.restore.spec.not_after.isoformat()}): nothing was touched. "
                "Make a new TenantRestore if it is still wanted.",
            )
            return
        await restore_begin.begin(self.world, active)

    def _until_next(self, active: ActiveRestore, seconds: float | None) -> float | None:
        """No later than it expires."""
        if active.restore.status.phase == "Running":
            return seconds
        left = (active.restore.spec.not_after - self.world.now()).total_seconds()
        return max(0.5, min(left + 0.5, seconds if seconds is not None else left + 0.5))

    async def _let_go(self, key: Key) -> None:
        """It is finished: others may begin, and it may be deleted."""
        manifest = await self.world.cluster.get(ObjectRef(API_VERSION, key.kind, key.namespace, key.name))
        await self._clear(key)
        if manifest is not None and has_finalizer(manifest):
            await remove_finalizer(self.world.cluster, manifest)

    async def _clear(self, key: Key) -> None:
        """Whatever of its Jobs is left, and whoever waited for it."""
        active = self._active.pop(key, None)
        for owner in tuple(self.world.children.owners()):
            if owner.key == key:
                await backup_run.clear_all_away(self.world, owner)
        if active is not None:
            self._wake_others(active)

    def _wake_others(self, active: ActiveRestore) -> None:
        """It may be their turn."""
        self.world.enqueue(active.tenant)
        for other in (*self.world.restores.unfinished(), *self.world.backups.unfinished()):
            if other != active.owner.key:
                self.world.enqueue(other)
