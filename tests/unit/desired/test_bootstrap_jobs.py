"""The Jobs by which a new tenant is filled and made neutral. ``GOLDEN=write`` writes the golden file anew."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
import yaml
from tests.unit.desired.test_golden import GOLDEN, _Readable, compare, context_of, readable
from tests.unit.desired.test_restore_jobs import SECRET, SOURCE, STORE

from odoo_tenancy.cluster.objects import Owner
from odoo_tenancy.desired import archive_job, backup_jobs, jobs, labels, names, restore_jobs
from odoo_tenancy.desired.archive_job import ArchiveSource
from odoo_tenancy.desired.backup_jobs import BackupJob, Run
from odoo_tenancy.desired.context import Peer, TenantContext
from odoo_tenancy.desired.network import build as network
from odoo_tenancy.desired.restore_jobs import MadeFor, Target

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": SECRET}
ARCHIVE = ArchiveSource(STORE, "arrivals/acme.zip", KEYS, None, (Peer(cidr="203.0.113.9/32", ports=(443,)),))


def filling(ctx: TenantContext) -> dict[str, BackupJob]:
    target = Target(names.database(ctx.claim), names.database(ctx.claim), names.login_role(ctx.claim), SECRET)
    made_for = MadeFor("OdooTenant", ctx.tenant.metadata.name, ctx.uid)
    return {
        "restore": restore_jobs.restore(ctx, made_for, SOURCE, target, KEYS, 14400),
        "archive": archive_job.archive(ctx, made_for, ARCHIVE, target),
    }


def work_of(made: BackupJob) -> dict[str, Any]:
    work: dict[str, Any] = json.loads(base64.b64decode(made.secret["data"]["work.json"]))
    return work


def test_a_beginning_becomes_what_its_golden_file_says(make_context, monkeypatch):
    monkeypatch.setattr("odoo_tenancy.desired.scripts.digest", lambda: "(digest of the scripts)")
    ctx = context_of("dedicated", make_context)
    manifests = [
        manifest
        for each in filling(ctx).values()
        for manifest in (each.begun(), *each.belongings("uid-of-the-job"))
    ]
    manifests += [jobs.neutralization(ctx), jobs.neutralization(ctx, "t_beside")]
    text = "---\n".join(yaml.dump(readable(m), Dumper=_Readable, width=120) for m in manifests)
    compare(GOLDEN / "bootstrap-dedicated.output.yaml", text)


@pytest.mark.parametrize("case", ["dedicated", "shared"])
def test_what_odoo_may_reach_the_pod_with_a_strangers_file_may_not(case, make_context):
    ctx = context_of(case, make_context)
    (but,) = network(ctx)[0]["spec"]["podSelector"]["matchExpressions"]
    for each in filling(ctx).values():
        marks = each.job["spec"]["template"]["metadata"]["labels"]
        assert marks[labels.COMPONENT] in but["values"]
        assert each.policy["spec"]["podSelector"]["matchLabels"].items() <= marks.items()
        _, *others = each.policy["spec"]["egress"]
        assert len(others) == 1 + len(ctx.database_peers)  # the store, and PostgreSQL


def test_an_archive_is_bounded_by_what_the_tenant_may_have(make_context):
    ctx = context_of("dedicated", make_context)
    spec = ctx.tenant.spec
    for limit, script in (("20Gi", 20 << 30), (None, 50 << 30)):
        database = spec.database.model_copy(update={"max_size": limit})
        tenant = ctx.tenant.model_copy(update={"spec": spec.model_copy(update={"database": database})})
        work = work_of(filling(replace(ctx, tenant=tenant))["archive"])
        assert work["largestDatabaseBytes"] == script
        assert work["largestArchiveBytes"] == 50 << 30  # the pool's scratch
        assert work["largestFilestoreBytes"] == 10 << 30


def test_credentials_are_in_the_secret_and_nowhere_else(make_context):
    for each in filling(context_of("dedicated", make_context)).values():
        text = json.dumps([each.begun(), each.policy]) + repr(each) + repr(ARCHIVE)
        assert SECRET not in text
        assert base64.b64encode(SECRET.encode()).decode() not in text
        assert SECRET not in json.dumps(work_of(each))


def test_the_same_job_is_found_again_whatever_it_is_filled_from(make_context):
    made = filling(context_of("dedicated", make_context)).values()
    assert len({each.job["metadata"]["name"] for each in made}) == 1


def test_another_database_is_neutralized_by_another_job(make_context):
    ctx = context_of("shared", make_context)
    own, other = jobs.neutralization(ctx), jobs.neutralization(ctx, "t_beside")
    assert own["metadata"]["name"] != other["metadata"]["name"]
    assert max(len(job["metadata"]["name"]) for job in (own, other)) <= 63
    assert other["spec"]["template"]["spec"]["containers"][0]["args"] == ["--database=t_beside"]


def finding(ctx: TenantContext, secret: str = SECRET, work: str = '{"at": "latest"}') -> BackupJob:
    files = {"recovery-2026a": f"made of {secret}".encode()}
    run = Run(
        "", ctx.uid, 14400, work, files, {**KEYS, "AWS_SECRET_ACCESS_KEY": secret}, SOURCE.store_peers,
        kind="OdooTenant", repository="3f9c2a" + "0" * 26,
    )  # fmt: skip
    return backup_jobs.find(ctx, run)


def test_what_recovery_keys_open_is_looked_into_where_no_tenants_pods_are(make_context):
    ctx = context_of("dedicated", make_context)
    made = finding(ctx)
    for manifest in (made.job, made.secret, made.policy):
        assert manifest["metadata"]["namespace"] == ctx.operator_namespace
        owner = Owner.of(manifest)
        assert owner is not None
        assert (owner.kind, owner.uid) == ("OdooTenant", ctx.uid)
    pod = made.job["spec"]["template"]["spec"]
    assert [volume["name"] for volume in pod["volumes"]] == ["tmp", "work"]
    assert pod["containers"][0]["command"][-1] == "odoo_tenancy.jobs.find"
    assert made.job["metadata"]["labels"][labels.REPOSITORY] == "3f9c2a" + "0" * 26
    text = json.dumps([made.begun(), made.policy]) + repr(made)
    assert SECRET not in text
    _, *others = made.policy["spec"]["egress"]
    assert len(others) == len(SOURCE.store_peers)


def test_one_that_is_told_something_else_is_another_job(make_context):
    """Else a key that was mended would wait for one that failed."""
    ctx = context_of("shared", make_context)
    jobs_ = (finding(ctx), finding(ctx, "another"), finding(ctx, work='{"at": "2026-11-22T18:00:00Z"}'))
    made = {job.job["metadata"]["name"] for job in jobs_}
    assert len(made) == 3
    assert max(map(len, made)) <= 63
    assert finding(ctx).job["metadata"]["name"] in made
