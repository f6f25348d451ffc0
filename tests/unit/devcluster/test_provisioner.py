"""Volumes: who gets one, what grows, what goes."""

from __future__ import annotations

from typing import Any

import pytest

from devcluster.provisioner import PROVISIONER, Folders, Provisioner

Manifest = dict[str, Any]


class FakeResource:
    """Remembers what was asked of it."""

    def __init__(self, found: Manifest | None = None) -> None:
        self.calls: list[tuple[str, Manifest]] = []
        self.status = self if found is None else None
        self._found = found or {}

    def __getattr__(self, verb: str) -> Any:
        return lambda **arguments: self.calls.append((verb, arguments))

    def get(self, **_: Any) -> FakeResource:
        return self

    def to_dict(self) -> Manifest:
        return self._found


class FakeApi:
    """Resources by kind."""

    def __init__(self) -> None:
        self.claims, self.volumes = FakeResource(), FakeResource()
        self._classes = FakeResource({"reclaimPolicy": "Delete"})
        self.resources = self

    def get(self, *, kind: str, **_: Any) -> FakeResource:
        known = {"PersistentVolumeClaim": self.claims, "PersistentVolume": self.volumes}
        return known.get(kind, self._classes)


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def provisioner(api: FakeApi, tmp_path: Any) -> Provisioner:
    return Provisioner(api, Folders(str(tmp_path)))  # type: ignore[arg-type]


def claim(**spec: Any) -> Manifest:
    requests = {"resources": {"requests": {"storage": "2Gi"}}}
    annotations = {
        "volume.kubernetes.io/storage-provisioner": PROVISIONER,
        "volume.kubernetes.io/selected-node": "one",
    }
    return {
        "metadata": {"name": "data", "namespace": "acme", "uid": "u-1", "annotations": annotations},
        "spec": {"accessModes": ["ReadWriteMany"], "storageClassName": "standard", **requests, **spec},
        "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}} if "volumeName" in spec else {},
    }


def volume(policy: str, phase: str = "Released") -> Manifest:
    return {
        "metadata": {"name": "pvc-u-1", "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
        "spec": {"persistentVolumeReclaimPolicy": policy},
        "status": {"phase": phase},
    }


def test_a_waiting_claim_gets_a_folder_on_its_node(
    provisioner: Provisioner, api: FakeApi, tmp_path: Any
) -> None:
    provisioner.see_claim(claim())
    ((verb, arguments),) = api.volumes.calls
    spec = arguments["body"]["spec"]
    assert verb == "create"
    assert spec["local"]["path"] == str(tmp_path / "pvc-u-1")
    assert (tmp_path / "pvc-u-1").is_dir()
    assert spec["accessModes"] == ["ReadWriteMany"]
    assert spec["claimRef"]["uid"] == "u-1"
    assert spec["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]["values"] == [
        "one"
    ]


def test_a_claim_of_another_provisioner_is_left_alone(provisioner: Provisioner, api: FakeApi) -> None:
    foreign = claim()
    foreign["metadata"]["annotations"]["volume.kubernetes.io/storage-provisioner"] = "else"
    provisioner.see_claim(foreign)
    assert not api.volumes.calls


def test_a_grown_claim_grows(provisioner: Provisioner, api: FakeApi) -> None:
    provisioner.see_claim(claim(volumeName="pvc-u-1"))
    assert api.volumes.calls[0][1]["body"] == {"spec": {"capacity": {"storage": "2Gi"}}}
    assert api.claims.calls[0][1]["body"]["status"]["capacity"] == {"storage": "2Gi"}


@pytest.mark.parametrize(
    ("released", "gone"),
    [(volume("Delete"), True), (volume("Retain"), False), (volume("Delete", phase="Bound"), False)],
)
def test_a_folder_goes_with_its_claim_only_where_the_policy_says_so(
    provisioner: Provisioner, api: FakeApi, tmp_path: Any, released: Manifest, gone: bool
) -> None:
    (tmp_path / "pvc-u-1").mkdir()
    provisioner.see_volume(released)
    assert (tmp_path / "pvc-u-1").exists() is not gone
    assert bool(api.volumes.calls) is gone


@pytest.mark.parametrize("name", ["", "data", "pvc-../../etc", "/etc"])
def test_no_other_folder_is_ever_touched(tmp_path: Any, name: str) -> None:
    with pytest.raises(ValueError, match="not the name"):
        Folders(str(tmp_path)).remove(name)
