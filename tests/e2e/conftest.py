"""The local cluster with the operator and the example tenants on it, as ``make demo`` leaves it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.tenants import Tenants

from devcluster.paths import STATE
from odoo_tenancy.cluster.client import Cluster

KUBECONFIG = STATE / "kubeconfig"


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    """Of the local cluster, and of no other: these tests break what they find."""
    if not KUBECONFIG.exists():
        pytest.fail("The local cluster does not run: 'make demo' starts it.", pytrace=False)
    return KUBECONFIG


@pytest.fixture(scope="session")
async def cluster(kubeconfig: Path) -> AsyncIterator[Cluster]:
    """The API server, as its administrator."""
    client = await Cluster.connect(str(kubeconfig))
    yield client
    await client.close()


@pytest.fixture(scope="session")
async def tenants(cluster: Cluster, kubeconfig: Path) -> AsyncIterator[Tenants]:
    """The tenants of the examples, Ready; others may be made, and go at the end."""
    found = Tenants(cluster, kubeconfig)
    for name in ("acme", "initech"):
        await found.ready(name)
    yield found
    await found.delete_all()
