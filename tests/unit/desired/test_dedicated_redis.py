"""A Redis of the tenant's own: in full in its golden file, and what must hold whatever that says."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.desired.test_golden import GOLDEN, _Readable, compare, readable

from odoo_tenancy.api.types import parse_quantity
from odoo_tenancy.desired import dedicated_redis, labels
from odoo_tenancy.desired.dedicated_redis import DedicatedRedis

REDIS = DedicatedRedis(
    image="redis:7.0",
    password_hashes=("a" * 64,),
    operator_hash="b" * 64,
    certificate=b"-----BEGIN CERTIFICATE-----\nof the server\n",
    key=b"credential-of-the-key\n",
    ca=b"-----BEGIN CERTIFICATE-----\nof the authority\n",
    storage=str(2**30),
    storage_class_name="fast",
)


@pytest.fixture
def ctx(make_context):
    return make_context(tenant={"redis": {"placement": "Dedicated", "maxMemory": "256Mi"}})


def everything(ctx, redis=REDIS, **options):
    return [*dedicated_redis.fences(ctx), *dedicated_redis.build(ctx, redis, **options)]


def of_kind(manifests, kind):
    [found] = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def test_it_becomes_what_its_golden_file_says(ctx):
    texts = [yaml.dump(readable(manifest), Dumper=_Readable, width=120) for manifest in everything(ctx)]
    compare(GOLDEN / "dedicated-redis.output.yaml", "---\n".join(texts))


def test_the_same_input_gives_the_same_manifests(ctx):
    assert everything(ctx) == everything(ctx)


def test_credentials_are_in_secrets_only_and_not_in_what_is_printed(ctx):
    hidden = ["a" * 64, "b" * 64, "credential-of-the-key"]
    hidden += [base64.b64encode(text.encode()).decode()[:20] for text in hidden]
    for manifest in everything(ctx):
        if manifest["kind"] != "Secret":
            assert not any(text in json.dumps(manifest) for text in hidden)
    assert not any(text in repr(REDIS) for text in hidden)


def test_every_manifest_is_the_tenants_and_in_its_data_namespace(ctx):
    for manifest in everything(ctx):
        assert manifest["metadata"]["labels"]["odootenancy.io/tenant-uid"] == ctx.uid
        where = manifest["metadata"].get("namespace", manifest["metadata"]["name"])
        assert where == "odoo-acme-data"


def test_the_pod_is_hardened(ctx):
    pod = of_kind(everything(ctx), "StatefulSet")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def test_only_the_tenants_pods_and_the_operators_get_in_and_nothing_but_names_gets_out(ctx):
    manifests = everything(ctx)
    policies = {m["metadata"]["name"]: m["spec"] for m in manifests if m["kind"] == "NetworkPolicy"}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    redis = policies["redis"]
    [rule] = redis["ingress"]
    assert rule["ports"] == [{"port": 6379, "protocol": "TCP"}]
    assert rule["from"] == [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "odoo-acme"}},
            "podSelector": {"matchLabels": {"odootenancy.io/tenant-uid": ctx.uid}},
        },
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ctx.operator_namespace}},
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "odoo-tenancy-operator"}},
        },
    ]
    assert [{port["port"] for port in rule["ports"]} for rule in redis["egress"]] == [{53}]
    marks = of_kind(manifests, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert redis["podSelector"]["matchLabels"].items() <= marks.items()
    [peer] = dedicated_redis.access(ctx.tenant, "unused", ctx.claim, "ca").peers
    assert peer.pod_labels.items() <= marks.items()
    assert peer.namespace_labels == {"kubernetes.io/metadata.name": "odoo-acme-data"}


def test_the_operators_pods_are_labelled_and_placed_as_the_policy_names_them(ctx):
    base = Path(__file__).parents[3] / "manifests" / "base"
    deployment = yaml.safe_load((base / "deployment.yaml").read_text())
    assert labels.of_operator().items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert deployment["metadata"]["namespace"] == ctx.operator_namespace


@pytest.mark.parametrize("size", ["64Mi", "256Mi", "1Gi", "1500k"])
def test_memory_fits_into_the_container(make_context, size):
    ctx = make_context(tenant={"redis": {"placement": "Dedicated", "maxMemory": size}})
    [container] = of_kind(everything(ctx), "StatefulSet")["spec"]["template"]["spec"]["containers"]
    wanted = int(parse_quantity(size))
    assert f"maxmemory {wanted}\n" in dedicated_redis.configuration(ctx, REDIS)
    assert parse_quantity(container["resources"]["requests"]["memory"]) > wanted
    assert parse_quantity(container["resources"]["limits"]["memory"]) > 2 * wanted


def test_what_is_read_at_start_only_restarts_it(ctx, make_context):
    other = make_context(tenant={"redis": {"placement": "Dedicated", "maxMemory": "128Mi"}})
    changes: list[dict[str, Any]] = [{}, {"operator_hash": "c" * 64}]
    changes += [{name: b"new"} for name in ("certificate", "key", "ca")]
    found = [stateful_set(other, REDIS), *(stateful_set(ctx, replace(REDIS, **change)) for change in changes)]
    templates = [each["spec"]["template"]["metadata"]["annotations"] for each in found]
    assert len({t["odootenancy.io/config-digest"] for t in templates}) == len(found)


def test_another_password_is_in_its_configuration_and_restarts_nothing(ctx):
    rotating = replace(REDIS, password_hashes=("a" * 64, "c" * 64))
    assert stateful_set(ctx, rotating) == stateful_set(ctx, REDIS)
    assert f"#{'a' * 64} #{'c' * 64} " in dedicated_redis.configuration(ctx, rotating)


def stateful_set(ctx, redis):
    return of_kind(everything(ctx, redis), "StatefulSet")


def test_stopped_it_has_no_pod_and_keeps_its_volume(ctx):
    running, stopped = (of_kind(everything(ctx, stopped=s), "StatefulSet")["spec"] for s in (False, True))
    assert (running["replicas"], stopped["replicas"]) == (1, 0)
    assert of_kind(everything(ctx, stopped=True), "PersistentVolumeClaim")


@pytest.mark.parametrize(("memory", "volume"), [("64Mi", 2**30), ("256Mi", 2**30), ("1Gi", 2**32)])
def test_the_volume_holds_the_append_only_file_four_times(make_context, memory, volume):
    ctx = make_context(tenant={"redis": {"placement": "Dedicated", "maxMemory": memory}})
    assert dedicated_redis.least_storage(ctx) == volume


def test_nothing_of_it_is_immutable_but_by_its_name(make_context):
    """Kubernetes refuses a StatefulSet whose volumeClaimTemplates or selector differ: the claim is one of its own."""
    for memory in ("64Mi", "4Gi"):
        ctx = make_context(tenant={"redis": {"placement": "Dedicated", "maxMemory": memory}})
        spec = of_kind(everything(ctx), "StatefulSet")["spec"]
        assert "volumeClaimTemplates" not in spec
        assert {"persistentVolumeClaim": {"claimName": "redis-data"}, "name": "data"} in spec["template"][
            "spec"
        ]["volumes"]
