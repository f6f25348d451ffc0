"""A real control plane for all integration tests: started once, with our CRDs in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.crds import CRDS, apply_crds

from devcluster.control_plane import ControlPlane
from devcluster.control_plane import control_plane as run_control_plane


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
    apply_crds(control_plane)
    return CRDS
