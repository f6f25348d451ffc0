"""A Job's words are few, and its end always fits."""

from __future__ import annotations

import asyncio
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odoo_tenancy.api.backup_work import BackupOutcome, PrepareOutcome, PrepareWork
from odoo_tenancy.api.errors import Refused, Unavailable
from odoo_tenancy.api.find_work import FindOutcome
from odoo_tenancy.api.maintain_work import MaintainOutcome
from odoo_tenancy.api.manifest import StoredSnapshots
from odoo_tenancy.api.restore_work import RestoreFigures, RestoreOutcome
from odoo_tenancy.api.verify_work import VerifyFigures, VerifyOutcome
from odoo_tenancy.api.work import Outcome, RepositoryPlace, StorePlace
from odoo_tenancy.jobs.entry import run_job
from odoo_tenancy.jobs.report import LONGEST, ProgressLines, encoded, failure

MOMENT = datetime(2026, 11, 23, 1, 2, 3, 456789, UTC)
FULLEST = BackupOutcome(
    reason="R" * 64,
    message="",
    again=True,
    snapshots=StoredSnapshots(database="a" * 64, filestore=("b" * 64,) * 8),
    recovery_point=MOMENT,
    database_bytes=2**50, filestore_bytes=2**50, filestore_files=2**40, uploaded_bytes=2**50,
    manifest_key="k" * 1024, manifest_sha256="c" * 64, seconds=12345.6, attempts=3,
)  # fmt: skip

STEPS = {f"{step:_<12}": 12345.67 for step in range(12)}
OTHERS = (
    PrepareOutcome(
        reason="R" * 64, message="", again=True, made=True, locks_removed=2**31,
        recovery_keys=tuple(f"{number}" * 63 for number in range(8)),
    ),
    MaintainOutcome(
        reason="R" * 64, message="", again=True, kept=2**31, forgotten=2**31, strays=2**31, freed_bytes=2**50,
        stored_bytes=2**50, locks_extended=2**31, locks_removed=2**31, seconds=STEPS,
        broken=tuple(f"{number:x}" * 50 for number in range(16)),
    ),
    VerifyOutcome(
        reason="R" * 64, message="", again=True, result="Passed", level="Consistency",
        figures=VerifyFigures(
            seconds=STEPS, tables=2**31, rows=2**50, dump_bytes=2**50, files=2**31, files_read=2**31,
            bytes_read=2**50,
        ),
    ),
    RestoreOutcome(
        reason="R" * 64, message="", again=True, result="Ready", database="d" * 63, folder="f" * 255,
        figures=RestoreFigures(seconds=STEPS, tables=2**31, rows=2**50, files=2**31, bytes=2**50),
    ),
    FindOutcome(
        reason="R" * 64, message="", again=True, backup="b" * 50, namespace="n" * 63,
        manifest_sha256="c" * 64, recovery_point=MOMENT, recovery_key="k" * 63,
    ),
)  # fmt: skip
"""The other kinds, each as full as it gets."""


@pytest.mark.parametrize("message", ["", "x" * 10_000, 'ü\n"\\' * 5_000, "\0" * 3_000])
def test_an_outcome_always_fits_and_is_whole(message: str) -> None:
    text = encoded(FULLEST.model_copy(update={"message": message}))
    assert len(text) <= LONGEST
    read = BackupOutcome.model_validate_json(text)
    assert read.model_copy(update={"message": ""}) == FULLEST
    assert read.message == message or message.endswith(read.message.removeprefix("… "))
    assert bool(read.message) == bool(message)


@pytest.mark.parametrize("fullest", OTHERS, ids=lambda each: type(each).__name__)
def test_every_kind_has_room_for_words(fullest: Outcome) -> None:
    read = type(fullest).model_validate_json(encoded(fullest.model_copy(update={"message": "x" * LONGEST})))
    assert len(read.message) > 1000
    assert read.model_copy(update={"message": ""}) == fullest


@given(
    message=st.text(st.characters(), max_size=40).flatmap(
        lambda some: st.integers(0, 3000).map(lambda times: some * times)
    ),
    besides=st.integers(0, 2 * LONGEST),
)
def test_it_always_ends_and_fits_and_is_whole_or_says_why_not(message: str, besides: int) -> None:
    said = message.encode(errors="backslashreplace").decode()
    outcome = BackupOutcome(reason="Done", message=said, manifest_key="k" * besides)
    told = outcome.model_copy(update={"message": message})
    if min(size(outcome), size(outcome, "… ")) > LONGEST:
        with pytest.raises(Refused, match="OutcomeTooLong"):
            encoded(told)
        return
    text = encoded(told)
    read = BackupOutcome.model_validate_json(text)
    assert len(text) <= LONGEST
    assert read.model_copy(update={"message": said}) == outcome
    if read.message != said:
        kept = read.message.removeprefix("… ")
        assert read.message == f"… {kept}"
        assert said.endswith(kept)
        assert size(outcome, f"… {said[len(said) - len(kept) - 1 :]}") > LONGEST, (
            "no more is cut than must be"
        )


def size(outcome: Outcome, message: str | None = None) -> int:
    changed = outcome if message is None else outcome.model_copy(update={"message": message})
    return len(changed.model_dump_json(by_alias=True, exclude_defaults=True).encode())


def test_the_name_of_a_file_may_be_no_text() -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    read = Outcome.model_validate_json(encoded(Outcome(reason="Gone", message=f"{name} is gone")))
    assert read.message == r"caf\udce9 is gone"


def test_what_may_not_be_lost_and_has_no_room_is_no_end() -> None:
    with pytest.raises(Refused, match="a BackupOutcome says besides its message has 5154 bytes") as refused:
        encoded(FULLEST.model_copy(update={"message": "why", "manifest_key": "k" * LONGEST}))
    assert refused.value.reason == "OutcomeTooLong"


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


def test_a_job_whose_outcome_has_no_room_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "work.json").write_text(WORK.model_dump_json(by_alias=True))

    async def say_too_much(work: PrepareWork) -> Outcome:
        return PrepareOutcome(reason="Done", message="all is well", recovery_keys=("k" * LONGEST,))

    with caplog.at_level("INFO"):
        ended = run_job(
            PrepareWork, say_too_much, work_file=tmp_path / "work.json", termination=tmp_path / "end"
        )
    assert ended == 1
    left = Outcome.model_validate_json((tmp_path / "end").read_bytes())
    assert (left.reason, left.again) == ("OutcomeTooLong", False)
    assert "all is well" in caplog.text


def test_a_job_without_work_fails(tmp_path: Path) -> None:
    async def never(work: PrepareWork) -> Outcome:
        raise AssertionError

    assert run_job(PrepareWork, never, work_file=tmp_path / "none", termination=tmp_path / "end") == 1
    assert Outcome.model_validate_json((tmp_path / "end").read_bytes()).again
