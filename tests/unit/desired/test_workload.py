"""Every pod is hardened; what runs at once and where follows the volume; a change of configuration rolls
out."""

from __future__ import annotations

import pytest

from odoo_tenancy.desired import jobs, tenant, workload


def pods(ctx):
    stages = (tenant.initialization, tenant.installation, tenant.image_check, tenant.workload)
    manifests = [manifest for stage in stages for manifest in stage(ctx)]
    return {
        m["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]: m["spec"]["template"]
        for m in manifests
        if "template" in m.get("spec", {})
    }


def deployment(ctx, name, **options):
    (found,) = [
        m
        for m in workload.build(ctx, **options)
        if m["kind"] == "Deployment" and m["metadata"]["name"] == name
    ]
    return found


def kinds(ctx, **options):
    return [m["kind"] for m in workload.build(ctx, **options)]


@pytest.mark.parametrize("component", ["init", "modules", "image", "web", "cron"])
def test_every_pod_fits_pod_security_restricted(make_context, component):
    pod = pods(make_context())[component]["spec"]
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 100
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert container["resources"]["limits"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)


def test_one_node_for_all_that_mount_its_volume_and_none_of_them_overlap(make_context):
    ctx = make_context({"filestore": {"accessModes": ["ReadWriteOnce"]}})
    for component, template in pods(ctx).items():
        mounts = any("persistentVolumeClaim" in volume for volume in template["spec"]["volumes"])
        assert mounts == (component in ("web", "cron", "modules"))
        if mounts:
            (term,) = template["spec"]["affinity"]["podAffinity"][
                "requiredDuringSchedulingIgnoredDuringExecution"
            ]
            assert term["topologyKey"] == "kubernetes.io/hostname"
            # Its own peer, or the first of them could never be scheduled.
            assert term["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert deployment(ctx, "odoo-web")["spec"]["strategy"] == {"type": "Recreate"}


def test_volumes_of_many_nodes_bind_nobody(make_context):
    assert all("affinity" not in template["spec"] for template in pods(make_context()).values())


def test_an_autoscaler_owns_the_replicas(make_context):
    ctx = make_context({"web": {"replicas": 2, "autoscaling": {"maxReplicas": 4}}})
    assert "replicas" not in deployment(ctx, "odoo-web")["spec"]
    assert "HorizontalPodAutoscaler" in kinds(ctx)


def test_suspended_is_nothing_that_runs_and_nothing_that_starts_it_again(make_context):
    ctx = make_context({"suspended": True, "tier": "Critical", "web": {"autoscaling": {"maxReplicas": 9}}})
    for name in ("odoo-web", "odoo-cron"):
        assert deployment(ctx, name)["spec"]["replicas"] == 0
    assert kinds(ctx) == ["Service", "Deployment", "Deployment"]


def test_stopped_is_the_same_whatever_the_spec_says(make_context):
    ctx = make_context({"tier": "Critical"})
    assert kinds(ctx, stopped=True) == ["Service", "Deployment", "Deployment"]
    assert deployment(ctx, "odoo-web", stopped=True)["spec"]["replicas"] == 0


@pytest.mark.parametrize(
    ("facts", "changes"),
    [({}, False), ({"extraConfig": {"log_level": "warn"}}, True)],
)
def test_a_changed_configuration_rolls_out(make_context, facts, changes):
    before, after = pods(make_context()), pods(make_context(facts=facts))
    for component in ("web", "cron"):
        assert (before[component] != after[component]) == changes


def test_liveness_is_more_patient_than_the_longest_request(make_context):
    def patience(**config: str) -> int:
        ctx = make_context({"odoo": {"image": "odoo:19.0", "config": config}})
        probe = pods(ctx)["web"]["spec"]["containers"][0]["livenessProbe"]
        return probe["failureThreshold"] * probe["periodSeconds"]

    assert patience() > 120
    assert patience(limit_time_real="600") > 600
    assert patience(limit_time_real="-1") == patience()


def test_a_job_that_does_something_else_is_another_job(make_context):
    def name(**odoo) -> str:
        return jobs.job_name(make_context({"odoo": {"image": "odoo:19.0", **odoo}}), "modules")

    plain = name()
    assert plain == name(modules=["web", "base"])
    assert (
        len(
            {plain, name(modules=["base", "web", "sale"]), name(languages=["de_DE"]), name(image="odoo:19.1")}
        )
        == 4
    )


def test_jobs_end_in_their_own_quota(make_context):
    """A quota's scope Terminating looks at the pod's deadline, not at the Job's."""
    found = pods(make_context())
    assert all("activeDeadlineSeconds" in found[part]["spec"] for part in ("init", "modules", "image"))
    assert all("activeDeadlineSeconds" not in found[part]["spec"] for part in ("web", "cron"))
