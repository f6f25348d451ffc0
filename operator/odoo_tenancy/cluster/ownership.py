"""Who wrote which field of a live object: we, a controller, or somebody by hand. By its ``managedFields``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.client import FIELD_MANAGER
from odoo_tenancy.cluster.fields import (
    MISSING,
    FieldSet,
    Path,
    children,
    contains,
    locate,
    pointer,
    project,
    step,
    union,
)

HANDOVER_MANAGER = f"{FIELD_MANAGER}-handover"
"""Holds a field between our letting go of it and its new owner's first write; see ``Applier.handover``."""

_CONTROLLERS = (
    "kube-",  # kube-controller-manager, kube-scheduler, kube-apiserver
    "kubelet",
    "cloud-controller-manager",
    "cert-manager",
    "csi-",
    "external-",  # external-provisioner, external-resizer
)
"""How the names of managers begin that are controllers at work."""

_CONTROLLED = frozenset(
    {
        "Certificate",
        "Deployment",
        "HorizontalPodAutoscaler",
        "Job",
        "Namespace",
        "PersistentVolumeClaim",
        "PodDisruptionBudget",
        "Service",
        "ServiceAccount",
        "StatefulSet",
    }
)
"""Kinds that controllers write to beside the status. On others nobody does, whatever the name."""

_ANNOTATIONS = ("f:metadata", "f:annotations")
_TOLERATED: tuple[Path, ...] = (
    (*_ANNOTATIONS, "f:kubectl.kubernetes.io/"),
    (*_ANNOTATIONS, "f:deployment.kubernetes.io/"),
    (*_ANNOTATIONS, "f:batch.kubernetes.io/"),
    (*_ANNOTATIONS, "f:autoscaling.alpha.kubernetes.io/"),
    (*_ANNOTATIONS, "f:pv.kubernetes.io/"),
    (*_ANNOTATIONS, "f:volume.kubernetes.io/"),
    (*_ANNOTATIONS, "f:volume.beta.kubernetes.io/"),
    # `kubectl rollout restart`: an SRE's right.
    ("f:spec", "f:template", *_ANNOTATIONS, "f:kubectl.kubernetes.io/restartedAt"),
    # Ours while we want a number; else an autoscaler's, and taking it away would mean 1.
    ("f:spec", "f:replicas"),
    ("f:spec", "f:volumeName"),
)
"""Fields that others may add to what we made. The last word may be the beginning of a name."""

_ANY_LABEL: Path = ("f:metadata", "f:labels", "f:")
"""Labels and annotations are named one by one, also where none is ours."""

_IDENTITY = frozenset({"f:status", "f:apiVersion", "f:kind"})
_META = frozenset({"f:labels", "f:annotations"})
"""What counts of the metadata. Finalizers are promises between controllers, and hold nothing open."""


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Writer:
    """Who wrote, by what the API server noted."""

    manager: str
    operation: str
    time: str
    """RFC 3339, as the API server wrote it; empty where it did not."""

    def __str__(self) -> str:
        return f"{self.manager} at {self.time}" if self.time else self.manager


@dataclass(frozen=True, slots=True)
class Extension:
    """A field that a stranger added beside ours."""

    path: Path
    writer: Writer


def own_fields(body: Manifest, manager: str = FIELD_MANAGER) -> FieldSet | None:
    """The fields that we applied and still own; ``None`` where we never did, or the notes were erased."""
    for entry in _entries(body):
        if (
            entry.get("manager") == manager
            and entry.get("operation") == "Apply"
            and not entry.get("subresource")
        ):
            fields: FieldSet = entry.get("fieldsV1") or {}
            return fields
    return None


def own_hash(body: Manifest) -> bytes | None:
    """16 bytes that change whenever one of our fields is changed, removed, or taken over by a manager."""
    fields = own_fields(body)
    return None if fields is None else _hash(project(body, fields))


def want_hash(manifest: Manifest) -> bytes:
    """16 bytes that name what we want."""
    return _hash(manifest)


def created_by_this_apply(body: Manifest) -> bool:
    """Whether the answer to an apply shows a new object: nobody else has set a field of it."""
    return all(entry.get("manager") == FIELD_MANAGER for entry in _entries(body))


