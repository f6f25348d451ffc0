"""What is opened, what never is, and for whom."""

from __future__ import annotations

import pytest

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.desired import network


def blocks(ctx):
    policies = {policy["metadata"]["name"].rsplit("odoo-")[-1]: policy for policy in network.build(ctx)}
    isolation = policies["isolation"]["spec"]
    return [to["ipBlock"] for rule in isolation["egress"] for to in rule["to"] if "ipBlock" in to]


@pytest.mark.parametrize(
    "cidr", ["169.254.169.254/32", "169.254.0.0/16", "169.254.1.0/24", "fd00:ec2::254/128"]
)
def test_the_metadata_service_is_never_opened(make_context, cidr):
    with pytest.raises(Refused) as refusal:
        network.build(make_context({"network": {"egress": [{"cidr": cidr}]}}))
    assert refusal.value.reason == "EgressNotAllowed"
    assert cidr in refusal.value.message


@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "128.0.0.0/1", "169.0.0.0/8"])
def test_a_wide_network_leaves_it_out(make_context, cidr):
    (block,) = blocks(make_context({"network": {"egress": [{"cidr": cidr, "ports": [443]}]}}))
    assert "169.254.0.0/16" in block["except"]


def test_the_internet_does_not_have_the_cluster_in_it(make_context):
    wide = {"network": {"egress": [{"cidr": "0.0.0.0/0"}, {"cidr": "::/0"}]}}
    four, six = blocks(make_context(wide))
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"} <= set(four["except"])
    assert {"fc00::/7", "fe80::/10"} <= set(six["except"])


def test_a_private_network_that_is_named_is_opened(make_context):
    named = {"network": {"egress": [{"cidr": "10.0.0.0/8"}, {"cidr": "192.168.7.0/24"}]}}
    assert blocks(make_context(named)) == [{"cidr": "10.0.0.0/8"}, {"cidr": "192.168.7.0/24"}]


@pytest.mark.parametrize("tenancy", ["Dedicated", "Shared"])
def test_every_policy_of_a_tenant_selects_its_own_pods_or_its_own_namespace(make_context, tenancy):
    ctx = make_context({"tenancy": tenancy})
    for policy in network.build(ctx):
        selector = policy["spec"]["podSelector"]
        if selector:
            assert selector["matchLabels"]["odootenancy.io/tenant-uid"] == ctx.uid
        else:
            assert tenancy == "Dedicated"
            assert policy["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("tenancy", ["Dedicated", "Shared"])
def test_nothing_comes_in_but_from_traefik_to_web(make_context, tenancy):
    ingress = [
        (policy["spec"]["podSelector"]["matchLabels"].get("app.kubernetes.io/component"), rule)
        for policy in network.build(make_context({"tenancy": tenancy}))
        for rule in policy["spec"].get("ingress", [])
    ]
    ((component, rule),) = ingress
    assert component == "web"
    traefik = {"matchLabels": {"kubernetes.io/metadata.name": "traefik"}}
    assert rule["from"] == [{"namespaceSelector": traefik}]
    assert [port["port"] for port in rule["ports"]] == [8069, 8072]
