"""The ledger of locks, as it is written down."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from odoo_tenancy.services.object_store import DocumentUnusable, Ledger, Pinned, Retention

NOW = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)


def test_what_is_dumped_is_loaded() -> None:
    ledger = Ledger(
        {
            "eu/3f/restic/data/ab": Pinned("v1", Retention("Governance", NOW)),
            "eu/3f/restic/config": Pinned("null", None),
        }
    )
    assert Ledger.load(ledger.dump()) == ledger
    assert Ledger.load(Ledger().dump()) == Ledger()


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"pinned": [["a"]]}', b'{"pinned": [["a","b","x","y"]]}']
)
def test_what_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(DocumentUnusable, match="made anew"):
        Ledger.load(content)
