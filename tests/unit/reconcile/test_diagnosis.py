"""Why pods do not run, from statuses as kubelets of 1.34 write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from odoo_tenancy.api.errors import OperatorError, Refused, Unavailable, Waiting
from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.reconcile.diagnosis import image_digest, last_words, why_not_running

DIGEST = "sha256:" + "4f" * 32


@dataclass
class Logs:
    """Stands for the cluster, of which only a pod's log is asked for."""

    text: str = ""
    error: OperatorError | None = None

    async def pod_log(self, namespace: str, pod: str, container: str = "", tail_lines: int = 20) -> str:
        if self.error:
            raise self.error
        return self.text


def pod(*statuses: Manifest, created: str = "2026-01-01T00:00:00Z", **status: Any) -> Manifest:
    return {
        "metadata": {"name": "odoo-web-7d4b9c-x2x4z", "namespace": "odoo-acme", "creationTimestamp": created},
        "status": {"phase": "Pending", "containerStatuses": list(statuses), **status},
    }


def container(state: Manifest, **more: Any) -> Manifest:
    return {
        "name": "odoo",
        "image": "odoo:19.0",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": state,
        **more,
    }


def waiting(reason: str, message: str = "") -> Manifest:
    return {"waiting": {"reason": reason, "message": message}}


async def problem(logs: Logs, *pods: Manifest) -> OperatorError | None:
    return await why_not_running(logs, list(pods))  # type: ignore[arg-type]


async def test_pods_that_start_have_no_problem() -> None:
    starting = pod(container(waiting("ContainerCreating")))
    running = pod(container({"running": {"startedAt": "2026-01-01T00:00:00Z"}}))
    assert await problem(Logs(), starting, running, pod()) is None


@pytest.mark.parametrize(
    "reason", ["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"]
)
async def test_an_image_that_is_not_to_be_had(reason: str) -> None:
    found = await problem(Logs(), pod(container(waiting(reason, 'Back-off pulling image "odoo:19.0"'))))
    assert isinstance(found, Refused)
    assert found.reason == "ImagePullFailed"
    for word in (
        "odoo-acme/odoo-web-7d4b9c-x2x4z",
        "odoo:19.0",
        reason,
        "Back-off",
        "spec.odoo.imagePullSecrets",
    ):
        assert word in found.message


async def test_a_container_that_is_not_even_started() -> None:
    message = 'secret "odoo-config" not found'
    found = await problem(Logs(), pod(container(waiting("CreateContainerConfigError", message))))
    assert isinstance(found, Unavailable)
    assert found.reason == "ContainerNotStarted"
    assert message in found.message


async def test_a_process_that_dies_again_and_again_says_its_last_words() -> None:
    ended = {"terminated": {"exitCode": 1, "reason": "Error"}}
    crashing = container(waiting("CrashLoopBackOff"), lastState=ended, restartCount=4)
    found = await problem(Logs("Traceback\nKeyError: ir.http\n"), pod(crashing))
    assert found is not None
    assert found.reason == "CrashLooping"
    assert "KeyError: ir.http" in found.message
    assert "restarted 4 times" in found.message


async def test_its_termination_message_is_preferred_to_a_log() -> None:
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": "the tail of its log"}}
    found = await problem(
        Logs(error=Unavailable("X", "x")), pod(container(waiting("CrashLoopBackOff"), lastState=ended))
    )
    assert found is not None
    assert "the tail of its log" in found.message


async def test_init_containers_are_looked_at_first() -> None:
    broken = container(waiting("ErrImagePull"), image="init:1")
    found = await problem(Logs(), pod(container(waiting("PodInitializing")), initContainerStatuses=[broken]))
    assert found is not None
    assert "init:1" in found.message


async def test_a_pod_without_a_node() -> None:
    message = "0/2 nodes are available: 2 Insufficient memory."
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    found = await problem(Logs(), pod(conditions=[unschedulable]))
    assert isinstance(found, Waiting)
    assert found.reason == "Unschedulable"
    assert message in found.message


def ended(message: str = "", **more: Any) -> Manifest:
    return container({"terminated": {"exitCode": 64, "reason": "Error", "message": message}}, **more)


async def words(logs: Logs, *pods: Manifest) -> str:
    return await last_words(logs, list(pods))  # type: ignore[arg-type]


async def test_the_last_words_of_the_pod_that_ended_last() -> None:
    old, new = pod(ended("old")), pod(ended("new\n"), created="2026-01-01T00:01:00Z")
    assert await words(Logs(), new, old) == "new"


async def test_the_log_where_there_was_no_message() -> None:
    assert await words(Logs("the log\n"), pod(ended())) == "the log"
    assert await words(Logs(""), pod(ended())) == "it wrote no log"


async def test_what_failed_speaks_and_not_what_came_before_it() -> None:
    done = container({"terminated": {"exitCode": 0, "reason": "Completed"}}, name="addon")
    assert (
        await words(Logs("copied"), pod(ended("no such module"), initContainerStatuses=[done]))
        == "no such module"
    )
    killed = container({"terminated": {"exitCode": 1, "message": "disk full"}}, name="addon")
    assert await words(Logs(), pod(initContainerStatuses=[killed])) == "disk full"


async def test_a_log_that_can_not_be_read_hides_nothing() -> None:
    said = await words(Logs(error=Unavailable("ApiServerUnavailable", "the node is gone")), pod(ended()))
    assert "the node is gone" in said


async def test_a_pod_that_was_killed_from_outside() -> None:
    message = "Pod was active on the node longer than the specified deadline"
    assert await words(Logs(), pod(phase="Failed", reason="DeadlineExceeded", message=message)) == message
    assert "gone" in await words(Logs())


@pytest.mark.parametrize(
    ("image", "image_id", "shown"),
    [
        ("odoo:19.0", f"docker.io/library/odoo@{DIGEST}", f"docker.io/library/odoo@{DIGEST}"),
        ("odoo:19.0", f"docker-pullable://odoo@{DIGEST}", f"odoo@{DIGEST}"),
        ("localhost:5000/shop/odoo:19.0", DIGEST, f"localhost:5000/shop/odoo@{DIGEST}"),
        (f"odoo@{DIGEST}", DIGEST, f"odoo@{DIGEST}"),
    ],
)
def test_the_digest_that_runs(image: str, image_id: str, shown: str) -> None:
    running = container({"running": {}}, image=image, imageID=image_id)
    assert image_digest([pod(running)], "odoo") == shown


def test_the_newest_running_pod_says_what_runs() -> None:
    old = pod(container({"running": {}}, imageID=f"odoo@sha256:{'a' * 64}"))
    starting = pod(container(waiting("ContainerCreating"), imageID="x@y"), created="2026-01-02T00:00:00Z")
    assert image_digest([old, starting], "odoo") == f"odoo@sha256:{'a' * 64}"
    assert image_digest([starting], "odoo") == ""
