"""What grows faster than tenants become more doesn't hold, and what could not be measured is no pass."""

from __future__ import annotations

import pytest
from tests.bench.figures import Figure
from tests.bench.process import Usage
from tests.bench.thousand_tenants import Level, figures, growth

BARE = {"dynamic": 0.2, "own": 0.07, "manifests": 25}


def level(tenants: int, seconds: float) -> Level:
    """One at which everything but the time has grown with the tenants."""
    usage = Usage(1 + tenants * 0.3, (80_000 + tenants * 50) * 1000, 120_000_000)
    return Level(tenants, seconds, usage, requests=100 + tenants * 40, looks=tenants * 5)


def growths(last_wave: float) -> dict[str, Figure]:
    """What is said of growth where the last wave took so many seconds, and each other one 60."""
    levels = [level(0, 0.0), level(250, 60), level(500, 60), level(750, 60), level(1000, last_wave)]
    found = {figure.name.split("/")[1]: figure for figure in figures(levels, BARE, "nodes")}
    return {name: figure for name, figure in found.items() if name.startswith("growth-of-")}


def test_what_grows_with_the_tenants_holds() -> None:
    found = growths(last_wave=60)
    assert found.keys() == {f"growth-of-{what}" for what in ("cpu", "memory", "requests", "time")}
    assert [figure.value for figure in found.values()] == pytest.approx([1.0] * 4)
    assert all(figure.holds for figure in found.values())


def test_a_last_wave_that_takes_longer_than_the_first_does_not_hold() -> None:
    found = growths(last_wave=91)
    assert [name for name, figure in found.items() if not figure.holds] == ["growth-of-time"]


@pytest.mark.parametrize("of_first", [0.0, -1.0])
def test_growth_from_nothing_has_no_value_and_does_not_hold(of_first: float) -> None:
    found = growth("memory", 1.0, of_first)
    assert found.value is None
    assert not found.holds
