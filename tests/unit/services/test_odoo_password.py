"""Hashes against what passlib 1.7.4, which Odoo verifies with, made of the same password and salt."""

from __future__ import annotations

import pytest

from odoo_tenancy.services.odoo_password import ROUNDS, hash_password


@pytest.mark.parametrize(
    ("password", "salt", "rounds", "made_by_passlib"),
    [
        (
            "correct horse",
            b"0123456789abcdef",
            600_000,
            "$pbkdf2-sha512$600000$MDEyMzQ1Njc4OWFiY2RlZg"
            "$4hjIsf4tILM.1P4WmTaQCuQ3VQV4ZZJ7efIFyVQbQxxODRoyLGNCVp/ftr0GhzMhcQo.BycQ8TWQq/9kwihk3Q",
        ),
        (
            "pässwörd",
            bytes(range(240, 256)),
            1000,
            "$pbkdf2-sha512$1000$8PHy8/T19vf4.fr7/P3./w"
            "$v7CFvDd/fW7qBor57tpMOdRewm6HKwqnKqxRCEpwapVmjOXezDc9tnPX0Pqcqs/j/1Foi8ltAX/NcjBMAm0AXw",
        ),
    ],
)
def test_as_passlib_makes_it(password: str, salt: bytes, rounds: int, made_by_passlib: str) -> None:
    assert hash_password(password, salt=salt, rounds=rounds) == made_by_passlib


def test_every_hash_has_its_own_salt() -> None:
    assert hash_password("x", rounds=1) != hash_password("x", rounds=1)
    assert ROUNDS == 600_000
