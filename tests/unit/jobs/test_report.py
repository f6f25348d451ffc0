"""A Job's words are few, and its end always fits."""

from __future__ import annotations

import asyncio
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from odoo_tenancy.api.backup_work import BackupOutcome, PrepareOutcome, PrepareWork
from odoo_tenancy.api.errors import Refused, Unavailable
from odoo_tenancy.api.manifest import StoredSnapshots
from odoo_tenancy.api.work import Outcome, RepositoryPlace, StorePlace
from odoo_tenancy.jobs.entry import run_job
from odoo_tenancy.jobs.report import LONGEST, ProgressLines, encoded, failure

FULLEST = BackupOutcome(
    reason="R" * 64,
    message="",
    again=True,
    snapshots=StoredSnapshots(database="a" * 64, filestore=("b" * 64,) * 8),
    recovery_point=datetime(2026, 11, 23, 1, 2, 3, 456789, UTC),
    database_bytes=2**50, filestore_bytes=2**50, filestore_files=2**40, uploaded_bytes=2**50,
    manifest_key="k" * 1024, manifest_sha256="c" * 64, seconds=12345.6, attempts=3,
)  # fmt: skip


@pytest.mark.parametrize("message", ["", "x" * 10_000, 'ü\n"\\' * 5_000, "\0" * 3_000])
def test_an_outcome_always_fits_and_is_whole(message: str) -> None:
    text = encoded(FULLEST.model_copy(update={"message": message}))
    assert len(text) <= LONGEST
    read = BackupOutcome.model_validate_json(text)
    assert read.model_copy(update={"message": ""}) == FULLEST
    assert read.message == message or message.endswith(read.message.removeprefix("… "))
    assert bool(read.message) == bool(message)


def test_progress_is_said_at_each_step_and_then_every_ten_seconds() -> None:
    now, out = [0.0], io.StringIO()
    lines = ProgressLines(out, lambda: now[0])
    said = lines.of("database")
    for second in range(40):
        now[0] = float(second)
        said(second, 100)
    lines.say("check")
    found = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(each["step"], each["doneBytes"]) for each in found] == [
        ("database", 0), ("database", 10), ("database", 20), ("database", 30), ("check", 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "reason", "again"),
    [
        (Refused("NotOurs", "why"), "NotOurs", False),
        (Unavailable("Gone", "why"), "Gone", True),
        (asyncio.CancelledError(), "Interrupted", True),
        (ValueError("odd"), "JobFailed", True),
        (ExceptionGroup("both", [ValueError("odd"), Refused("NotOurs", "why")]), "NotOurs", False),
    ],
)
def test_an_error_becomes_a_reason(error: BaseException, reason: str, again: bool) -> None:
    assert failure(error)[::2] == (reason, again)


WORK = PrepareWork(
    repository=RepositoryPlace(
        store=StorePlace(endpoint="https://s3", region="r", bucket="b"), path="p/restic"
    )
)


def test_a_job_leaves_its_outcome(tmp_path: Path) -> None:
    (tmp_path / "work.json").write_text(WORK.model_dump_json(by_alias=True))

    async def do(work: PrepareWork) -> Outcome:
        assert work == WORK
        return PrepareOutcome(reason="Done", message="well", made=True)

    places = {"work_file": tmp_path / "work.json", "termination": tmp_path / "end"}
    assert run_job(PrepareWork, do, **places) == 0
    assert PrepareOutcome.model_validate_json((tmp_path / "end").read_bytes()).made

    async def fail(work: PrepareWork) -> Outcome:
        raise Refused("NotOurs", "why")

    assert run_job(PrepareWork, fail, **places) == 1
    assert Outcome.model_validate_json((tmp_path / "end").read_bytes()).reason == "NotOurs"


def test_a_job_without_work_fails(tmp_path: Path) -> None:
    async def never(work: PrepareWork) -> Outcome:
        raise AssertionError

    assert run_job(PrepareWork, never, work_file=tmp_path / "none", termination=tmp_path / "end") == 1
    assert Outcome.model_validate_json((tmp_path / "end").read_bytes()).again
