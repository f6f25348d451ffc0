"""What the command refuses before it asks the store."""

from __future__ import annotations

import pytest

from odoo_tenancy.jobs.erase import main

STORE = ["--endpoint", "https://127.0.0.1:9", "--bucket", "b", "--prefix", "eu"]


@pytest.mark.parametrize("claim", ["", "3f", "a" * 31, "a" * 33, "*" * 32, "a" * 30 + "/b"])
def test_a_claim_is_whole(claim: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*STORE, "--claim", claim])
    assert "32 hexadecimal digits" in capsys.readouterr().err


def test_without_credentials_it_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert main([*STORE, "--claim", "a" * 32]) == 1
    assert "StoreCredentialsRejected" in capsys.readouterr().err
