"""A real control plane for all integration tests: started once, with our CRDs in it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster.control_plane import ControlPlane
from devcluster.control_plane import control_plane as run_control_plane

CRDS = Path(__file__).parents[2] / "crds"


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """etcd, API server and controller manager on loopback, empty at first; gone with the session."""
    with run_control_plane(tmp_path_factory.mktemp("control-plane") / "data") as plane:
        yield plane


@pytest.fixture(scope="session")
def kubeconfig(control_plane: ControlPlane) -> Path:
    """Of an administrator of the control plane."""
    return control_plane.kubeconfig


@pytest.fixture(scope="session")
def crds(control_plane: ControlPlane) -> Path:
    """The folder of our CRDs, which the API server has accepted and serves."""
    kubectl = [str(control_plane.kubectl), f"--kubeconfig={control_plane.kubeconfig}"]
    subprocess.run([*kubectl, "apply", "--server-side", "-k", str(CRDS)], check=True)
    subprocess.run(
        [*kubectl, "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"], check=True
    )
    return CRDS
