"""What can't be told must not look like what isn't there: a Secret that is taken for missing is made anew, with new
passwords."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.redis import free_port

from devcluster.control_plane import ControlPlane
from devcluster.kubectl import Kubectl
from devcluster.steps import StepFailed

SECRET = ("-n", "default", "get", "secret", "passwords", "-o", "name")


@pytest.fixture
def kubectl(control_plane: ControlPlane) -> Iterator[Kubectl]:
    """With a Secret to ask for."""
    found = Kubectl(control_plane.kubectl, control_plane.kubeconfig)
    found.do("Secret", "-n", "default", "create", "secret", "generic", "passwords")
    yield found
    found.do("Secret", "-n", "default", "delete", "secret", "passwords")


@pytest.fixture
def cut_off(kubectl: Kubectl, tmp_path: Path) -> Kubectl:
    """Nobody listens where it asks."""
    other = tmp_path / "kubeconfig"
    clusters = kubectl.do("Kubeconfig", "config", "view", "--raw", "--flatten")
    other.write_text(clusters)
    asked = Kubectl(kubectl.program, other)
    name = asked.do("Cluster", "config", "get-clusters").split()[-1]
    asked.do("Cluster", "config", "set-cluster", name, f"--server=https://127.0.0.1:{free_port()}")
    return asked


def test_what_is_there_is_told(kubectl: Kubectl) -> None:
    assert kubectl.ask(*SECRET) == "secret/passwords\n"
    assert kubectl.succeeds(*SECRET)


def test_what_is_not_there_is_empty(kubectl: Kubectl) -> None:
    assert kubectl.ask("-n", "default", "get", "secret", "absent", "-o", "name") == ""
    assert kubectl.ask("-n", "no-such-namespace", "get", "secret", "passwords", "-o", "name") == ""
    assert not kubectl.succeeds("-n", "default", "get", "secret", "absent")


def test_a_server_that_does_not_answer_is_an_error(cut_off: Kubectl) -> None:
    with pytest.raises(StepFailed, match="refused"):
        cut_off.ask(*SECRET)
    assert not cut_off.succeeds(*SECRET)
    assert "refused" in cut_off.says(*SECRET)


def test_so_is_an_answer_to_somebody_who_may_not_ask(kubectl: Kubectl) -> None:
    with pytest.raises(StepFailed, match="Forbidden"):
        kubectl.ask(*SECRET, "--as=nobody")


def test_and_a_kind_that_nobody_knows(kubectl: Kubectl) -> None:
    with pytest.raises(StepFailed, match="resource type"):
        kubectl.ask("get", "nosuchkinds", "-o", "name")
