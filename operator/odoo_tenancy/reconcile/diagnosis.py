"""Why pods do not run, in the words of the kubelet, the scheduler and Odoo's log. Asked only when some do not."""

from __future__ import annotations

from odoo_tenancy.api.errors import OperatorError, Refused, Unavailable, Waiting
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.client import Cluster

PULL_PROBLEMS = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"})
LOG_LINES = 12


async def pods(cluster: Cluster, namespace: str, selector: dict[str, str]) -> list[Manifest]:
    """The pods that carry these labels."""
    text = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    return await cluster.list("v1", "Pod", namespace, label_selector=text)


def is_alive(pod: Manifest) -> bool:
    """Whether it may still do anything: one that has ended stays for a while, with its log."""
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


async def why_not_running(cluster: Cluster, live: list[Manifest]) -> OperatorError | None:
    """The first thing found wrong with pods; ``None`` where they are just starting."""
    for pod in live:
        for container in _statuses(pod):
            problem = await _container_problem(cluster, pod, container)
            if problem is not None:
                return problem
        problem = _scheduling_problem(pod)
        if problem is not None:
            return problem
    return None


async def last_words(cluster: Cluster, live: list[Manifest]) -> str:
    """The last lines of the pod that ended last: its termination message, else its log."""
    if not live:
        return "its pod is gone, and its log with it"
    pod = max(live, key=lambda p: p["metadata"]["creationTimestamp"])
    ended = [(c, c["state"]["terminated"]) for c in _statuses(pod) if c.get("state", {}).get("terminated")]
    if ended:  # what failed, and not what only came before it
        container, how = min(ended, key=lambda each: each[1].get("exitCode") == 0)
        return await _words(cluster, pod, container, how)
    return pod.get("status", {}).get("message") or "it ended without a word"


async def _words(cluster: Cluster, pod: Manifest, container: Manifest, ended: Manifest) -> str:
    """What a container that ended left: its termination message, else its log, as far as its node gives it."""
    if ended.get("message"):
        return str(ended["message"]).strip()
    metadata = pod["metadata"]
    try:
        log = await cluster.pod_log(
            metadata["namespace"], metadata["name"], container["name"], tail_lines=LOG_LINES
        )
    except OperatorError as error:
        return f"its log can't be read ({error.message})"
    return log.strip() or "it wrote no log"


def image_digest(live: list[Manifest], container: str) -> str:
    """The image that the newest running pod really runs, by digest; empty while none runs."""
    for pod in sorted(live, key=lambda p: p["metadata"]["creationTimestamp"], reverse=True):
        for status in pod.get("status", {}).get("containerStatuses") or []:
            if status["name"] == container and status.get("imageID") and "running" in status.get("state", {}):
                return _by_digest(status["image"], status["imageID"])
    return ""


def _by_digest(image: str, image_id: str) -> str:
    """``name@sha256:…``: a kubelet reports the repository's digest, or, for an image that was imported, the bare ID."""
    image_id = image_id.rsplit("://", 1)[-1]
    if "@" in image_id:
        return image_id
    name = image.split("@")[0]
    head, _, tail = name.rpartition("/")
    return f"{head}{'/' if head else ''}{tail.split(':')[0]}@{image_id}"


def _statuses(pod: Manifest) -> list[Manifest]:
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


async def _container_problem(cluster: Cluster, pod: Manifest, container: Manifest) -> OperatorError | None:
    where = f"Pod {pod['metadata']['namespace']}/{pod['metadata']['name']}"
    waiting = container.get("state", {}).get("waiting") or {}
    reason = waiting.get("reason", "")
    if reason in PULL_PROBLEMS:
        return Refused(
            "ImagePullFailed",
            f"{where} can't pull {container['image']} ({reason}: {waiting.get('message', '')}). Check spec.odoo.image "
            "and spec.odoo.imagePullSecrets.",
            10.0,
        )
    if reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
        return Unavailable("ContainerNotStarted", f"{where}: {reason}: {waiting.get('message', '')}", 10.0)
    ended = (container.get("lastState", {}).get("terminated") or {}) if reason == "CrashLoopBackOff" else {}
    if ended:
        words = await _words(cluster, pod, container, ended)
        return Unavailable(
            "CrashLooping",
            f"{where} ended with exit code {ended.get('exitCode')} ({ended.get('reason', '')}), restarted "
            f"{container.get('restartCount', 0)} times; its last lines: {words}",
            10.0,
        )
    return None


def _scheduling_problem(pod: Manifest) -> OperatorError | None:
    for condition in pod.get("status", {}).get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return Waiting(
                "Unschedulable",
                f"Pod {pod['metadata']['namespace']}/{pod['metadata']['name']}: {condition.get('message', '')}",
                10.0,
            )
    return None
