"""What is derived where the spec is silent, and the arithmetic that holds it against budgets."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from odoo_tenancy.api.errors import Refused, Waiting
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.api.pool import HostingPool
from odoo_tenancy.api.tenant import EffectiveSpec, OdooTenant
from odoo_tenancy.api.types import parse_quantity
from odoo_tenancy.desired import budget, namespace
from odoo_tenancy.desired.connections import JOB_SHARES, LEAST, PROBE, connections
from odoo_tenancy.desired.effective import effective

EXAMPLES = Path(__file__).parents[3] / "examples"


def example(name: str) -> Manifest:
    return dict(yaml.safe_load((EXAMPLES / name).read_text()))


@pytest.mark.parametrize(
    ("tier", "replicas", "budgeted", "spread", "severity", "rpo"),
    [
        ("Sandbox", 1, False, "None", "info", 86400),
        ("Standard", 1, False, "None", "warning", 86400),
        ("Business", 2, True, "Preferred", "warning", 14400),
        ("Critical", 3, True, "Required", "critical", 3600),
    ],
)
def test_a_tiers_defaults(make_tenant, make_pool, tier, replicas, budgeted, spread, severity, rpo):
    got = effective(make_tenant(tier=tier), make_pool())
    assert (got.replicas, got.max_replicas, got.disruption_budget) == (replicas, replicas, budgeted)
    assert (got.spread, got.alert_severity, got.rpo_seconds) == (spread, severity, rpo)


def test_what_the_spec_says_wins(make_tenant, make_pool):
    tenant = make_tenant(
        tier="Critical",
        objectives={"rpo": "10m"},
        web={"replicas": 1, "autoscaling": {"maxReplicas": 4}},
        database={"connectionLimit": 90},
        filestore={"storageClassName": "fast"},
    )
    got = effective(tenant, make_pool())
    assert (got.replicas, got.max_replicas, got.rpo_seconds, got.rto_seconds) == (1, 4, 600, 1800)
    assert (got.connections.limit, got.storage_class_name) == (90, "fast")


def test_the_status_has_every_derived_value_in_its_schema(make_tenant, make_pool):
    status = effective(make_tenant(), make_pool()).status()
    # What is not in the schema, the API server drops in silence.
    assert (
        status.items() <= EffectiveSpec.model_validate(status).model_dump(by_alias=True, mode="json").items()
    )


class TestOneNode:
    def test_a_tier_gives_way_to_the_volume(self, make_tenant, make_pool):
        got = effective(
            make_tenant(tier="Critical", filestore={"accessModes": ["ReadWriteOnce"]}), make_pool()
        )
        assert (got.replicas, got.max_replicas, got.autoscaled, got.spread) == (1, 1, False, "None")
        assert got.single_node
        assert not got.disruption_budget
        assert got.rolling_pods == 1

    @pytest.mark.parametrize("web", [{"replicas": 2}, {"autoscaling": {"maxReplicas": 2}}])
    def test_more_replicas_are_refused_with_the_mend_also_when_the_pool_says_so(
        self, make_tenant, make_pool, web
    ):
        pool = make_pool(storage={"accessModes": ["ReadWriteOnce"]})
        with pytest.raises(Refused) as refusal:
            effective(make_tenant(web=web), pool)
        assert refusal.value.reason == "AccessModeAllowsOneReplica"
        assert "ReadWriteMany" in refusal.value.message

    def test_a_volume_of_one_pod_is_refused(self, make_tenant, make_pool):
        with pytest.raises(Refused) as refusal:
            effective(make_tenant(filestore={"accessModes": ["ReadWriteOncePod"]}), make_pool())
        assert refusal.value.reason == "AccessModeNotSupported"


def test_a_server_of_its_own_takes_nothing_of_the_pools_budget(make_tenant, make_pool):
    external = {"host": "db.example.com", "adminSecretRef": {"name": "s"}}
    found = effective(make_tenant(database={"placement": "External", "external": external}), make_pool())
    assert found.database_placement == "External"
    assert budget.reservation(found) == 0
    assert budget.reservation(effective(make_tenant(), make_pool())) > 0


def test_what_a_server_of_its_own_must_let_in_is_reckoned(make_tenant, make_pool):
    external = {"host": "db.example.com", "adminSecretRef": {"name": "s"}}
    database = {
        "placement": "External",
        "external": external,
        "connectionLimit": 60,
        "readOnlyAccess": {"enabled": True, "connectionLimit": 7},
    }
    need = budget.own_server_need(effective(make_tenant(database=database), make_pool()))
    assert need.total == 60 + 60 + 7 + 5 + 4
    assert "60 for Odoo, 60 more" in need.terms


def test_a_request_never_exceeds_its_limit(make_tenant, make_pool):
    low = effective(
        make_tenant(web={"resources": {"limits": {"cpu": "50m", "memory": "64Mi"}}}), make_pool()
    ).web
    assert (low.cpu_request, low.memory_request) == ("50m", "64Mi")
    high = effective(
        make_tenant(web={"resources": {"requests": {"cpu": "3", "memory": "6Gi"}}}), make_pool()
    ).web
    assert (high.cpu_limit, high.memory_limit) == ("3", "6Gi")


class TestQuota:
    def test_the_defaults_fit_into_the_contracts_example(self, make_tenant, make_pool):
        tenant = make_tenant(quota={"cpu": "4", "memory": "8Gi", "storage": "40Gi", "pods": 20})
        budget.check_quota(tenant, effective(tenant, make_pool()))

    def test_a_shared_quota_holds_all_that_may_run_at_once_and_not_a_bit_less(self, make_tenant, make_pool):
        """Web (2 cores, 4Gi while it rolls), cron, and as many Jobs as a Dedicated namespace's own quota lets run."""
        exact = {"cpu": "5500m", "memory": "9Gi", "storage": "10Gi", "pods": 5}
        tenant = make_tenant(tenancy="Shared", quota=exact)
        budget.check_quota(tenant, effective(tenant, make_pool()))
        for less in ({"cpu": "5499m"}, {"memory": "9215Mi"}, {"storage": "9Gi"}, {"pods": 4}):
            tenant = make_tenant(tenancy="Shared", quota=exact | less)
            with pytest.raises(Refused, match=next(iter(less))):
                budget.check_quota(tenant, effective(tenant, make_pool()))

    def test_the_jobs_that_are_counted_are_those_that_a_namespace_of_its_own_lets_run(
        self, make_tenant, make_pool, make_context
    ):
        shared, own = make_tenant(tenancy="Shared"), make_tenant()
        beside, alone = (budget.need(t, effective(t, make_pool())) for t in (shared, own))
        children = namespace.build(make_context())
        (quota,) = [m for m in children if m["metadata"]["name"] == "odoo-jobs"]
        hard = quota["spec"]["hard"]
        assert beside.cpu - alone.cpu == parse_quantity(hard["limits.cpu"])
        assert beside.memory - alone.memory == parse_quantity(hard["limits.memory"])
        assert beside.pods - alone.pods == int(hard["pods"])

    def test_the_examples_fit_into_their_quotas_and_into_their_pool(self):
        pool = HostingPool.parse(example("pool.yaml"))
        tenants = [OdooTenant.parse(example(name)) for name in ("acme.yaml", "initech.yaml", "staging.yaml")]
        for tenant in tenants:
            budget.check_quota(tenant, effective(tenant, pool))
        needs = [budget.need(t, effective(t, pool)) for t in tenants if t.spec.tenancy == "Shared"]
        quota = pool.spec.quota
        assert quota.cpu
        assert quota.memory
        assert quota.storage
        assert quota.pods
        assert sum(need.cpu for need in needs) <= parse_quantity(quota.cpu)
        assert sum(need.memory for need in needs) <= parse_quantity(quota.memory)
        assert sum(need.storage for need in needs) <= parse_quantity(quota.storage)
        assert sum(need.pods for need in needs) <= quota.pods

    def test_a_refusal_shows_the_arithmetic(self, make_tenant, make_pool):
        tenant = make_tenant(
            tenancy="Shared",
            web={"replicas": 2, "resources": {"limits": {"cpu": "2", "memory": "3Gi"}}},
            filestore={"size": "50Gi"},
            quota={"cpu": "4", "memory": "8Gi", "storage": "40Gi", "pods": 3},
        )
        with pytest.raises(Refused) as refusal:
            budget.check_quota(tenant, effective(tenant, make_pool()))
        message = refusal.value.message
        assert refusal.value.reason == "QuotaTooSmall"
        assert "cpu: web 3 × 2 + cron 500m + Job 1 + backup 2 = 9.5 of 4" in message
        assert "memory: web 3 × 3Gi + cron 1Gi + Job 2Gi + backup 2Gi = 14Gi of 8Gi" in message
        assert "storage: filestore 50Gi of 40Gi" in message
        assert "pods: web 3 + cron 1 + Job 1 + backup 1 = 6 of 3" in message

    def test_jobs_have_a_quota_of_their_own_in_a_dedicated_namespace(self, make_tenant, make_pool):
        tenant = make_tenant(quota={"pods": 3})
        budget.check_quota(tenant, effective(tenant, make_pool()))
        shared = make_tenant(tenancy="Shared", quota={"pods": 3})
        with pytest.raises(Refused):
            budget.check_quota(shared, effective(shared, make_pool()))

    def test_what_is_not_limited_is_not_checked(self, make_tenant, make_pool):
        tenant = make_tenant(tier="Critical", web={"replicas": 100})
        budget.check_quota(tenant, effective(tenant, make_pool()))

    @given(st.integers(1, 50), st.integers(0, 50), st.integers(0, 64))
    def test_more_never_needs_less(self, make_tenant, make_pool, replicas, extra, workers):
        def need(replicas: int, workers: int) -> budget.Need:
            tenant = make_tenant(tenancy="Shared", web={"replicas": replicas, "workers": workers})
            return budget.need(tenant, effective(tenant, make_pool()))

        small, large = need(replicas, workers), need(replicas + extra, workers)
        assert (small.cpu, small.memory, small.pods) <= (large.cpu, large.memory, large.pods)
        assert need(replicas, workers + 1).memory > small.memory


