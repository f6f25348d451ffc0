"""What the Jobs that care for a repository are told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from odoo_tenancy.api.backup import TenantBackup
from odoo_tenancy.api.maintain_work import KeepRules, KnownBackup, LockTerms, MaintainWork
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.api.policy import BackupPolicy
from odoo_tenancy.api.types import duration_seconds
from odoo_tenancy.desired import names
from odoo_tenancy.desired.backup_jobs import Run
from odoo_tenancy.desired.context import TenantContext
from odoo_tenancy.reconcile import upkeep_due
from odoo_tenancy.reconcile.backup_memory import PolicyState, StoreAccess
from odoo_tenancy.reconcile.backup_work import BackupPlan, files_of, repository_of
from odoo_tenancy.reconcile.upkeep_memory import UPKEEP

_LEAST_STRAY = 2 * 86400
"""Seconds for which a snapshot without a manifest is left alone, at least."""
_MARGIN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class UpkeepPlan:
    """Care for one repository, with all that is known of it before it begins."""

    context: TenantContext
    policy: PolicyState
    store: StoreAccess

    @property
    def manifests(self) -> str:
        """Below which its backups' manifests are, with a slash at its end."""
        return f"{names.tenant_prefix(self._prefix, self.context.claim)}/manifests/"

    def maintain(self, backups: Mapping[str, KnownBackup], pods_alive: Iterable[str], now: datetime) -> Run:
        """For the Job that maintains it."""
        policy, claim = self.policy.policy, self.context.claim
        timeout = int(duration_seconds(policy.spec.timeout))
        work = MaintainWork(
            repository=repository_of(policy, self.store, names.repository(self._prefix, claim)),
            prefix=self._prefix,
            claim=claim,
            keep=_keep(policy),
            backups=dict(backups),
            strays_after_seconds=max(_LEAST_STRAY, 2 * timeout),
            immutability=locks(policy, claim, now),
            pods_alive=tuple(pods_alive),
            pod_prefixes=names.pods_in_repository(self.context.tenant, claim),
        )
        own = {"AWS_ACCESS_KEY_ID": self.store.key_id, "AWS_SECRET_ACCESS_KEY": self.store.secret_key}
        return Run(
            backup="",
            uid=claim,
            timeout_seconds=timeout,
            work=work.model_dump_json(by_alias=True),
            files=files_of(self.context, self.store),
            environment=own,
            peers=self.store.peers,
            kind=UPKEEP,
            repository=claim,
        )

    def verify(self, backup: TenantBackup, credentials: Mapping[str, str], scratch_password: str) -> Run:
        """For the Job that verifies a stored backup again; as :meth:`BackupPlan.verify`."""
        manifest = backup.status.manifest
        run = self.backup_plan(backup).verify(manifest.key, manifest.sha256, credentials, scratch_password)
        return replace(run, uid=self.context.claim, kind=UPKEEP)

    def backup_plan(self, backup: TenantBackup) -> BackupPlan:
        """As if that backup were made now."""
        return BackupPlan(backup, self.context, self.policy, self.store)

    @property
    def _prefix(self) -> str:
        return self.policy.policy.spec.store.s3.prefix


def known_backups(live: Iterable[Manifest], manifests: str) -> dict[str, KnownBackup]:
    """What the operator knows of the backups below a prefix, by name, out of their objects."""
    found = {}
    for body in live:
        name, status = body["metadata"]["name"], body.get("status") or {}
        manifest = status.get("manifest") or {}
        if manifest.get("key") == f"{manifests}{name}.json":
            found[name] = KnownBackup(
                sha256=manifest.get("sha256", ""),
                hold=bool(body["spec"].get("hold")),
                verified=status.get("phase") == "Completed"
                and (status.get("verification") or {}).get("result") == "Passed",
            )
    return found


def _keep(policy: BackupPolicy) -> KeepRules:
    rules = policy.spec.retention
    return KeepRules(
        within_seconds=int(duration_seconds(rules.keep_within)),
        last=rules.keep_last,
        daily=rules.keep_daily,
        weekly=rules.keep_weekly,
        monthly=rules.keep_monthly,
        yearly=rules.keep_yearly,
        time_zone=policy.spec.time_zone,
    )


def locks(policy: BackupPolicy, claim: str, now: datetime) -> LockTerms | None:
    """A lock that would end before the maintenance after this one is made longer now, and half the period at least is
    always left: fewer writes than to make each longer each time."""
    asked = policy.spec.immutability
    if asked is None:
        return None
    period = int(duration_seconds(asked.period))
    gap = upkeep_due.longest_gap(policy, claim, now) + _MARGIN
    soon = min(period, max(period // 2, int(gap.total_seconds())))
    return LockTerms(mode=asked.mode, period_seconds=period, soon_seconds=soon)
