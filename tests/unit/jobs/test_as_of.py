"""What the command refuses before it asks the store."""

from __future__ import annotations

import pytest

from odoo_tenancy.jobs.as_of import main

STORE = ["--endpoint", "https://127.0.0.1:9", "--bucket", "b"]


def test_a_moment_has_a_time_zone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*STORE, "--from", "a", "--to", "b", "--at", "2026-03-01T18:00:00"])
    assert "time zone" in capsys.readouterr().err


def test_nothing_is_copied_into_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*STORE, "--from", "eu/a", "--to", "eu/a/b/", "--at", "2026-03-01T18:00:00Z"]) == 1
    assert "lie in each other" in capsys.readouterr().err


def test_without_credentials_it_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert main([*STORE, "--from", "eu/a", "--to", "eu/b", "--at", "2026-03-01T18:00:00Z"]) == 1
    assert "StoreCredentialsRejected" in capsys.readouterr().err
