"""A control plane of its own: a replica here works on every object there is, and others' would get in its way."""

from __future__ import annotations

from tests.integration.conftest import control_plane, crds, kubeconfig

__all__ = ["control_plane", "crds", "kubeconfig"]
