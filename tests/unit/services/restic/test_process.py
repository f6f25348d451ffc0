"""Which ends of a restic that could not read everything are good ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from odoo_tenancy.services.restic.errors import SourceUnreadable
from odoo_tenancy.services.restic.process import Restic

GONE = "incomplete metadata for /f/30/30aa: xattr.list /f/30/30aa: no such file or directory"
DENIED = "open /f/31/31bb: permission denied"
END = {"message_type": "exit_error", "code": 3, "message": "at least one source file could not be read"}


def fake_restic(folder: Path, *errors: str) -> Restic:
    """One that ends as restic 0.18 does when it could not read these: the real one can't be made to on demand."""
    said = [
        {"message_type": "error", "error": {"message": each}, "during": "archival", "item": "/f"}
        for each in errors
    ]
    (folder / "said").write_text("".join(json.dumps(each) + "\n" for each in [*said, END]))
    program = folder / "restic"
    program.write_text(f'#!/bin/sh\ncat "{folder}/said" >&2\nexit 3\n')
    program.chmod(0o755)
    return Restic((), {"PATH": f"{folder}:{os.environ['PATH']}"}, "backups/eu/acme/restic", 10)


async def vanished(restic: Restic) -> int:
    async with restic.running("backup") as running:
        return await running.ended_but_for_vanished()


async def test_files_that_were_deleted_meanwhile_are_none_of_its_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restic = fake_restic(tmp_path, GONE, GONE)
    monkeypatch.setenv("PATH", restic.environment["PATH"])
    assert await vanished(restic) == 2


@pytest.mark.parametrize("errors", [(GONE, DENIED), (DENIED,), ()])
async def test_one_that_could_not_be_read_is(
    errors: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restic = fake_restic(tmp_path, *errors)
    monkeypatch.setenv("PATH", restic.environment["PATH"])
    with pytest.raises(SourceUnreadable, match="permission denied" if errors else "exit 3"):
        await vanished(restic)


async def test_who_does_not_expect_it_is_told_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    restic = fake_restic(tmp_path, GONE)
    monkeypatch.setenv("PATH", restic.environment["PATH"])
    with pytest.raises(SourceUnreadable, match="no such file"):
        async with restic.running("backup") as running:
            await running.ended()
