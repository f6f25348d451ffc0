"""What ``make demo`` says at its end; that it works is tried on the cluster."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from devcluster import demo
from devcluster.kubectl import Kubectl


def test_the_shell_comes_first_then_sites_and_how_to_get_in(monkeypatch):
    said = io.StringIO()
    monkeypatch.setattr(demo, "console", Console(file=said, highlight=False, soft_wrap=True))
    acme = demo.Tenant("tenants", "acme", "Ready", True, "", "https://acme.localhost")
    demo.introduce(Kubectl(Path("/tools/kubectl"), Path("/state/kubeconfig")), [acme])
    lines = [line.strip() for line in said.getvalue().splitlines() if line]
    assert lines[1] == "export KUBECONFIG=/state/kubeconfig PATH=/tools:$PATH"
    assert lines[2].startswith("acme is Ready: https://acme.localhost")
    assert lines[3] == (
        "user admin, password: kubectl -n tenants get secret acme-admin -o jsonpath='{.data.password}' | base64 -d"
    )
    assert "kubectl -n tenants describe odootenant acme" in lines[4:]
