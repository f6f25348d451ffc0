"""Traefik's own CustomResourceDefinitions, from the very release that the cluster runs."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path

TOOLS = Path(__file__).parents[2] / "dev" / "tools" / "traefik"
_CRDS = "docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml"


@cache
def traefik_crds() -> Path:
    """A manifest to apply (server-side: it is too large for an annotation); fetched by Go where it is missing."""
    command = ["go", "mod", "download", "-json", "github.com/traefik/traefik/v3"]
    done = subprocess.run(command, cwd=TOOLS, capture_output=True, text=True, check=True)
    return Path(json.loads(done.stdout)["Dir"]) / _CRDS
