"""A tool that is on the machine already in the pinned version is used; in any other it is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from devcluster import installed, programs, tools
from devcluster.tools import ETCD, KIND, KUBE_ROUTER, KUBERNETES, GoModule

RELEASES = (
    *((KUBERNETES, name, "--version", "Kubernetes v1.34.4") for name in KUBERNETES.programs[:-1]),
    (KUBERNETES, "kubectl", "version --client", "Client Version: v1.34.4\nKustomize Version: v5.7.1"),
    (ETCD, "etcd", "--version", "etcd Version: 3.6.4\nGit SHA: 0d0a1b1\nGo Version: go1.23.11"),
    (KIND, "kind", "version", "kind v0.31.0 go1.25.5 linux/amd64"),
    (KUBE_ROUTER, "kube-router", "--version", "Running $0 version v2.1.0, built on 2024-02-18, go1.21.7"),
)
"""What each program of the pinned version prints, asked how."""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder with programs that this machine has."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(programs, "_SYSTEM", "")
    return folder


def put(folder: Path, name: str, says: str, asked: str = "version", ends: str = "exit 0") -> None:
    program = folder / name
    program.write_text(f'#!/bin/sh\n[ "$*" = "{asked}" ] || exit 2\necho "{says}"\n{ends}\n')
    program.chmod(0o755)


def put_all(folder: Path, wanted: GoModule) -> None:
    for module, name, asked, says in RELEASES:
        if module is wanted:
            put(folder, name, says, asked)


def found(module: GoModule) -> dict[str, Path]:
    return installed.find(module.installed, module.version)


@pytest.mark.parametrize("module", [KUBERNETES, ETCD, KIND, KUBE_ROUTER], ids=lambda module: module.name)
def test_a_release_of_the_pinned_version_is_recognised(module: GoModule, path: Path) -> None:
    put_all(path, module)
    assert found(module) == {
        program: path / (module.installed[program].name or program) for program in module.programs
    }


@pytest.mark.parametrize("version", ["0.30.0", "0.31.1", "0.31.0-alpha", "0.31.0.1", "10.31.0"])
def test_another_version_is_not(version: str, path: Path) -> None:
    put(path, "kind", f"kind v{version} go1.25.5")
    assert found(KIND) == {}


@pytest.mark.parametrize("program", KUBERNETES.programs)
def test_one_that_is_missing_is_enough_to_build_them_all(program: str, path: Path) -> None:
    put_all(path, KUBERNETES)
    (path / program).unlink()
    assert found(KUBERNETES) == {}


def test_a_broken_one_is_not_used(path: Path) -> None:
    put(path, "kind", "kind v0.31.0 go1.25.5", ends="exit 1")
    assert found(KIND) == {}
    (path / "kind").write_bytes(b"\x7fELF")
    assert found(KIND) == {}


def test_what_only_leads_to_the_program_is_not_used(path: Path) -> None:
    put(path, "real-kind", "kind v0.31.0 go1.25.5")
    (path / "kind").write_text('#!/bin/sh\nexec real-kind "$@"\n')
    (path / "kind").chmod(0o755)
    assert found(KIND) == {}


def test_an_older_build_of_our_own_is_not_taken_for_the_machines(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_all(path, KIND)
    monkeypatch.setattr(installed, "CACHE", path.parent)
    assert found(KIND) == {}


@pytest.fixture
def kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GoModule:
    """With a cache of its own, and a Go that only says that it was called."""
    monkeypatch.setattr(tools, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(tools, "_go_version", lambda: "go1.26.8")
    monkeypatch.setattr("devcluster.locks.CACHE", tmp_path / "cache")

    def build(folder: Path, module: GoModule, name: str) -> None:
        (folder / "kind").write_text("built")

    monkeypatch.setattr(tools, "_build_into", build)
    return KIND


def test_the_cache_gets_a_copy_and_the_step_says_so(
    kind: GoModule, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_all(path, kind)
    release = (path / "kind").read_text()
    copied = tools.tool(kind, "kind")
    (path / "kind").write_text("an upgrade")
    assert tools.tool(kind, "kind") == copied
    assert copied.read_text() == release
    assert copied.stat().st_mode & 0o111
    assert f"Tools: kind (kind): copied from {path}, where they are 0.31.0 already" in capsys.readouterr().err


def test_what_the_machine_lacks_is_built(kind: GoModule, path: Path) -> None:
    put(path, "kind", "kind v0.30.0 go1.25.5")
    assert tools.tool(kind, "kind").read_text() == "built"
