"""What the Jobs of a backup may do, and what they may not. ``GOLDEN=write`` writes the golden files anew."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
import yaml
from tests.unit.desired.test_golden import GOLDEN, _Readable, compare, context_of, readable

from odoo_tenancy.api.work import PASSWORD_FILE, TERMINATION_MESSAGE, WORK_FILE
from odoo_tenancy.desired import backup_jobs, labels
from odoo_tenancy.desired.backup_jobs import BackupJob, Run
from odoo_tenancy.desired.context import Peer, TenantContext
from odoo_tenancy.desired.network import build as network

CASES = ("dedicated", "shared", "one-node-volume", "external")
STORE = Peer(cidr="203.0.113.9/32", ports=(443,))
SECRET = "credential-of-the-store"
RUN = Run(
    backup="acme-202611230400",
    uid="00000000-0000-0000-0000-00000000b001",
    timeout_seconds=14400,
    work='{"a": "work"}',
    files={"repository-password": SECRET.encode(), "store-ca.crt": b"-----BEGIN CERTIFICATE-----\n"},
    environment={"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": SECRET, "PGPASSWORD": SECRET},
    peers=(STORE,),
    repository="0123456789abcdef0123456789abcdef",
)


def jobs_of(ctx: TenantContext, run: Run = RUN) -> dict[str, BackupJob]:
    return {
        "prepare": backup_jobs.prepare(ctx, run),
        "backup": backup_jobs.backup(ctx, run),
        "verify": backup_jobs.verify(ctx, run),
    }


def pod_of(made: BackupJob) -> dict[str, Any]:
    return dict(made.job["spec"]["template"]["spec"])


@pytest.fixture(params=CASES)
def made(request, make_context) -> dict[str, BackupJob]:
    return jobs_of(context_of(request.param, make_context))


@pytest.mark.parametrize("case", CASES)
def test_a_backup_becomes_what_its_golden_file_says(case, make_context):
    manifests = [
        manifest
        for made in jobs_of(context_of(case, make_context)).values()
        for manifest in (made.begun(), *made.belongings("uid-of-the-job"))
    ]
    text = "---\n".join(yaml.dump(readable(m), Dumper=_Readable, width=120) for m in manifests)
    compare(GOLDEN / f"backup-{case}.output.yaml", text)


def test_no_pod_has_rights_or_may_write_where_it_runs(made):
    for each in made.values():
        pod = pod_of(each)
        (container,) = pod["containers"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        writable = [m["name"] for m in container["volumeMounts"] if not m.get("readOnly")]
        assert set(writable) <= {"scratch", "tmp"}
        assert set(container["resources"]["limits"]) == {"cpu", "memory"}


def test_a_backup_reads_odoos_files_as_odoo_does(make_context):
    ctx = context_of("one-node-volume", make_context)
    pod = pod_of(backup_jobs.backup(ctx, RUN))
    odoo = ctx.tenant.spec.odoo
    assert pod["securityContext"]["runAsUser"] == odoo.run_as_user
    assert pod["securityContext"]["fsGroup"] == odoo.fs_group
    (term,) = pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    on_pod = backup_jobs.backup(ctx, RUN).job["spec"]["template"]["metadata"]["labels"]
    # Where nothing else mounts the volume it is its own peer, or it would wait for ever.
    assert term["labelSelector"]["matchLabels"].items() <= on_pod.items()
    assert "affinity" not in pod_of(backup_jobs.verify(ctx, RUN))


def test_both_the_job_and_its_pod_end_in_time(made):
    for each in made.values():
        assert each.job["spec"]["activeDeadlineSeconds"] == RUN.timeout_seconds
        assert pod_of(each)["activeDeadlineSeconds"] == RUN.timeout_seconds  # the scope of the Jobs' quota


def test_a_job_waits_until_all_that_belongs_to_it_is_there(made):
    for each in made.values():
        assert each.begun()["spec"]["suspend"] is True
        assert each.released()["spec"] == {**each.begun()["spec"], "suspend": False}
        for belonging in each.belongings("uid-of-the-job"):
            (owner,) = belonging["metadata"]["ownerReferences"]
            assert (owner["kind"], owner["name"], owner["uid"]) == (
                "Job", each.job["metadata"]["name"], "uid-of-the-job",
            )  # fmt: skip
            assert belonging["metadata"]["namespace"] == each.job["metadata"]["namespace"]


def test_credentials_are_in_the_secret_and_nowhere_else(made):
    encoded = base64.b64encode(SECRET.encode()).decode()
    for each in made.values():
        assert json.dumps(each.secret).count(encoded) == 3
        assert SECRET not in json.dumps([each.begun(), each.policy]) + repr(each) + repr(RUN)
        assert encoded not in json.dumps([each.begun(), each.policy]) + repr(each)


def test_a_job_finds_its_work_where_it_looks(made):
    for each in made.values():
        (container,) = pod_of(each)["containers"]
        (work,) = [v for v in pod_of(each)["volumes"] if v["name"] == "work"]
        (mount,) = [m for m in container["volumeMounts"] if m["name"] == "work"]
        there = {f"{mount['mountPath']}/{item['path']}" for item in work["secret"]["items"]}
        assert {WORK_FILE, PASSWORD_FILE} <= there
        assert container["terminationMessagePath"] == TERMINATION_MESSAGE
        assert work["secret"]["secretName"] == each.secret["metadata"]["name"]


def test_it_may_talk_to_the_resolver_and_its_peers_and_to_nobody_else(made):
    for each in made.values():
        spec, marks = each.policy["spec"], each.job["spec"]["template"]["metadata"]["labels"]
        assert spec["podSelector"]["matchLabels"].items() <= marks.items()
        assert "ingress" not in spec
        assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
        resolver, store = spec["egress"]
        assert {port["port"] for port in resolver["ports"]} == {53}
        assert store == {"to": [{"ipBlock": {"cidr": "203.0.113.9/32"}}],
                         "ports": [{"port": 443, "protocol": "TCP"}]}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_odoo_may_reach_a_backup_may_not(case, make_context):
    """Policies add up: the tenant's own must pass the Jobs of a backup by."""
    ctx = context_of(case, make_context)
    isolation = network(ctx)[0]["spec"]["podSelector"]
    (but,) = isolation["matchExpressions"]
    assert (but["key"], but["operator"]) == (labels.COMPONENT, "NotIn")
    for component, each in jobs_of(ctx).items():
        if component != "prepare":
            assert each.job["spec"]["template"]["metadata"]["labels"][labels.COMPONENT] in but["values"]


def test_recovery_keys_are_prepared_away_from_the_tenant(make_context):
    ctx = context_of("dedicated", make_context)
    made = jobs_of(ctx)
    assert made["prepare"].job["metadata"]["namespace"] == ctx.operator_namespace
    assert made["backup"].job["metadata"]["namespace"] != ctx.operator_namespace
    assert pod_of(made["prepare"])["serviceAccountName"] == "default"


def test_each_backup_prepares_for_itself(make_context):
    """A Job of one that failed stays for a day, and must not be in the way of the next one."""
    ctx, other = context_of("dedicated", make_context), replace(RUN, uid="another")
    for one, two in zip(jobs_of(ctx).values(), jobs_of(ctx, other).values(), strict=True):
        assert one.job["metadata"]["name"] != two.job["metadata"]["name"]


def test_nothing_of_a_backup_counts_as_the_tenants_own_child(made):
    """Else the tenant's next look would prune it."""
    from odoo_tenancy.cluster.objects import Owner

    for each in made.values():
        for manifest in (each.begun(), *each.belongings("uid")):
            owner = Owner.of(manifest)
            assert owner == Owner("TenantBackup", "tenants", RUN.backup, RUN.uid)
