"""How far a child is, typed and small: all that is remembered of its status. Equal readiness wakes nobody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from sys import intern
from typing import Literal

from odoo_tenancy.api.meta import Manifest


@dataclass(frozen=True, slots=True)
class Rollout:
    """Of a Deployment or StatefulSet: pods of the current template, and whether it has got stuck."""

    wanted: int
    updated: int
    ready: int
    available: int
    total: int
    observed: bool
    """The controller has seen this generation: until then the counts are of an older one."""
    problem: str = ""
    """``ProgressDeadlineExceeded``, or why pods can't be created (a quota, an admission)."""

    @property
    def complete(self) -> bool:
        """All pods are of the current template and available, and no older one is left."""
        return self.observed and self.wanted == self.updated == self.available == self.total


@dataclass(frozen=True, slots=True)
class JobRun:
    """Of a Job."""

    outcome: Literal["Running", "Succeeded", "Failed"]
    active: int
    failed: int
    reason: str = ""
    message: str = ""
    """Of a failure, the Job controller's words; the pod's own are in its log."""
    suspended: bool = False
    """It has not been let go."""


@dataclass(frozen=True, slots=True)
class Volume:
    """Of a PersistentVolumeClaim."""

    phase: str
    capacity: str
    """What it has, as a quantity; empty before it is bound."""
    requested: str
    volume: str
    """Name of the PersistentVolume; empty before it is bound."""
    resize: str = ""
    """The condition that a resize waits in, e.g. ``FileSystemResizePending``."""
    storage_class: str = ""
    """As asked for, or as the default became; it can't be changed."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Of a HorizontalPodAutoscaler."""

    current: int
    desired: int
    problem: str = ""
    """Why it can't scale, e.g. ``FailedGetResourceMetric``."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Of a Namespace."""

    phase: str


@dataclass(frozen=True, slots=True)
class Issued:
    """Of a cert-manager Certificate."""

    ready: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Instances:
    """Of a CloudNativePG Cluster. Its Ready condition tells nothing of a failover."""

    wanted: int
    ready: int
    phase: str
    """In CloudNativePG's own words; empty before it looked."""
    reason: str = ""

    @property
    def complete(self) -> bool:
        """As it is at rest."""
        return self.phase == HEALTHY and self.ready == self.wanted

    def __str__(self) -> str:
        words = f"{self.phase or 'not looked at yet'}{f' ({self.reason})' if self.reason else ''}"
        return f"{words}; {self.ready} of {self.wanted} instances are ready"


HEALTHY = "Cluster in healthy state"


@dataclass(frozen=True, slots=True)
class PodRun:
    """Of a Pod."""

    phase: str
    ready: bool
    waiting: str
    """Why a container waits, e.g. ``ImagePullBackOff``; empty where none does."""
    message: str


Readiness = Rollout | JobRun | Volume | Scale | Phase | Issued | Instances | PodRun


def readiness(body: Manifest) -> Readiness | None:
    """How far a live object is; ``None`` for kinds that are ready once they exist."""
    reader = _READERS.get(body["kind"])
    return reader(body) if reader else None


def _rollout(body: Manifest) -> Rollout:
    status, spec = body.get("status") or {}, body["spec"]
    replica_failure = _condition(body, "ReplicaFailure")
    progressing = _condition(body, "Progressing")
    problem = ""
    if replica_failure.get("status") == "True":
        problem = replica_failure.get("message") or replica_failure.get("reason") or "ReplicaFailure"
    elif progressing.get("reason") == "ProgressDeadlineExceeded":
        problem = "ProgressDeadlineExceeded"
    return Rollout(
        wanted=spec.get("replicas", 1),
        updated=status.get("updatedReplicas", 0),
        ready=status.get("readyReplicas", 0),
        available=status.get("availableReplicas", 0),
        total=status.get("replicas", 0),
        observed=status.get("observedGeneration", 0) >= body["metadata"].get("generation", 0),
        problem=problem,
    )


def _job(body: Manifest) -> JobRun:
    status = body.get("status") or {}
    complete, failed = _condition(body, "Complete"), _condition(body, "Failed")
    outcome: Literal["Running", "Succeeded", "Failed"] = "Running"
    if complete.get("status") == "True":
        outcome = "Succeeded"
    elif failed.get("status") == "True":
        outcome = "Failed"
    return JobRun(
        outcome=outcome,
        active=status.get("active", 0),
        failed=status.get("failed", 0),
        reason=failed.get("reason", "") if outcome == "Failed" else "",
        message=failed.get("message", "") if outcome == "Failed" else "",
        suspended=bool((body.get("spec") or {}).get("suspend")),
    )


def _volume(body: Manifest) -> Volume:
    status, spec = body.get("status") or {}, body["spec"]
    resizing = (c["type"] for c in status.get("conditions") or [] if c.get("status") == "True")
    return Volume(
        phase=intern(status.get("phase", "Pending")),
        capacity=(status.get("capacity") or {}).get("storage", ""),
        requested=((spec.get("resources") or {}).get("requests") or {}).get("storage", ""),
        volume=spec.get("volumeName", ""),
        resize=next(resizing, ""),
        storage_class=intern(spec.get("storageClassName") or ""),
    )


def _scale(body: Manifest) -> Scale:
    status = body.get("status") or {}
    active = _condition(body, "ScalingActive")
    return Scale(
        current=status.get("currentReplicas", 0),
        desired=status.get("desiredReplicas", 0),
        problem=active.get("reason", "") if active.get("status") == "False" else "",
    )


def _phase(body: Manifest) -> Phase:
    return Phase(intern((body.get("status") or {}).get("phase", "Active")))


def _issued(body: Manifest) -> Issued:
    ready = _condition(body, "Ready")
    return Issued(ready.get("status") == "True", ready.get("reason", ""), ready.get("message", ""))


def _instances(body: Manifest) -> Instances:
    status = body.get("status") or {}
    return Instances(
        wanted=body["spec"].get("instances", 1),
        ready=status.get("readyInstances", 0),
        phase=intern(status.get("phase", "")),
        reason=status.get("phaseReason", ""),
    )


def _pod(body: Manifest) -> PodRun:
    status = body.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    waits = [w for c in containers if (w := (c.get("state") or {}).get("waiting"))]
    # A container that waits for the init containers waits for nothing special.
    waits = [w for w in waits if w.get("reason") not in (None, "PodInitializing", "ContainerCreating")]
    first = waits[0] if waits else {}
    return PodRun(
        phase=intern(status.get("phase", "Pending")),
        ready=_condition(body, "Ready").get("status") == "True",
        waiting=first.get("reason", ""),
        message=first.get("message", ""),
    )


def _condition(body: Manifest, type_: str) -> Manifest:
    conditions = (body.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c.get("type") == type_), {})


_READERS: dict[str, Callable[[Manifest], Readiness]] = {
    "Deployment": _rollout,
    "StatefulSet": _rollout,
    "Job": _job,
    "PersistentVolumeClaim": _volume,
    "HorizontalPodAutoscaler": _scale,
    "Namespace": _phase,
    "Certificate": _issued,
    "Cluster": _instances,
    "Pod": _pod,
}
