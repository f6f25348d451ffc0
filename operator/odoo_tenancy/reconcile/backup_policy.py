"""BackupPolicy: what it refers to is there, its bucket is what it promises, each tenant's turn becomes a TenantBackup."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from odoo_tenancy.api.errors import OperatorError, Refused, Waiting
from odoo_tenancy.api.meta import API_VERSION, Key, Manifest
from odoo_tenancy.api.policy import BackupPolicy
from odoo_tenancy.cluster.failures import Conflict
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.cluster.status import patch_status_if_changed
from odoo_tenancy.desired import names
from odoo_tenancy.desired.schedule import Cron, Plan, Turn
from odoo_tenancy.reconcile import catalogue, upkeep_turns
from odoo_tenancy.reconcile.backup_memory import SCHEDULED_FOR, PolicyState, StoreAccess
from odoo_tenancy.reconcile.memory import TenantRecord
from odoo_tenancy.reconcile.references import LOOK_AGAIN, SecretReference, read_secret
from odoo_tenancy.reconcile.report import Report, turned
from odoo_tenancy.reconcile.result import Result
from odoo_tenancy.reconcile.store_access import read_access
from odoo_tenancy.reconcile.world import World, announce
from odoo_tenancy.services.object_store import BucketAddress, Credentials, unprotected_because

REQUIRED = ("ScheduleReady", "EncryptionReady", "StoreReady")
LEAST_KEY = 32
"""Bytes of a recovery key: with fewer it could be guessed."""
_FRESH = 240.0
"""Seconds; below the resync, so that each of these looks at everything."""


@dataclass
class PolicyReconciler:
    """Looks at one policy; what it finds, the backups of its tenants take from memory."""

    world: World

    async def __call__(self, key: Key) -> Result:
        """One look.

        Raises:
            OperatorError: what is wrong with the policy, after it was written to its conditions.
        """
        ref = ObjectRef(API_VERSION, "BackupPolicy", key.namespace, key.name)
        manifest = await self.world.cluster.get(ref)
        if manifest is None or manifest["metadata"].get("deletionTimestamp"):
            await self._forget(key)
            return Result(gone=True)
        policy = BackupPolicy.parse(manifest)
        report, known = Report(), self.world.policies.get(key.namespace, key.name)
        state = replace(known, policy=policy) if known is not None else PolicyState(policy)
        _check_schedules(policy, report)
        if known is not None and self._is_fresh(known, policy):
            report.findings |= known.findings
        else:
            state = await self._look(state, report)
        self._remember(state, known)
        made, again = await self._make_due(state, report)
        again = self._look_after(state, report, again)
        again = await self._catalogue(state, again)
        await self._write_status(ref, manifest, state, report, made)
        if report.errors:
            raise _soonest(report.errors[0], again)
        changes = tuple(f"made TenantBackup for {turn.slot:%Y-%m-%d %H:%M}" for turn in made)
        return Result(requeue_after=again, changes=changes)

    async def _look(self, state: PolicyState, report: Report) -> PolicyState:
        """What the policy refers to, and its bucket. What is missing keeps backups waiting, and not from being made."""
        problem: OperatorError | None = None
        try:
            keys = await self._recovery_keys(state.policy)
            state = replace(state, recovery_keys=keys)
            ids = ", ".join(id_ for id_, _ in keys)
            report.good("EncryptionReady", "KeysFound", f"Recovery keys are there and long enough: {ids}")
        except OperatorError as error:
            problem = error
            report.failed("EncryptionReady", error)
        try:
            state = replace(state, store=await self._access(state.policy))
            await self._check_bucket(state)
            s3 = state.policy.spec.store.s3
            report.good("StoreReady", "Answers", f"Bucket {s3.bucket} at {s3.endpoint} answers")
        except OperatorError as error:
            problem = problem or error
            report.failed("StoreReady", error)
        found = {type_: report.findings[type_] for type_ in ("EncryptionReady", "StoreReady")}
        checked = None if problem else self.world.seconds()
        return replace(state, problem=problem, checked=checked, findings=found)

    async def _catalogue(self, state: PolicyState, again: float | None) -> float | None:
        """Backups that are stored and have no object; and the seconds until the next look."""
        if state.problem is not None or state.store is None:
            return again
        bucket = self.world.buckets.of(state.policy.key, address_of(state.policy, state.store))
        more = await catalogue.look(self.world, state, bucket)
        return min((each for each in (again, more) if each is not None), default=None)

    def _is_fresh(self, known: PolicyState, policy: BackupPolicy) -> bool:
        """Whether all was right a short while ago: turns come every few seconds, and each is a look."""
        same = known.policy.metadata.uid == policy.metadata.uid and known.policy.spec == policy.spec
        return same and known.checked is not None and self.world.seconds() - known.checked < _FRESH

    async def _recovery_keys(self, policy: BackupPolicy) -> tuple[tuple[str, bytes], ...]:
        found = []
        for number, key in enumerate(policy.spec.encryption.recovery_keys):
            field = f"spec.encryption.recoveryKeys[{number}]"
            reference = _beside(policy, field, key.secret_ref.name, ("key",))
            value = (await read_secret(self.world.cluster, reference))["key"]
            if len(value) < LEAST_KEY:
                raise Refused(
                    "RecoveryKeyTooShort",
                    f"key of Secret {policy.metadata.namespace}/{key.secret_ref.name} ({field}) has {len(value)} bytes and "
                    f"needs {LEAST_KEY} or more: make one with openssl rand 32, and keep a copy outside the cluster.",
                    LOOK_AGAIN,
                )
            found.append((key.id, value))
        return tuple(found)

    async def _access(self, policy: BackupPolicy) -> StoreAccess:
        metadata = policy.metadata
        referrer = f"BackupPolicy {metadata.namespace}/{metadata.name}"
        s3 = policy.spec.store.s3
        return await read_access(self.world.cluster, referrer, metadata.namespace, s3, "spec.store.s3")

    async def _check_bucket(self, state: PolicyState) -> None:
        """Whether it answers, and protects what is in it as the policy promises."""
        policy, access = state.policy, state.store
        assert access is not None
        bucket = self.world.buckets.of(policy.key, address_of(policy, access))
        s3, asked = policy.spec.store.s3, policy.spec.immutability
        await bucket.clock(f"{s3.prefix}/" if s3.prefix else "")
        if asked is not None:
            has = await bucket.protection()
            if refused := unprotected_because(asked, s3, has):
                raise refused

    def _remember(self, state: PolicyState, known: PolicyState | None) -> None:
        """Who waits for this policy looks again where something of it changed."""
        self.world.policies.remember(state)
        reasons = [problem.reason if problem else "" for problem in (state.problem, known and known.problem)]
        same = known is not None and (known.store, known.recovery_keys) == (state.store, state.recovery_keys)
        if known is not None and same and (known.policy.spec, reasons[1]) == (state.policy.spec, reasons[0]):
            return
        for record in tuple(self._tenants(state.policy)):
            self.world.enqueue(record.key)
        for backup in self.world.backups.unfinished():
            if backup.namespace == state.policy.metadata.namespace:
                self.world.enqueue(backup)

    def _tenants(self, policy: BackupPolicy) -> tuple[TenantRecord, ...]:
        metadata = policy.metadata
        return tuple(self.world.tenants.of_policy(metadata.namespace, metadata.name))

    async def _make_due(self, state: PolicyState, report: Report) -> tuple[list[Turn], float | None]:
        """A TenantBackup for each turn that is due; and seconds until the next one is."""
        policy, now = state.policy, self.world.now()
        schedule = report.findings["ScheduleReady"]
        if policy.spec.suspend or schedule.status != "True":
            return [], None
        made, plan = list[Turn](), state.plan
        waits = list[float]()
        for record in self._tenants(policy):
            if not record.begun or record.going or not self.world.options.serves(record.pool):
                continue
            turn = plan.due(record.claim, self._recorded(record, policy), now)
            if turn is not None and await self._make(policy, record, turn):
                made.append(turn)
            coming = plan.next(record.claim, now)
            if coming is not None:
                waits.append((coming.at - now).total_seconds())
        return made, min(waits, default=None)

    def _look_after(self, state: PolicyState, report: Report, again: float | None) -> float | None:
        """Ask for the care that repositories are due, also while no backups are made, and say how it stands; seconds until
        the next look at all."""
        if report.findings["ScheduleReady"].status != "True":
            return again
        waits = [again, upkeep_turns.look_after(self.world, state, self._tenants(state.policy), report)]
        return min((wait for wait in waits if wait is not None), default=None)

    def _recorded(self, record: TenantRecord, policy: BackupPolicy) -> datetime:
        """The last turn that was taken. Before its first one, since when there are both policy and tenant."""
        last = self.world.backups.last_slot(record.key)
        return last or max(policy.metadata.creation_timestamp or record.created, record.created)

    async def _make(self, policy: BackupPolicy, record: TenantRecord, turn: Turn) -> bool:
        """Whether there was none of that turn yet."""
        name = names.scheduled_backup(record.key.name, f"{turn.slot:%Y%m%d%H%M}")
        body: Manifest = {
            "apiVersion": API_VERSION,
            "kind": "TenantBackup",
            "metadata": {
                "name": name,
                "namespace": record.key.namespace,
                "annotations": {SCHEDULED_FOR: turn.slot.isoformat()},
            },
            "spec": {
                "tenantRef": {"name": record.key.name},
                "policyRef": {"name": policy.metadata.name},
                "reason": "Scheduled",
            },
        }
        try:
            self.world.backups.saw("ADDED", await self.world.cluster.create(body))
        except Conflict as error:
            if error.reason != "AlreadyExists":
                raise
            return False  # made before a restart, and the watch will tell
        return True

    async def _write_status(
        self, ref: ObjectRef, manifest: Manifest, state: PolicyState, report: Report, made: list[Turn]
    ) -> None:
        policy, now = state.policy, self.world.now()
        report.summarize(REQUIRED)
        conditions = report.conditions(policy.status.conditions, policy.metadata.generation, now)
        for condition in turned(policy.status.conditions, conditions):
            if condition.type not in ("Reconciling", "Stalled"):
                await announce(self.world, manifest, condition)
        status: Manifest = {
            "observedGeneration": policy.metadata.generation,
            "tenants": len(self._tenants(policy)),
            "conditions": [c.model_dump(mode="json", by_alias=True) for c in conditions],
            "nextScheduleTime": self._next_slot(state.plan, policy, report, now),
        }
        last = max((turn.slot for turn in made), default=None)
        if last is not None and last > (policy.status.last_schedule_time or _LONG_AGO):
            status["lastScheduleTime"] = _text(last)
        live = manifest.get("status") or {}
        await patch_status_if_changed(self.world.cluster, ref, live, {**live, **status})

    def _next_slot(self, plan: Plan, policy: BackupPolicy, report: Report, now: datetime) -> str | None:
        """Of the schedule, not of a tenant: it changes once for each run, however many tenants there are."""
        if policy.spec.suspend or report.findings["ScheduleReady"].status != "True":
            return None
        found = next(plan.cron.after(now), None)
        return None if found is None else _text(found)

    async def _forget(self, key: Key) -> None:
        known = self.world.policies.get(key.namespace, key.name)
        self.world.policies.forget(key)
        self.world.upkeep.looked.pop(key, None)
        self.world.buckets.forget(key)
        self.world.catalogues.pop(key, None)
        if known is not None:
            for record in self._tenants(known.policy):
                self.world.enqueue(record.key)


_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def expect(world: World, manifest: Manifest) -> None:
    """A policy that exists and was not looked at yet: until it was, nobody takes it for missing."""
    try:
        policy = BackupPolicy.parse(manifest)
    except OperatorError:
        return  # its own look says so
    problem = Waiting("NotLookedAtYet", f"BackupPolicy {policy.metadata.name} was not looked at yet.", 2.0)
    world.policies.remember(PolicyState(policy, problem=problem))


def address_of(policy: BackupPolicy, access: StoreAccess) -> BucketAddress:
    """The policy's bucket, as the policy's own credentials reach it."""
    s3 = policy.spec.store.s3
    credentials = Credentials(access.key_id, access.secret_key)
    return BucketAddress(s3.endpoint, s3.region, s3.bucket, credentials, access.ca)


def _check_schedules(policy: BackupPolicy, report: Report) -> None:
    spec = policy.spec
    try:
        for expression in (spec.schedule, spec.maintenance.schedule, spec.verification.schedule):
            Cron(expression, spec.time_zone).check()
    except OperatorError as error:
        report.failed("ScheduleReady", error)
        return
    if spec.suspend:
        report.good("ScheduleReady", "Suspended", "No backups are started by it (spec.suspend)")
    else:
        report.good("ScheduleReady", "Scheduled", f"{spec.schedule} in {spec.time_zone}")


def _beside(policy: BackupPolicy, field: str, name: str, keys: tuple[str, ...]) -> SecretReference:
    metadata = policy.metadata
    referrer = f"BackupPolicy {metadata.namespace}/{metadata.name}"
    return SecretReference(referrer, field, metadata.namespace, name, keys)


def _soonest(error: OperatorError, again: float | None) -> OperatorError:
    """What is wrong doesn't keep the next turn from being made in time."""
    waits = [seconds for seconds in (error.retry_after, again) if seconds is not None]
    error.retry_after = min(waits, default=None)
    return error


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
