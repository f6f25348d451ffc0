"""Volumes: a folder of the node for every claim of class ``standard``.

Unlike most small provisioners it serves ReadWriteMany (there is one node) and grows what is grown (a folder
has no size; capacity and status follow the request). Volumes are of type ``local``, so the kubelet applies
``fsGroup`` as it does with a real driver. Run as ``python -m devcluster.provisioner KUBECONFIG FOLDER
[COMMAND...]``; the command, if any, is put before ``mkdir`` and ``rm`` and reaches the node (for kind:
``docker exec NODE``).
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient

PROVISIONER = "odootenancy.io/dev-folders"
_BY = "pv.kubernetes.io/provisioned-by"
_FOR = "volume.kubernetes.io/storage-provisioner"
_NODE = "volume.kubernetes.io/selected-node"

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Folders:
    """The place on the node where the volumes are."""

    root: str
    command: tuple[str, ...] = ()

    def path(self, volume: str) -> str:
        if not volume.startswith("pvc-") or "/" in volume:
            raise ValueError(f"{volume} is not the name of a volume of ours")
        return f"{self.root}/{volume}"

    def make(self, volume: str) -> None:
        self._run("mkdir", "-p", "-m", "0755", self.path(volume))

    def remove(self, volume: str) -> None:
        self._run("rm", "-rf", "--one-file-system", self.path(volume))

    def _run(self, *command: str) -> None:
        subprocess.run([*self.command, *command], check=True)


class Provisioner:
    """Looks at claims and volumes, again and again: what was missed or failed is done at the next look."""

    def __init__(self, api: DynamicClient, folders: Folders) -> None:
        self._claims = api.resources.get(api_version="v1", kind="PersistentVolumeClaim")
        self._volumes = api.resources.get(api_version="v1", kind="PersistentVolume")
        self._classes = api.resources.get(api_version="storage.k8s.io/v1", kind="StorageClass")
        self._folders = folders

    def run(self) -> None:
        """Until the process ends."""
        threading.Thread(target=self._watch, args=(self._volumes, self.see_volume), daemon=True).start()
        self._watch(self._claims, self.see_claim)

    def see_claim(self, claim: Manifest) -> None:
        """A claim that waits for a volume of ours gets one; one that asks for more gets more."""
        annotations = claim["metadata"].get("annotations") or {}
        if annotations.get(_FOR) != PROVISIONER or claim["metadata"].get("deletionTimestamp"):
            return
        if not claim["spec"].get("volumeName"):
            self._provision(claim, annotations.get(_NODE, ""))
        elif claim.get("status", {}).get("phase") == "Bound":
            self._grow(claim)

    def see_volume(self, volume: Manifest) -> None:
        """A volume whose claim is gone goes too, folder first, if its policy says so."""
        ours = (volume["metadata"].get("annotations") or {}).get(_BY) == PROVISIONER
        released = volume.get("status", {}).get("phase") == "Released"
        if ours and released and volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete":
            self._folders.remove(volume["metadata"]["name"])
            self._volumes.delete(name=volume["metadata"]["name"])

    def _provision(self, claim: Manifest, node: str) -> None:
        name = f"pvc-{claim['metadata']['uid']}"
        storage_class = self._classes.get(name=claim["spec"]["storageClassName"]).to_dict()
        self._folders.make(name)
        try:
            self._volumes.create(body=volume_for(claim, storage_class, node, self._folders.path(name)))
        except ApiException as error:
            if error.status != 409:
                raise

    def _grow(self, claim: Manifest) -> None:
        wanted = claim["spec"]["resources"]["requests"]["storage"]
        if claim["status"].get("capacity", {}).get("storage") == wanted:
            return
        merge = "application/merge-patch+json"
        capacity = {"capacity": {"storage": wanted}}
        self._volumes.patch(name=claim["spec"]["volumeName"], body={"spec": capacity}, content_type=merge)
        self._claims.status.patch(
            name=claim["metadata"]["name"],
            namespace=claim["metadata"]["namespace"],
            body={"status": {**capacity, "conditions": None}},
            content_type=merge,
        )

    @staticmethod
    def _watch(resource: Any, see: Callable[[Manifest], None]) -> None:
        while True:
            try:
                listed = resource.get().to_dict()
                for item in listed["items"]:
                    see(item)
                # From the list's own version on: without one the server may have to wait for its cache.
                since = listed["metadata"]["resourceVersion"]
                for event in resource.watch(timeout=60, resource_version=since):
                    if event["type"] in ("ADDED", "MODIFIED"):
                        see(event["raw_object"])
            except Exception as error:
                print(f"{type(error).__name__}: {error}; looking again", flush=True)
                time.sleep(1)


def volume_for(claim: Manifest, storage_class: Manifest, node: str, path: str) -> Manifest:
    """The PersistentVolume for a claim, bound to it from the start and to the node, if one was chosen."""
    metadata, spec = claim["metadata"], claim["spec"]
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    anywhere = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "Exists"}]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"pvc-{metadata['uid']}", "annotations": {_BY: PROVISIONER}},
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "volumeMode": "Filesystem",
            "storageClassName": spec["storageClassName"],
            "persistentVolumeReclaimPolicy": storage_class["reclaimPolicy"],
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "local": {"path": path},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term if node else anywhere]}},
        },
    }


def main() -> None:
    kubeconfig, root, *command = sys.argv[1:]
    config.load_kube_config(config_file=kubeconfig)  # type: ignore[no-untyped-call]
    api = DynamicClient(client.ApiClient())  # type: ignore[no-untyped-call]
    Provisioner(api, Folders(root, tuple(command))).run()


if __name__ == "__main__":
    main()
