"""One status patch per look, and none where nothing differs."""

from __future__ import annotations

from typing import Any

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.client import Cluster
from odoo_tenancy.cluster.objects import ObjectRef


def merge_difference(before: Manifest, after: Manifest) -> Manifest:
    """The JSON merge patch (RFC 7386) from one to the other: lists whole, ``None`` for what is to go."""
    difference: dict[str, Any] = {}
    for key in {**before, **after}:
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            new = merge_difference(old, new)
            if not new:
                continue
        elif old == new:
            continue
        difference[key] = new
    return difference


def merged(before: Manifest, difference: Manifest) -> Manifest:
    """What a JSON merge patch (RFC 7386) makes of an object."""
    after = dict(before)
    for key, new in difference.items():
        old = after.pop(key, None)
        if isinstance(new, dict):
            after[key] = merged(old if isinstance(old, dict) else {}, new)
        elif new is not None:
            after[key] = new
    return after


async def patch_status_if_changed(
    cluster: Cluster, ref: ObjectRef, before: Manifest, after: Manifest
) -> bool:
    """Make the status be ``after``, where it was read as ``before``; whether there was a write."""
    difference = merge_difference(before, after)
    if difference:
        await cluster.patch_status(ref, difference)
    return bool(difference)
