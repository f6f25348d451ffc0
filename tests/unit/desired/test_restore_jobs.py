"""What the Jobs of a restore may do, and what they may not. ``GOLDEN=write`` writes the golden files anew."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import yaml
from tests.unit.desired.test_golden import GOLDEN, _Readable, compare, context_of, readable

from odoo_tenancy.api.work import WORK_FILE, RepositoryPlace, StorePlace
from odoo_tenancy.cluster.objects import Owner
from odoo_tenancy.desired import jobs, labels, names, restore_jobs
from odoo_tenancy.desired.backup_jobs import BackupJob
from odoo_tenancy.desired.context import Peer, TenantContext
from odoo_tenancy.desired.network import build as network
from odoo_tenancy.desired.restore_jobs import MadeFor, Source, Target

CASES = ("dedicated", "shared", "one-node-volume", "external")
SECRET = "credential-of-the-store"
RESTORE = MadeFor("TenantRestore", "undo-monday", "00000000-0000-0000-0000-00000000c001")
BOOTSTRAP = MadeFor("OdooTenant", "acme", "uid-of-the-tenant")
STORE = StorePlace(endpoint="https://s3.example.com", region="eu-west-1", bucket="odoo-backups")
SOURCE = Source(
    backup="acme-202611230400",
    repository=RepositoryPlace(store=STORE, path="eu/0123/restic"),
    password=SECRET,
    manifest_key="eu/0123/manifests/acme-202611230400.json",
    manifest_sha256="0" * 64,
    store_ca="-----BEGIN CERTIFICATE-----\n",
    store_peers=(Peer(cidr="203.0.113.9/32", ports=(443,)),),
)


def jobs_of(ctx: TenantContext, made_for: MadeFor = RESTORE) -> dict[str, BackupJob]:
    new, former = names.new_database(ctx.claim, made_for.uid), names.former_database(ctx.claim, made_for.uid)
    target = Target(new, new, names.login_role(ctx.claim), SECRET)
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": SECRET}
    return {
        "restore": restore_jobs.restore(ctx, made_for, SOURCE, target, keys, 14400),
        "swap": restore_jobs.swap(ctx, made_for, new, former),
        "back": restore_jobs.swap(ctx, made_for, new, former, back=True),
        "discard": restore_jobs.discard(ctx, made_for, (former,)),
    }


def pod_of(made: BackupJob) -> dict[str, Any]:
    return dict(made.job["spec"]["template"]["spec"])


@pytest.fixture(params=CASES)
def made(request, make_context) -> dict[str, BackupJob]:
    return jobs_of(context_of(request.param, make_context))


@pytest.mark.parametrize("case", CASES)
def test_a_restore_becomes_what_its_golden_file_says(case, make_context):
    manifests = [
        manifest
        for each in jobs_of(context_of(case, make_context)).values()
        for manifest in (each.begun(), *each.belongings("uid-of-the-job"))
    ]
    text = "---\n".join(yaml.dump(readable(m), Dumper=_Readable, width=120) for m in manifests)
    compare(GOLDEN / f"restore-{case}.output.yaml", text)


def test_it_runs_as_odoo_beside_odoos_volume(make_context):
    ctx = context_of("one-node-volume", make_context)
    for each in jobs_of(ctx).values():
        pod, odoo = pod_of(each), ctx.tenant.spec.odoo
        assert pod["securityContext"]["runAsUser"] == odoo.run_as_user
        assert pod["securityContext"]["fsGroup"] == odoo.fs_group
        assert pod["automountServiceAccountToken"] is False
        (term,) = pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        on_pod = each.job["spec"]["template"]["metadata"]["labels"]
        assert term["labelSelector"]["matchLabels"].items() <= on_pod.items()
        assert pod["activeDeadlineSeconds"] == each.job["spec"]["activeDeadlineSeconds"]


def test_only_a_restore_talks_to_anybody_and_only_to_the_store_and_the_database(made):
    for name, each in made.items():
        spec = each.policy["spec"]
        assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
        assert "ingress" not in spec
        on_pod = each.job["spec"]["template"]["metadata"]["labels"]
        assert spec["podSelector"]["matchLabels"].items() <= on_pod.items()
        assert bool(spec["egress"]) == (name == "restore")


@pytest.mark.parametrize("case", CASES)
def test_what_odoo_may_reach_a_restore_may_not(case, make_context):
    ctx = context_of(case, make_context)
    (but,) = network(ctx)[0]["spec"]["podSelector"]["matchExpressions"]
    for each in jobs_of(ctx).values():
        assert each.job["spec"]["template"]["metadata"]["labels"][labels.COMPONENT] in but["values"]


def test_credentials_are_in_the_secret_and_nowhere_else(made):
    encoded = base64.b64encode(SECRET.encode()).decode()
    for name, each in made.items():
        assert (encoded in json.dumps(each.secret)) == (name == "restore")
        assert SECRET not in json.dumps([each.begun(), each.policy]) + repr(each) + repr(SOURCE)


def test_undone_the_names_change_places_and_each_has_a_job_of_its_own(made):
    def words(name: str) -> dict[str, str]:
        return dict(json.loads(base64.b64decode(made[name].secret["data"][WORK_FILE.rpartition("/")[2]])))

    there, back = words("swap"), words("back")
    assert (there["new"], there["former"]) == (back["former"], back["new"])
    assert len({each.job["metadata"]["name"] for each in made.values()}) == len(made)


def test_children_are_those_of_whom_they_are_made_for(make_context):
    """Else somebody else's next look would prune them."""
    ctx = context_of("dedicated", make_context)
    for made_for in (RESTORE, BOOTSTRAP):
        for each in jobs_of(ctx, made_for).values():
            for manifest in (each.begun(), *each.belongings("uid")):
                owner = Owner.of(manifest)
                assert owner is not None
                assert owner.kind == made_for.kind
                if made_for is RESTORE:
                    assert owner == Owner("TenantRestore", "tenants", RESTORE.name, RESTORE.uid)
                else:
                    assert owner.uid == ctx.uid


@pytest.mark.parametrize("case", CASES)
def test_what_neutralizes_it_is_the_restores_own_and_works_beside_what_lives(case, make_context):
    ctx = context_of(case, make_context)
    made, own = restore_jobs.neutralization(ctx, RESTORE, "t_beside"), jobs.neutralization(ctx)
    assert Owner.of(made) == Owner("TenantRestore", "tenants", RESTORE.name, RESTORE.uid)
    assert made["metadata"]["name"] != own["metadata"]["name"]
    template = made["spec"]["template"]
    assert template["metadata"]["labels"] == made["metadata"]["labels"]
    assert template["spec"]["containers"][0]["args"] == ["--database=t_beside"]
    assert {**template["spec"], "containers": []} == {**own["spec"]["template"]["spec"], "containers": []}
