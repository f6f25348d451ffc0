"""Our CRDs in a control plane of a test's; and another project's, where it is enough that its kind is served."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from devcluster.control_plane import ControlPlane

CRDS = Path(__file__).parents[2] / "crds"

_TEXT, _TEXTS = {"type": "string"}, {"type": "array", "items": {"type": "string"}}
_CERTIFICATES = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "certificates.cert-manager.io"},
    "spec": {
        "group": "cert-manager.io",
        "scope": "Namespaced",
        "names": {
            "kind": "Certificate",
            "listKind": "CertificateList",
            "plural": "certificates",
            "singular": "certificate",
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "dnsNames": _TEXTS,
                                    "issuerRef": {
                                        "type": "object",
                                        "properties": {"group": _TEXT, "kind": _TEXT, "name": _TEXT},
                                    },
                                    "privateKey": {
                                        "type": "object",
                                        "properties": {"rotationPolicy": _TEXT},
                                    },
                                    "secretName": _TEXT,
                                },
                            },
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}
"""Of cert-manager's kind what the operator writes."""


def apply_crds(plane: ControlPlane) -> None:
    """Until the API server serves them."""
    _kubectl(plane, "apply", "--server-side", "-k", str(CRDS))
    _until_served(plane)


def apply_certificates(plane: ControlPlane) -> None:
    """The same of cert-manager's Certificate, without cert-manager."""
    _kubectl(plane, "apply", "--server-side", "-f", "-", given=_CERTIFICATES)
    _until_served(plane)


def remove_certificates(plane: ControlPlane) -> None:
    """With all that there are."""
    _kubectl(plane, "delete", "-f", "-", given=_CERTIFICATES)


def _until_served(plane: ControlPlane) -> None:
    _kubectl(plane, "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")


def _kubectl(plane: ControlPlane, *arguments: str, given: dict[str, Any] | None = None) -> None:
    command = [str(plane.kubectl), f"--kubeconfig={plane.kubeconfig}", *arguments]
    subprocess.run(command, check=True, text=True, input=None if given is None else json.dumps(given))
