"""The operator as a process, against a real control plane and a real PostgreSQL with TLS; the nodes are faked."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.reconcile.stage import OPERATOR_NAMESPACE, Stage, Tenants
from tests.support.fake_kubelet import FakeKubelet, running_fake_kubelet
from tests.support.kube import Kube
from tests.support.looks import LOGGED
from tests.support.operator_process import OperatorProcess
from tests.support.postgres import PostgresProcess, running_postgres
from tests.support.s3 import S3Process, running_s3
from tests.support.traefik import traefik_crds

from devcluster.control_plane import ControlPlane

POOLS = (
    *("main", "small", "cordoned", "poor", "lost", "lockedout", "keyless", "squatted", "single", "later"),
    *("doomed", "occupied", "cached", "turning", "moody", "fronted", "behind", "drifting"),
    *("narrow", "certified"),
)
"""The pools that this operator serves: others may run beside it."""


@pytest.fixture(scope="session")
def reconcile_postgres() -> Iterator[PostgresProcess]:
    """One server for all pools; every statement is in its log."""
    with running_postgres(settings=("max_connections = 300", *LOGGED)) as process:
        yield process


@pytest.fixture(scope="session")
def kubelet(control_plane: ControlPlane) -> Iterator[FakeKubelet]:
    """There are no nodes: see ``tests/support/fake_kubelet.py``."""
    with running_fake_kubelet(control_plane.kubeconfig) as kubelet:
        yield kubelet


@pytest.fixture(scope="session")
def stage(
    control_plane: ControlPlane, crds: Path, reconcile_postgres: PostgresProcess, kubelet: FakeKubelet
) -> Stage:
    """Everything but the operator: Traefik's CRDs, the operator's namespace, the pool's Secrets."""
    kubectl = [str(control_plane.kubectl), f"--kubeconfig={control_plane.kubeconfig}"]
    subprocess.run(
        [*kubectl, "apply", "--server-side", "-f", traefik_crds()], check=True, stdout=subprocess.DEVNULL
    )
    stage = Stage(Kube(control_plane.kubeconfig), reconcile_postgres, kubelet, control_plane)
    stage.namespace(OPERATOR_NAMESPACE)
    stage.pool_secrets("main")
    return stage


@pytest.fixture(scope="session")
def operator(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """The operator that serves all tests but those that kill it."""
    directory = tmp_path_factory.mktemp("operator")
    stage.create_pool("main")
    process = OperatorProcess(stage.plane.kubeconfig, directory, POOLS)
    try:
        process.await_line("lease acquired")
        yield process
    finally:
        process.close()


@pytest.fixture(scope="session")
def store() -> Iterator[S3Process]:
    """Where backups are kept."""
    with running_s3() as server:
        yield server


@pytest.fixture
def tenants(stage: Stage, operator: OperatorProcess) -> Iterator[Tenants]:
    """A management namespace of the test's own; what it made is deleted at its end, and nothing may stay."""
    tenants = Tenants(stage, f"tenants-{secrets.token_hex(3)}")
    stage.namespace(tenants.namespace)
    yield tenants
    tenants.clear()


@pytest.fixture(scope="session")
def neighbour(stage: Stage, operator: OperatorProcess) -> Tenants:
    """A healthy tenant beside whatever a test breaks."""
    tenants = Tenants(stage, "neighbours")
    stage.namespace("neighbours")
    tenants.create("healthy", tenancy="Shared")
    tenants.until_ready("healthy")
    return tenants
