"""A derived password can be made again with nothing but openssl."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from odoo_tenancy.services.restic.passwords import derived_password

PATH = "eu/3f9c2a7b/restic"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl isn't installed")
@pytest.mark.parametrize("key", [b"a recovery key, as text", bytes(range(32)), b"\xff" * 100])
def test_openssl_gives_the_same(key: bytes) -> None:
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key.hex()}"]
    said = subprocess.run(command, input=PATH.encode(), capture_output=True, check=True).stdout
    assert said.decode().split("= ")[1].strip() == derived_password(key, PATH)


def test_each_repository_has_its_own() -> None:
    assert derived_password(b"key", PATH) != derived_password(b"key", f"{PATH}2")
    assert len(derived_password(b"key", PATH)) == 64
