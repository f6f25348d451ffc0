"""A tenant's life: from nothing to Ready, through what a spec may change."""

from __future__ import annotations

import pytest
from tests.integration.reconcile.stage import Tenants


@pytest.mark.parametrize("tenancy", ["Dedicated", "Shared"])
def test_becomes_ready(tenants: Tenants, tenancy: str) -> None:
    tenants.create("acme", tenancy=tenancy)
    live = tenants.until_ready("acme")
    assert live["status"]["phase"] == "Ready"
