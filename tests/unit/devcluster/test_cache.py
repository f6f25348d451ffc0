"""What is cached is keyed by all of its inputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from devcluster import tools
from devcluster.images import CLOUDNATIVE_PG_IMAGE, Image
from devcluster.steps import StepFailed, run
from devcluster.tools import GoModule


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GoModule:
    folder = tmp_path / "tools" / "thing"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module thing\n\nrequire k8s.io/kubernetes v1.34.4 // indirect\n")
    monkeypatch.setattr(tools, "DEV", tmp_path)
    monkeypatch.setattr(tools, "_go_version", lambda: "go1.26.8")
    return GoModule("thing", ("thing",))


def test_a_tool_is_built_anew_when_any_input_changes(
    module: GoModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [module.cached, replace(module, source="k8s.io/kubernetes", stamped=True).cached]
    (module.directory / "main.go").write_text("package main")
    keys.append(module.cached)
    monkeypatch.setattr(tools, "_go_version", lambda: "go1.27")
    keys.append(module.cached)
    assert len(set(keys)) == 4


def test_kubernetes_calls_itself_by_its_modules_version(module: GoModule) -> None:
    flags = replace(module, source="k8s.io/kubernetes", stamped=True).ldflags
    assert "version.gitVersion=v1.34.4 " in flags
    assert flags.endswith("version.gitMinor=34")


def test_an_image_is_built_anew_when_a_source_changes_and_only_then(tmp_path: Path) -> None:
    image = Image("localhost/thing:dev", tmp_path, sources=("Dockerfile", "code"))
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text("a = 1")
    before = image.key
    (tmp_path / "README.md").write_text("not a source")
    assert image.key == before
    (tmp_path / "code" / "a.py").write_text("a = 2")
    assert image.key != before


def test_a_failing_step_says_which_why_and_what_to_do(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(StepFailed) as failed:
        run("Build of x", ["sh", "-c", "echo no space left; exit 3"], log=log, what_to_do="Free some.")
    assert failed.value.step == "Build of x"
    assert "status 3" in failed.value.why
    assert "no space left" in failed.value.why
    assert failed.value.what_to_do == "Free some."


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="nothing-of-this-name is not there"):
        run("Build", ["nothing-of-this-name"], log=tmp_path / "log", what_to_do="Install it.")


def test_an_image_is_built_anew_when_the_one_under_it_is(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "Dockerfile").write_text("FROM scratch")
    below = Image("localhost/below:dev", tmp_path / "below")
    image = Image("localhost/thing:dev", tmp_path, sources=("Dockerfile",), base=below)
    (tmp_path / "Dockerfile").write_text("FROM below")
    before = image.key
    (tmp_path / "below" / "Dockerfile").write_text("FROM scratch\nUSER 26")
    assert image.key != before


def test_the_version_of_cloudnative_pg_is_one() -> None:
    """The image's tag chooses the release's manifest, the module gives both."""
    version = CLOUDNATIVE_PG_IMAGE.name.rpartition(":")[2]
    assert f"github.com/cloudnative-pg/cloudnative-pg v{version} " in tools.CLOUDNATIVE_PG.go_mod
