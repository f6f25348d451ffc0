"""Our rules keep what restic's own would, on a repository whose snapshots have been made at all sorts of times."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.restic import environment

from odoo_tenancy.api.maintain_work import KeepRules
from odoo_tenancy.jobs.retention import StoredSet, staying

NEWEST = datetime(2026, 3, 3, 4, 5, tzinfo=UTC)
AGES = (
    timedelta(0), timedelta(hours=4), timedelta(hours=5), timedelta(days=1), timedelta(days=2, hours=3),
    timedelta(days=3), timedelta(days=8), timedelta(days=9), timedelta(days=30), timedelta(days=61),
    timedelta(days=62), timedelta(days=63), timedelta(days=430),
)  # fmt: skip
"""Over a change of month, of year, and of the ISO year."""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rules")
    _restic(folder, "init")
    for age in AGES:
        moment = f"{NEWEST - age:%Y-%m-%d %H:%M:%S}"
        _restic(
            folder, "backup", "--time", moment, "--host", "odoo", "--group-by", "", str(folder / "content")
        )
    return folder


def _restic(folder: Path, *words: str) -> str:
    (folder / "content").touch()
    command = ["restic", "--repo", str(folder / "repository"), "--no-cache", *words]
    told = environment(RESTIC_PASSWORD="x", TZ="Etc/UTC")
    return subprocess.run(command, env=told, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "rules",
    [
        {"last": 3},
        {"daily": 4},
        {"weekly": 3},
        {"monthly": 3},
        {"yearly": 5},
        {"within_seconds": 5 * 86400},
        {"within_seconds": 3600, "last": 2, "daily": 3, "weekly": 2, "monthly": 12},
    ],
)
def test_the_same_stay_as_with_restic(repository: Path, rules: dict[str, int]) -> None:
    options = [f"--keep-{name}={number}" for name, number in rules.items() if name != "within_seconds"]
    if "within_seconds" in rules:
        options.append(f"--keep-within={rules['within_seconds'] // 3600}h")
    said = _restic(repository, "forget", "--json", "--dry-run", "--group-by", "", *options)
    (group,) = json.loads(said)
    theirs = sorted(datetime.fromisoformat(each["time"]).replace(microsecond=0) for each in group["keep"])
    sets = [StoredSet(str(age), "", NEWEST - age, frozenset({str(age)}), counts=True) for age in AGES]
    kept = staying(sets, KeepRules.model_validate(rules), NEWEST)
    assert sorted(each.recovery_point for each in sets if each.name in kept) == theirs
