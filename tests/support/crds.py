"""Our CRDs in a control plane of a test's."""

from __future__ import annotations

import subprocess
from pathlib import Path

from devcluster.control_plane import ControlPlane

CRDS = Path(__file__).parents[2] / "crds"


def apply_crds(plane: ControlPlane) -> None:
    """Until the API server serves them."""
    kubectl = [str(plane.kubectl), f"--kubeconfig={plane.kubeconfig}"]
    subprocess.run([*kubectl, "apply", "--server-side", "-k", str(CRDS)], check=True)
    subprocess.run(
        [*kubectl, "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"], check=True
    )
