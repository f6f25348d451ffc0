"""The Jobs that care for a repository: whose they are, where they run. ``GOLDEN=write`` writes the golden files anew."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from tests.unit.desired.test_backup_jobs import RUN
from tests.unit.desired.test_golden import GOLDEN, _Readable, compare, context_of, readable

from odoo_tenancy.cluster.objects import Owner
from odoo_tenancy.desired import backup_jobs, labels, names
from odoo_tenancy.desired.backup_jobs import BackupJob, Run
from odoo_tenancy.desired.context import TenantContext

CASES = ("dedicated", "shared")


def run_of(ctx: TenantContext, backup: str = "") -> Run:
    return replace(RUN, backup=backup, uid=ctx.claim, kind="RepositoryUpkeep", repository=ctx.claim)


def jobs_of(ctx: TenantContext) -> list[BackupJob]:
    return [backup_jobs.maintain(ctx, run_of(ctx)), backup_jobs.verify(ctx, run_of(ctx, "acme-202611230400"))]


@pytest.mark.parametrize("case", CASES)
def test_the_care_for_a_repository_becomes_what_its_golden_file_says(case, make_context):
    manifests = [
        manifest
        for made in jobs_of(context_of(case, make_context))
        for manifest in (made.begun(), *made.belongings("uid-of-the-job"))
    ]
    text = "---\n".join(yaml.dump(readable(m), Dumper=_Readable, width=120) for m in manifests)
    compare(GOLDEN / f"upkeep-{case}.output.yaml", text)


@pytest.mark.parametrize("case", CASES)
def test_it_belongs_neither_to_the_tenant_nor_to_a_backup(case, make_context):
    """Else the one would prune it, and the other clear it away."""
    ctx = context_of(case, make_context)
    for each in jobs_of(ctx):
        for manifest in (each.begun(), *each.belongings("uid")):
            owner = Owner.of(manifest)
            assert owner == Owner("RepositoryUpkeep", "tenants", ctx.tenant.metadata.name, ctx.claim)
        on_pod = each.job["spec"]["template"]["metadata"]["labels"]
        assert on_pod[labels.REPOSITORY] == ctx.claim
        assert each.policy["spec"]["podSelector"]["matchLabels"].items() <= on_pod.items()


def test_what_removes_data_runs_away_from_the_tenant_and_once(make_context):
    ctx = context_of("dedicated", make_context)
    maintain, verify = jobs_of(ctx)
    assert maintain.job["metadata"]["namespace"] == ctx.operator_namespace
    assert verify.job["metadata"]["namespace"] != ctx.operator_namespace
    assert maintain.job["spec"]["backoffLimit"] == 0


@pytest.mark.parametrize("case", CASES)
def test_the_pods_that_lock_a_repository_are_known_by_their_names(case, make_context):
    ctx = context_of(case, make_context)
    prefixes = names.pods_in_repository(ctx.tenant, ctx.claim)
    jobs = [backup_jobs.backup(ctx, RUN), backup_jobs.prepare(ctx, RUN), *jobs_of(ctx)]
    for each in jobs:
        pod = each.job["metadata"]["name"][:58] + "abcde"  # as the Job controller names it
        assert pod.startswith(prefixes)
    assert not "restic-on-a-laptop".startswith(prefixes)
