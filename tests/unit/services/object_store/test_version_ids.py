"""When a version was written, where its id says so."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from odoo_tenancy.services.object_store.version_ids import time_of_ulid


def test_a_ulid_says_when() -> None:
    """The specification's own example."""
    assert time_of_ulid("01ARZ3NDEKTSV4RRFFQ69G5FAV") == datetime(2016, 7, 30, 23, 54, 10, 259000, UTC)


@pytest.mark.parametrize(
    "version",
    [
        "null",
        "",
        "bc9a0ea1-c775-44ff-9eb5-d3fd0dd0de07",
        "3sL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY",
        "01arz3ndektsv4rrffq69g5fav",
        "81ARZ3NDEKTSV4RRFFQ69G5FAV",
        "01ARZ3NDEKTSV4RRFFQ69G5FAVX",
    ],
)
def test_other_ids_say_nothing(version: str) -> None:
    assert time_of_ulid(version) is None
