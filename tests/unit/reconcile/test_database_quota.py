"""When a database is warned of, full, and not so any more; and what of it is worth writing."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odoo_tenancy.api.meta import Key
from odoo_tenancy.reconcile.database_quota import is_news, level
from odoo_tenancy.reconcile.figures import Figures, Level, Told, Vacuum
from odoo_tenancy.services.postgres import DatabaseActivity, Reclaimed, ServerActivity

GIBI = 1 << 30
LEVELS: tuple[Level, ...] = ("Fine", "Warned", "Full")
TOLD = Told("t_1", 20 * GIBI, 32, "Fine", 10 * GIBI, 8)


@pytest.mark.parametrize(
    ("size", "before", "then"),
    [
        (79, "Fine", "Fine"), (80, "Fine", "Warned"), (99, "Fine", "Warned"), (100, "Fine", "Full"),
        (100, "Warned", "Full"), (76, "Warned", "Warned"), (74, "Warned", "Fine"),
        (99, "Full", "Full"), (95, "Full", "Full"), (94, "Full", "Warned"), (10, "Full", "Fine"),
        (None, "Full", "Full"), (None, "Fine", "Fine"), (0, "Fine", "Fine"),
    ],
)  # fmt: skip
def test_how_full_it_is(size: int | None, before: Level, then: Level) -> None:
    assert level(size, 100, before) == then


@given(st.one_of(st.none(), st.integers(0, 10**15)), st.sampled_from(LEVELS))
def test_without_a_limit_it_is_never_full(size: int | None, before: Level) -> None:
    assert level(size, None, before) == "Fine"


@given(st.integers(0, 10**12), st.integers(1, 10**12), st.sampled_from(LEVELS))
def test_the_same_size_again_changes_nothing(size: int, most: int, before: Level) -> None:
    once = level(size, most, before)
    assert level(size, most, once) == once


def measured(size: int | None = None, connections: int | None = None) -> Figures:
    activity = None
    if connections is not None:
        one = DatabaseActivity(connections, 0, 0, 0, 0, 0, 0)
        activity = ServerActivity({"t_1": one}, False, None, 0, {})
    return Figures(sizes={} if size is None else {"t_1": size}, activity=activity)


@pytest.mark.parametrize(
    ("figures", "news"),
    [
        (measured(), False),
        (measured(10 * GIBI, 8), False),
        (measured(10 * GIBI + GIBI // 2), False),
        (measured(11 * GIBI), True),
        (measured(9 * GIBI), True),
        (measured(connections=15), False),
        (measured(connections=16), True),
        (measured(connections=0), True),
    ],
)
def test_what_is_worth_a_look(figures: Figures, news: bool) -> None:
    assert is_news(figures, TOLD) is news


def test_another_level_always_is() -> None:
    nearly = replace(TOLD, size_bytes=20 * GIBI - 1, level="Warned")
    assert is_news(measured(20 * GIBI), nearly)
    assert not is_news(measured(20 * GIBI), replace(nearly, level="Full"))


def test_what_was_never_said_waits_for_the_next_look_unless_the_database_is_full() -> None:
    unsaid = replace(TOLD, size_bytes=None, connections=None)
    assert TOLD.most is not None
    assert not is_news(measured(TOLD.most // 2), unsaid)
    assert not is_news(measured(connections=TOLD.connection_limit), unsaid)
    assert is_news(measured(TOLD.most), unsaid)


async def test_a_database_that_is_being_rewritten_stays_full() -> None:
    done = asyncio.Event()
    key = Key("OdooTenant", "tenants", "acme")

    async def rewrite() -> Reclaimed:
        await done.wait()
        return Reclaimed(2, 1, ())

    figures = Figures()
    assert not figures.vacuuming(key)
    figures.vacuums[key] = Vacuum("now", asyncio.create_task(rewrite()))
    assert figures.vacuuming(key)
    done.set()
    await figures.vacuums[key].task
    assert not figures.vacuuming(key), "its result is told, and what it freed counts"
