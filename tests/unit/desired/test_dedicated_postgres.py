"""A PostgreSQL of the tenant's own: in full in its golden file, and what must hold whatever that says."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
import yaml
from tests.unit.desired.test_golden import GOLDEN, _Readable, compare, readable

from odoo_tenancy.api.types import parse_quantity
from odoo_tenancy.desired import dedicated_postgres
from odoo_tenancy.desired.budget import own_server_need
from odoo_tenancy.desired.context import Peer
from odoo_tenancy.desired.dedicated_postgres import RESOURCES, DedicatedPostgres

POSTGRES = DedicatedPostgres(
    password="credential-of-the-server",
    image="ghcr.io/cloudnative-pg/postgresql:17",
    operator_namespace="cnpg-system",
    api_server=(Peer(cidr="10.0.0.1/32", ports=(6443,)),),
)


@pytest.fixture
def make(make_context):
    def make(tier="Business", **database):
        return make_context(tenant={"tier": tier, "database": {"placement": "Dedicated", **database}})

    return make


def of_kind(manifests, kind):
    [found] = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def spec(ctx, postgres=POSTGRES):
    return of_kind(dedicated_postgres.build(ctx, postgres), "Cluster")["spec"]


def test_it_becomes_what_its_golden_file_says(make):
    readers = {"enabled": True, "peers": [{"namespaceSelector": {"matchLabels": {"team": "reporting"}}}]}
    manifests = dedicated_postgres.build(make(readOnlyAccess=readers), POSTGRES)
    texts = [yaml.dump(readable(manifest), Dumper=_Readable, width=120) for manifest in manifests]
    compare(GOLDEN / "dedicated-postgres.output.yaml", "---\n".join(texts))


def test_every_manifest_is_the_tenants_and_in_its_data_namespace(make):
    ctx = make()
    for manifest in dedicated_postgres.build(ctx, POSTGRES):
        assert manifest["metadata"]["labels"]["odootenancy.io/tenant-uid"] == ctx.uid
        assert manifest["metadata"]["namespace"] == "odoo-acme-data"


def test_the_password_is_in_its_secret_only_and_not_in_what_is_printed(make):
    hidden = (POSTGRES.password, base64.b64encode(POSTGRES.password.encode()).decode())
    for manifest in dedicated_postgres.build(make(), POSTGRES):
        said = json.dumps(manifest)
        assert any(text in said for text in hidden) == (manifest["kind"] == "Secret")
    assert POSTGRES.password not in repr(POSTGRES)


@pytest.mark.parametrize("tier", sorted(RESOURCES))
def test_what_it_takes_fits_into_its_memory(make, tier):
    """Shared buffers and, should half of the connections sort at once, their work."""
    ctx = make(tier, connectionLimit=100)
    found = dedicated_postgres.parameters(ctx)
    megabytes = {name: int(value.removesuffix("MB")) for name, value in found.items() if value.endswith("MB")}
    memory = int(parse_quantity(RESOURCES[tier].memory_limit)) // 1024**2
    assert megabytes["shared_buffers"] * 4 == memory
    assert megabytes["shared_buffers"] < megabytes["effective_cache_size"] < memory
    if megabytes["work_mem"] > 1:
        busy = int(found["max_connections"]) // 2 * megabytes["work_mem"]
        assert megabytes["shared_buffers"] + busy <= memory


@pytest.mark.parametrize("limit", [40, 60, 61, 200])
def test_all_that_the_tenant_needs_is_let_in(make, limit):
    ctx = make(connectionLimit=limit)
    most = int(dedicated_postgres.parameters(ctx)["max_connections"])
    assert most - 3 >= own_server_need(ctx.effective).total
    assert most < own_server_need(ctx.effective).total + 70


@pytest.mark.parametrize(
    ("instances", "durability"), [(1, None), (2, "preferred"), (3, "required"), (5, "required")]
)
def test_a_commit_is_on_two_instances_where_there_are_two(make, instances, durability):
    synchronous = spec(make(dedicated={"instances": instances}))["postgresql"].get("synchronous")
    if durability is None:
        assert synchronous is None
    else:
        assert synchronous == {"method": "any", "number": 1, "dataDurability": durability}


def test_nobody_comes_in_without_tls_or_as_superuser(make):
    found = spec(make())
    assert found["postgresql"]["pg_hba"] == ["hostnossl all all all reject"]
    assert found["enableSuperuserAccess"] is False
    initdb = found["bootstrap"]["initdb"]
    assert initdb["postInitApplicationSQL"] == [f"ALTER ROLE {initdb['owner']} CREATEDB CREATEROLE"]
    assert "managed" not in found, "CloudNativePG would take the roles from the admin that it makes"


def test_its_size_is_as_asked_for(make):
    assert spec(make())["instances"] == 3
    found = spec(make(dedicated={"instances": 2, "storage": "7Gi"}))
    assert (found["instances"], found["storage"]["size"]) == (2, "7Gi")


def test_without_an_image_it_is_cloudnative_pgs_choice(make):
    assert "imageName" not in spec(make(), replace(POSTGRES, image=""))


def test_the_tenants_pods_come_in_to_postgresql_and_to_nothing_else(make):
    policy = of_kind(dedicated_postgres.build(make(), POSTGRES), "NetworkPolicy")["spec"]
    for rule in policy["ingress"]:
        tenants = [p for p in rule["from"] if "odootenancy.io/tenant-uid" in json.dumps(p)]
        assert not tenants or [p["port"] for p in rule["ports"]] == [5432]
    assert all("to" in rule for rule in policy["egress"]), "out to what is named, and nowhere else"


def test_readers_come_in_only_where_there_are_any(make):
    peers = [{"namespaceSelector": {"matchLabels": {"team": "reporting"}}}]
    closed = dedicated_postgres.build(make(readOnlyAccess={"enabled": False, "peers": peers}), POSTGRES)
    assert "reporting" not in json.dumps(of_kind(closed, "NetworkPolicy"))
