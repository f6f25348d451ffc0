"""Names are bounded, well-formed where they go, and tell tenants apart."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odoo_tenancy.api.tenant import OdooTenant
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.desired import names, tenant

DNS_1035 = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
claims = st.text("0123456789abcdef", min_size=32, max_size=32)
tenant_names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?", fullmatch=True)


def a_tenant(name: str, namespace: str = "tenants", tenancy: str = "Shared") -> OdooTenant:
    spec = {
        "tenancy": tenancy,
        "poolRef": {"name": "p"},
        "odoo": {"image": "odoo:19.0"},
        "routing": {"hosts": ["h"]},
    }
    return OdooTenant.parse(
        {
            "apiVersion": "odootenancy.io/v1alpha1",
            "kind": "OdooTenant",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
    )


@given(tenant_names, claims, st.sampled_from(["Shared", "Dedicated"]))
def test_a_child_of_any_tenant_has_a_name_that_a_service_may_have(name, claim, tenancy):
    for part in ("web", "init-01234567", "modules-01234567", "pull-01234567"):
        assert DNS_1035.fullmatch(names.child(a_tenant(name, tenancy=tenancy), claim, part))


@given(tenant_names, claims, claims)
def test_tenants_of_one_name_in_one_namespace_have_children_of_different_names(name, one, other):
    if one[:16] != other[:16]:
        first = names.child(a_tenant(name, "tenants"), one, "web")
        assert first != names.child(a_tenant(name, "others"), other, "web")


@given(claims)
def test_names_in_postgresql_fit_and_need_no_quotes(claim):
    for name in (names.database(claim), names.login_role(claim), names.login_role(claim, "b")):
        assert re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name)


def test_a_template_is_shared_by_those_whose_fresh_databases_are_equal_and_by_nobody_else():
    key = names.template_key("odoo@sha256:1", ["base", "web"], ["en_US", "de_DE"], False)
    assert key == names.template_key("odoo@sha256:1", ["web", "base", "web"], ["de_DE", "en_US"], False)
    others = [
        names.template_key("odoo@sha256:2", ["base", "web"], ["en_US", "de_DE"], False),
        names.template_key("odoo@sha256:1", ["base", "web", "sale"], ["en_US", "de_DE"], False),
        names.template_key("odoo@sha256:1", ["base", "web"], ["en_US"], False),
        names.template_key("odoo@sha256:1", ["base", "web"], ["en_US", "de_DE"], True),
    ]
    assert len({key, *others}) == 5
    assert len(names.template_database(key)) <= 63


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_a_digest_knows_where_its_parts_end(one, other):
    assert (names.digest(*one) == names.digest(*other)) == (one == other)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [({}, "odoo-acme"), ({"namespace": "acme-prod"}, "acme-prod"), ({"tenancy": "Shared"}, "the-pool")],
)
def test_where_a_tenant_runs(make_tenant, spec, expected):
    assert names.namespace(make_tenant(**spec), "the-pool") == expected


def test_children_in_a_shared_namespace_differ_for_tenants_of_one_name(make_context):
    def children(beside: str, claim: str) -> set[ObjectRef]:
        ctx = make_context({"tenancy": "Shared"}, beside=beside, claim=claim)
        stages = (tenant.fences, tenant.volume, tenant.configuration, tenant.workload, tenant.routing)
        return {ObjectRef.of(manifest) for stage in stages for manifest in stage(ctx)}

    assert not children("tenants", "a" * 32) & children("others", "b" * 32)