class TestConnectionBudget:
    def test_what_fits_exactly_fits(self, make_pool):
        budget.check_connections(make_pool(), wanted=37, reserved=303, overlap=40)

    def test_one_too_many_waits_and_says_how_it_was_reckoned(self, make_pool):
        with pytest.raises(Waiting) as refusal:
            budget.check_connections(make_pool(), wanted=37, reserved=304, overlap=40)
        assert refusal.value.reason == "ConnectionBudgetExceeded"
        assert "other tenants reserve 304, this one needs 37: 1 too many" in refusal.value.message

    def test_overcommit_is_exact(self, make_pool):
        postgres = {
            "host": "h",
            "adminSecretRef": {"name": "a"},
            "connectionBudget": 100,
            "overcommit": 1.1,
        }
        pool = make_pool(postgres=postgres)
        budget.check_connections(pool, wanted=50, reserved=0, overlap=40)
        with pytest.raises(Waiting):
            budget.check_connections(pool, wanted=51, reserved=0, overlap=40)

    def test_a_read_only_role_counts(self, make_tenant, make_pool):
        access = {"enabled": True, "connectionLimit": 5}
        tenant = make_tenant(database={"connectionLimit": 40, "readOnlyAccess": access})
        assert budget.reservation(effective(tenant, make_pool())) == 45


def test_a_limit_that_holds_no_odoo_is_refused_with_the_arithmetic() -> None:
    """Of two web pods with two workers, a master and a websocket process each, a cron of one thread, and a Job."""
    need = (2 * (2 + 2) + (1 + 1) + JOB_SHARES) * LEAST + PROBE
    assert connections(limit=need, web_pods=2, workers=2, cron_threads=1).per_worker == LEAST
    with pytest.raises(Refused, match=f"need {need}: raise the limit") as refusal:
        connections(limit=need - 1, web_pods=2, workers=2, cron_threads=1)
    assert refusal.value.reason == "ConnectionLimitTooLow"


def test_a_shared_tenant_from_before_the_schema_said_so_gets_no_server_of_its_own(make_tenant, make_pool):
    for part in ("redis", "database"):
        asks = make_tenant(tenancy="Dedicated", **{part: {"placement": "Dedicated"}})
        old = asks.model_copy(update={"spec": asks.spec.model_copy(update={"tenancy": "Shared"})})
        with pytest.raises(Refused, match=rf"spec\.{part}\.placement") as refusal:
            effective(old, make_pool())
        assert refusal.value.reason == "DedicatedNeedsOwnNamespace"
