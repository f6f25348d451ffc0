"""What ``docs/security-backups.md`` says: its tables, and the rights of the policy's own key."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.s3 import LOCKED

PAGE = (Path(__file__).parents[2] / "docs" / "security-backups.md").read_text(encoding="utf-8")


@cache
def table(first: str) -> dict[str, dict[str, str]]:
    """The one whose first column has this heading: by the first cell of each row, the others by their headings."""
    for block in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE):
        heading, _, *rows = (
            [cell.strip() for cell in row.strip("| ").split(" | ")] for row in block.splitlines()
        )
        if heading[0] == first:
            return {row[0]: dict(zip(heading[1:], row[1:], strict=True)) for row in rows}
    raise AssertionError(f"the page has no table of {first}")


def own_key_policy(prefix: str, principal: str = "") -> dict[str, Any]:
    """That of the page; as a bucket's policy it names whom it is for."""
    block, _ = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    for name, value in {"BUCKET": LOCKED, "PREFIX": prefix, "DAYS": "2", "MOST": "30"}.items():
        block = block.replace(name, value)
    found: dict[str, Any] = json.loads(block)
    if principal:
        for statement in found["Statement"]:
            statement["Principal"] = {"AWS": [principal]}
            # versitygw doesn't know the condition of locks.
            statement.pop("Condition", None)
    return found
