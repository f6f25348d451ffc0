"""What a person sees of a step that failed: which, why, what to do, and an exit status that scripts see too."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from devcluster import __main__ as front_door
from devcluster.locks import locked
from devcluster.steps import StepFailed, run, step


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its locks are nobody else's."""
    monkeypatch.setattr("devcluster.locks.CACHE", tmp_path)
    return tmp_path


def called(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["devcluster", *words])
    return front_door.main()


def test_a_failed_step_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    StepFailed("Build of [x]", "disk [red]full[/]", "Free some.", Path("/var/log/build.log")).show()
    assert capsys.readouterr() == (
        "",
        "\n✗ Build of [x] failed\ndisk [red]full[/]\nWhole log: /var/log/build.log\nWhat to do: Free some.\n",
    )


def test_a_steps_name_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with step("Copy to [/srv] or [x]"):
        pass
    announced, done = capsys.readouterr().err.splitlines()
    assert announced == "→ Copy to [/srv] or [x]"
    assert done.startswith("✓ Copy to [/srv] or [x] ")


def test_without_a_log_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    StepFailed("Node", "No root.", "Be root.").show()
    assert "Whole log" not in capsys.readouterr().err


@pytest.mark.parametrize("command", ["up", "status"])
def test_a_command_whose_step_fails_says_so_and_ends_with_1(
    command: str, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A step that is a program, as most are: its last words are the reason. With the cluster's lock and without."""

    def fails() -> int:
        words = ["sh", "-c", "echo first; echo the disk is full; exit 3"]
        with step("Container runtime", cache / "log"):
            run("Container runtime", words, log=cache / "log", what_to_do="Free 5 GB.")
        return 0

    text, _ = front_door._COMMANDS[command]
    monkeypatch.setitem(front_door._COMMANDS, command, (text, fails))
    monkeypatch.setattr(front_door, "_CHANGING", (fails,) if command == "up" else ())
    assert called(monkeypatch, command) == 1
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert lines[:1] == ["→ Container runtime"]
    assert "✓ Container runtime" not in said.err
    assert lines[lines.index("✗ Container runtime failed") + 1 :] == [
        "sh -c echo first; echo the disk is full; exit 3 … ended with status 3:",
        "first",
        "the disk is full",
        f"Whole log: {cache / 'log'}",
        "What to do: Free 5 GB.",
    ]
    with locked("cluster"):
        pass  # it let go of the lock


@pytest.mark.parametrize(("command", "known"), [("tools", "kubernetes, etcd"), ("images", "pause:dev")])
def test_what_does_not_exist_is_refused_with_what_does(
    command: str, known: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(monkeypatch, command, "no-such-thing") == 1
    said = capsys.readouterr().err
    assert "no-such-thing" in said
    assert f"What to do: Known are: {known}" in said


def test_an_interruption_is_no_failure_of_a_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(front_door._COMMANDS, "status", ("", interrupted))
    assert called(monkeypatch, "status") == 130
    assert "Run the same command again" in capsys.readouterr().err


def test_what_went_well_ends_with_the_commands_own_status(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(front_door._COMMANDS, "status", ("", lambda: 0))
    assert called(monkeypatch, "status") == 0
    assert capsys.readouterr().err == ""
