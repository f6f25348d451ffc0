"""CloudNativePG on the running cluster, for whoever asks for it; a plain cluster does without.

What is applied is the release's own manifest, out of the Go module that the operator is built from.
"""

from __future__ import annotations

import json
from typing import Any

import yaml

from devcluster import cluster
from devcluster.images import CLOUDNATIVE_PG_IMAGE, CLOUDNATIVE_PG_POSTGRES_IMAGE
from devcluster.kubectl import Kubectl
from devcluster.steps import StepFailed, step, wait_for
from devcluster.tools import CLOUDNATIVE_PG, sources

NAMESPACE, DEPLOYMENT = "cnpg-system", "cnpg-controller-manager"
POSTGRES = CLOUDNATIVE_PG_POSTGRES_IMAGE.name
"""What a Cluster's ``imageName`` may be on this cluster."""

_IMAGES = (CLOUDNATIVE_PG_IMAGE, CLOUDNATIVE_PG_POSTGRES_IMAGE)
_MODULE = "github.com/cloudnative-pg/cloudnative-pg"
# Without a limit of CPU: the release's 100m makes its webhook slow beside everything else on two cores.
_RESOURCES = {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}
_SECONDS = 60.0

Manifest = dict[str, Any]


def deployed(kubectl: Kubectl) -> bool:
    """Whether it is there, finished or not."""
    return bool(kubectl.ask("-n", NAMESPACE, "get", "deployment", DEPLOYMENT, "-o", "name"))


def bring(kubectl: Kubectl) -> None:
    """Build what the cache lacks, apply, and wait until a Cluster could be made.

    Raises:
        StepFailed: a build failed, or the operator did not start.
    """
    cluster.load(*_IMAGES)
    with step("CloudNativePG"):
        kubectl.apply_objects("CloudNativePG", _adapted(_release()))
        kubectl.rollout(NAMESPACE, f"deployment/{DEPLOYMENT}")
        hint = f"kubectl -n {NAMESPACE} logs deployment/{DEPLOYMENT}"
        wait_for("CloudNativePG's webhook", lambda: _admits(kubectl), seconds=_SECONDS, what_to_do=hint)


def remove(kubectl: Kubectl) -> None:
    """Take away the operator, its kinds and its images.

    Raises:
        StepFailed: objects of its kinds are still there; they would lose their data, or never go.
    """
    release = _release()
    kinds = [each["metadata"]["name"] for each in release if each["kind"] == "CustomResourceDefinition"]
    if left := _objects(kubectl, kinds):
        raise StepFailed(
            "CloudNativePG", f"Still there: {', '.join(left)}.", "Delete them, then run it again."
        )
    with step("Taking CloudNativePG away"):
        # Backwards: no webhook may be left to be asked by the time that nobody answers.
        document = {"apiVersion": "v1", "kind": "List", "items": release[::-1]}
        options = ("--ignore-not-found", "--timeout=120s", "--filename", "-")
        kubectl.do("CloudNativePG", "delete", *options, stdin=json.dumps(document))
    cluster.unload(*_IMAGES)


def _objects(kubectl: Kubectl, kinds: list[str]) -> list[str]:
    """Those of the kinds that the cluster still knows: a removal that was cut short took some away."""
    known = kubectl.ask("get", "crd", *kinds, "--ignore-not-found", "-o", "name").split()
    if not known:
        return []
    served = ",".join(name.partition("/")[2] for name in known)
    return kubectl.ask("get", served, "-A", "-o", "name").split()


def _release() -> list[Manifest]:
    version = CLOUDNATIVE_PG_IMAGE.name.rpartition(":")[2]
    text = (sources(CLOUDNATIVE_PG, _MODULE) / "releases" / f"cnpg-{version}.yaml").read_text()
    # 20 000 lines: libyaml reads them in a second, Python in ten.
    return [each for each in yaml.load_all(text, Loader=yaml.CSafeLoader) if each]


def _adapted(release: list[Manifest]) -> list[Manifest]:
    """With the image that was built here, which no registry has, and with small requests."""
    deployment = next(each for each in release if each["kind"] == "Deployment")
    deployment["spec"]["replicas"] = 1
    template = deployment["spec"]["template"]
    # The tag is always the same; a changed annotation is what rolls a new image out.
    template["metadata"].setdefault("annotations", {})["odootenancy.io/dev-image"] = CLOUDNATIVE_PG_IMAGE.key
    container = template["spec"]["containers"][0]
    image = CLOUDNATIVE_PG_IMAGE.name
    container |= {"image": image, "imagePullPolicy": "IfNotPresent", "resources": _RESOURCES}
    # With this one it starts the pods of PostgreSQL.
    next(each for each in container["env"] if each["name"] == "OPERATOR_IMAGE_NAME")["value"] = image
    return release


def _admits(kubectl: Kubectl) -> bool:
    """A Cluster is asked for and not made: both webhooks are called for it."""
    probe = {
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "metadata": {"name": "probe", "namespace": NAMESPACE},
        "spec": {"instances": 1, "storage": {"size": "1Gi"}},
    }
    options = ("--dry-run=server", "--output=name", "--filename=-")
    return kubectl.succeeds("create", *options, stdin=json.dumps(probe))
