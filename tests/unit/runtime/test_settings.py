"""Settings come from the environment only, are all documented, and are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from odoo_tenancy.runtime.__main__ import main
from odoo_tenancy.runtime.settings import Settings
from odoo_tenancy.runtime.settings_page import page

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"


def test_the_page_is_what_the_class_says() -> None:
    assert PAGE.read_text() == page(), "run: python -m odoo_tenancy.runtime.settings_page > docs/settings.md"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_says_what_it_is_for(name: str) -> None:
    assert len(Settings.model_fields[name].description or "") > 20


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODOO_TENANCY_POOLS", "eu, us,")
    monkeypatch.setenv("ODOO_TENANCY_WATCH_NAMESPACES", "tenants")
    settings = Settings()
    assert settings.pools == ("eu", "us")
    assert settings.watch_namespaces == ("tenants",)
    assert settings.serves("eu")
    assert not settings.serves("asia")
    assert Settings(pools=()).serves("asia")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("WORKERS", "0", "WORKERS"),
        ("RESYNC", "often", "RESYNC"),
        ("LOG_FORMAT", "xml", "LOG_FORMAT"),
        ("LEASE_RENEW_DEADLINE", "15", "LEASE_RENEW_DEADLINE must be below ODOO_TENANCY_LEASE_DURATION"),
        ("LEASE_RETRY_PERIOD", "11", "LEASE_RETRY_PERIOD must be below ODOO_TENANCY_LEASE_RENEW_DEADLINE"),
        ("WATCH_IDLE", "500", "WATCH_IDLE must be below ODOO_TENANCY_WATCH_SILENCE"),
        ("BACKOFF_BASE", "500", "BACKOFF_BASE must not be above"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(f"ODOO_TENANCY_{name}", value)
    assert main() == 2
    assert says in capsys.readouterr().err


def test_pools_are_looked_at_more_often() -> None:
    settings = Settings(resync=300, pool_resync=15)
    assert (settings.resync_of("OdooTenant"), settings.resync_of("HostingPool")) == (300, 15)
