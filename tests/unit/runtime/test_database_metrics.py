"""What a scrape shows of tenants' databases: theirs, by their names, and nothing of those that are gone."""

from __future__ import annotations

from prometheus_client import generate_latest

from odoo_tenancy.api.meta import Key
from odoo_tenancy.reconcile.figures import PoolFigures, TenantFigures
from odoo_tenancy.runtime.metrics import Metrics
from odoo_tenancy.services.postgres import DatabaseActivity

ACME, INITECH = (Key("OdooTenant", "tenants", name) for name in ("acme", "initech"))
EU = Key("HostingPool", "", "eu")
BUSY = DatabaseActivity(7, 12.5, 2, 3, 4096, 900, 100)


def figures(*tenants: Key, activity: DatabaseActivity | None = BUSY) -> PoolFigures:
    return PoolFigures({key: TenantFigures(1024, activity) for key in tenants}, 1.5, {"standby_1": 77}, 1)


def scraped(metrics: Metrics) -> list[str]:
    lines = generate_latest(metrics.registry).decode().splitlines()
    return [line for line in lines if line.startswith(("odoo_tenancy_database", "odoo_tenancy_postgres"))]


def test_each_tenant_has_its_figures_and_each_pool_its_replication() -> None:
    metrics = Metrics()
    metrics.databases.measured(EU, "eu", figures(ACME))
    labels = '{name="acme",namespace="tenants",pool="eu"}'
    assert scraped(metrics) == [
        f"odoo_tenancy_database_size_bytes{labels} 1024.0",
        f"odoo_tenancy_database_connections{labels} 7.0",
        f"odoo_tenancy_database_longest_transaction_seconds{labels} 12.5",
        f"odoo_tenancy_database_lock_waits{labels} 2.0",
        f"odoo_tenancy_database_deadlocks_total{labels} 3.0",
        f"odoo_tenancy_database_temp_bytes_total{labels} 4096.0",
        f"odoo_tenancy_database_cache_hit_blocks_total{labels} 900.0",
        f"odoo_tenancy_database_cache_read_blocks_total{labels} 100.0",
        'odoo_tenancy_postgres_replay_lag_seconds{pool="eu"} 1.5',
        'odoo_tenancy_postgres_standbys{pool="eu"} 1.0',
        'odoo_tenancy_postgres_slot_lag_bytes{pool="eu",slot="standby_1"} 77.0',
    ]


def test_who_is_gone_is_not_shown_and_comes_back_only_where_it_is_measured() -> None:
    metrics = Metrics()
    metrics.databases.measured(EU, "eu", figures(ACME, INITECH))
    metrics.databases.gone(ACME)
    assert not [line for line in scraped(metrics) if "acme" in line]
    assert [line for line in scraped(metrics) if "initech" in line]
    metrics.databases.measured(EU, "eu", figures(ACME))
    assert [line for line in scraped(metrics) if "acme" in line]
    metrics.databases.measured(EU, "eu", None)
    assert not scraped(metrics)


def test_who_has_a_server_of_its_own_is_shown_beside_its_pool() -> None:
    metrics = Metrics()
    metrics.databases.measured(EU, "eu", figures(ACME))
    metrics.databases.measured(INITECH, "eu", figures(INITECH))
    shown = scraped(metrics)
    assert [line for line in shown if "size_bytes" in line and "initech" in line]
    assert len([line for line in shown if "standbys" in line]) == 1, "replication is said of pools"
    metrics.databases.gone(INITECH)
    assert not [line for line in scraped(metrics) if "initech" in line]
    assert [line for line in scraped(metrics) if "acme" in line]


def test_what_was_not_measured_is_left_out() -> None:
    metrics = Metrics()
    metrics.databases.measured(EU, "eu", figures(ACME, activity=None))
    tenants = [line for line in scraped(metrics) if "acme" in line]
    assert [line.partition("{")[0] for line in tenants] == ["odoo_tenancy_database_size_bytes"]
