"""Durations and quantities mean what Kubernetes and a reader take them for."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odoo_tenancy.api.types import duration_seconds, parse_quantity


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [("0s", 0), ("90s", 90), ("30m", 1800), ("4h", 14_400), ("30d", 2_592_000), ("007s", 7)],
)
def test_a_duration_is_worth_its_seconds(duration: str, seconds: float) -> None:
    assert duration_seconds(duration) == seconds


@pytest.mark.parametrize(
    "text", ["", "90", "s", "1.5h", "1h30m", "-1s", "1w", "1 h", " 1h", "1H", "1h\n", "12345678s"]
)
def test_what_is_not_a_duration_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration such as"):
        duration_seconds(text)


@given(st.integers(0, 10**7 - 1), st.sampled_from("smhd"))
def test_units_of_a_duration_scale(number: int, unit: str) -> None:
    assert duration_seconds(f"{number}{unit}") == number * duration_seconds(f"1{unit}")


@pytest.mark.parametrize(
    ("quantity", "value"),
    [
        ("0", "0"),
        ("4", "4"),
        ("500m", "0.5"),
        ("1.5", "1.5"),
        (".5", "0.5"),
        ("8Gi", "8589934592"),
        ("2Ti", "2199023255552"),
        ("1k", "1000"),
        ("10M", "10000000"),
        ("1E", "1000000000000000000"),
        ("1Ei", "1152921504606846976"),
        ("1e3", "1000"),
        ("12E2", "1200"),
        ("1e-3", "0.001"),
        ("100n", "1e-7"),
        ("-2", "-2"),
    ],
)
def test_a_quantity_is_exact(quantity: str, value: str) -> None:
    assert parse_quantity(quantity) == Decimal(value)


@pytest.mark.parametrize(
    "text", ["", "Gi", "1 Gi", "1gi", "1KB", "1,5", "0x1", "1Gi\n", "--1", "1e", "1ee3", "nan", "inf"]
)
def test_what_is_not_a_quantity_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity such as"):
        parse_quantity(text)


@given(
    st.integers(0, 10**6),
    st.sampled_from([("Ki", "Mi"), ("Mi", "Gi"), ("Gi", "Ti"), ("Ti", "Pi"), ("Pi", "Ei")]),
)
def test_binary_suffixes_are_1024_apart(number: int, suffixes: tuple[str, str]) -> None:
    small, large = suffixes
    assert parse_quantity(f"{number}{large}") == parse_quantity(f"{number * 1024}{small}")


@given(st.decimals(min_value=0, max_value=10**9, places=3), st.sampled_from(["", "m", "k", "M", "Gi"]))
def test_a_quantity_grows_with_its_number(number: Decimal, suffix: str) -> None:
    assert parse_quantity(f"{number:f}{suffix}") == number * parse_quantity(f"1{suffix}")