def extensions(body: Manifest, tolerated: frozenset[str] = frozenset()) -> list[Extension]:
    """What strangers added: the topmost fields that are theirs and hold nothing of ours.

    Args:
        body: the live object.
        tolerated: names of managers that may add what they like.
    """
    controlled = body["kind"] in _CONTROLLED
    ours: FieldSet = {}
    strangers: list[tuple[Writer, FieldSet]] = []
    for entry in _entries(body):
        manager = entry.get("manager", "")
        fields: FieldSet = entry.get("fieldsV1") or {}
        known = manager in (FIELD_MANAGER, HANDOVER_MANAGER) or manager in tolerated
        if known or (controlled and manager.startswith(_CONTROLLERS)):
            ours = union(ours, fields)
        elif not entry.get("subresource"):
            strangers.append((_writer(entry), fields))
    return [
        Extension(path, writer)
        for writer, fields in strangers
        for path in _added(_relevant(fields), ours, ())
        if locate(body, path) is not None  # a note may outlive its field, where the API server cleared it
    ]


def stripping(body: Manifest, found: Iterable[Extension]) -> list[Manifest]:
    """A JSON patch that removes extensions from this very version of an object; a later one refuses it."""
    places = {place for each in found if (place := locate(body, each.path)) is not None}
    topmost = [p for p in places if not any(p[:n] in places for n in range(1, len(p)))]
    # A list's later items first, or the indexes of the others would no longer fit.
    topmost.sort(
        key=lambda place: [(isinstance(p, int), p if isinstance(p, int) else 0, str(p)) for p in place]
    )
    return [_this_version(body), *({"op": "remove", "path": pointer(p)} for p in reversed(topmost))]


def restoring(body: Manifest, wanted: Manifest, found: Iterable[Extension]) -> list[Manifest]:
    """A JSON patch that puts what we want in the place of whatever holds an extension.

    For where ours and theirs exclude each other (a volume of two types), so that neither the apply nor the
    removal alone would be valid.
    """
    replaced: dict[str, Any] = {}
    for each in found:
        for length in range(len(each.path), 1, -1):
            path = each.path[:length]
            here, there = locate(body, path), locate(wanted, path)
            if here is not None and there is not None:
                replaced[pointer(here)] = _value(wanted, path)
                break
    operations = [{"op": "replace", "path": path, "value": value} for path, value in replaced.items()]
    return [_this_version(body), *operations]


def writers(
    body: Manifest, paths: Iterable[Path], tolerated: frozenset[str] = frozenset()
) -> tuple[Writer, ...]:
    """Who else owns one of these fields, the latest first. Whoever only removed a field left no trace."""
    wanted = list(paths)
    found = {
        _writer(entry)
        for entry in _entries(body)
        if entry.get("manager") not in (FIELD_MANAGER, HANDOVER_MANAGER)
        and entry.get("manager") not in tolerated
        and any(contains(entry.get("fieldsV1") or {}, path) for path in wanted)
    }
    return latest_first(found)


def latest_first(found: Iterable[Writer]) -> tuple[Writer, ...]:
    """Each writer once; of those of one time in order of their names."""
    by_name = sorted(set(found), key=lambda writer: (writer.manager, writer.operation))
    return tuple(sorted(by_name, key=lambda writer: writer.time, reverse=True))


def _added(theirs: FieldSet, ours: FieldSet, at: Path) -> Iterator[Path]:
    for key, below in children(theirs):
        path = (*at, key)
        if any(_matches(path, pattern) for pattern in _TOLERATED):
            continue
        if key in ours:
            yield from _added(below, ours[key], path)
        elif below and any(pattern[: len(path)] == path for pattern in (*_TOLERATED, _ANY_LABEL)):
            yield from _added(below, {}, path)
        else:
            yield path


def _relevant(fields: FieldSet) -> FieldSet:
    kept = {key: below for key, below in fields.items() if key not in _IDENTITY and key != "f:metadata"}
    metadata = {key: below for key, below in fields.get("f:metadata", {}).items() if key in _META}
    return {**kept, "f:metadata": metadata} if metadata else kept


def _matches(path: Path, pattern: Path) -> bool:
    return len(path) == len(pattern) and path[:-1] == pattern[:-1] and path[-1].startswith(pattern[-1])


def _value(body: Manifest, path: Path) -> Any:
    value: Any = body
    for key in path:
        _, value = step(value, key)
    if value is MISSING:
        raise LookupError(path)
    return value


def _this_version(body: Manifest) -> Manifest:
    version = body["metadata"]["resourceVersion"]
    return {"op": "replace", "path": "/metadata/resourceVersion", "value": version}


def _entries(body: Manifest) -> list[Manifest]:
    entries: list[Manifest] = body["metadata"].get("managedFields") or []
    return entries


def _writer(entry: Manifest) -> Writer:
    return Writer(entry.get("manager", ""), entry.get("operation", ""), entry.get("time", ""))


def _hash(value: Any) -> bytes:
    return blake2b(_CANONICAL.encode(value).encode(), digest_size=16).digest()
