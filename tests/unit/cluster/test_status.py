"""The patch from one status to another."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from odoo_tenancy.cluster.status import merge_difference

NAMES = st.sampled_from("abc")
LEAVES = st.sampled_from([True, 0, 1, "x", [], [1]])
STATUSES = st.dictionaries(NAMES, LEAVES | st.dictionaries(NAMES, LEAVES | st.dictionaries(NAMES, LEAVES)))


def merged(target: Any, patch: Any) -> Any:
    """JSON merge patch, as RFC 7386 has it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


@settings(max_examples=50, deadline=None)
@given(STATUSES, STATUSES)
def test_the_patch_leads_from_one_to_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert merged(before, merge_difference(before, after)) == after


@settings(max_examples=50, deadline=None)
@given(STATUSES)
def test_there_is_no_patch_where_nothing_differs(status: dict[str, Any]) -> None:
    assert merge_difference(status, status) == {}
    assert merge_difference(status, {**status, "absent": None}) == {}
