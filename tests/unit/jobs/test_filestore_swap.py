"""A swap that was killed anywhere goes on from there; what is unclear is left as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.jobs.filestore_swap import swap


class Killed(Exception):
    """Stands for a process that ends."""


class KilledAt:
    """Kills before or after a certain write."""

    def __init__(self, at: int) -> None:
        self.left = at

    def before_write(self, description: str) -> None:
        self._count()

    def after_write(self, description: str) -> None:
        self._count()

    def _count(self) -> None:
        if not self.left:
            raise Killed
        self.left -= 1


def stage(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "was").write_text(name)
    return tmp_path


def now(filestores: Path) -> dict[str, str]:
    return {each.name: (each / "was").read_text() for each in filestores.iterdir()}


@pytest.mark.parametrize("at", range(5))
def test_killed_anywhere_it_goes_on(tmp_path: Path, at: int) -> None:
    stage(tmp_path, "living", "new", "other")
    try:
        swap(tmp_path, "living", "new", "former", KilledAt(at))
        assert at == 4
    except Killed:
        assert at < 4
    swap(tmp_path, "living", "new", "former")
    swap(tmp_path, "living", "new", "former")
    assert now(tmp_path) == {"living": "new", "former": "living", "other": "other"}
    swap(tmp_path, "living", "former", "new")
    assert now(tmp_path) == {"living": "living", "new": "new", "other": "other"}


def test_a_tenant_without_files_gets_the_new_ones(tmp_path: Path) -> None:
    stage(tmp_path, "new")
    swap(tmp_path, "living", "new", "former")
    assert (tmp_path / "living" / "was").read_text() == "new"
    swap(tmp_path, "living", "former", "new")
    assert (tmp_path / "new" / "was").read_text() == "new"
    assert list((tmp_path / "living").iterdir()) == []


@pytest.mark.parametrize(
    ("there", "words", "reason"),
    [
        (("living", "new", "former"), ("living", "new", "former"), "SwapUnclear"),
        (("former",), ("living", "new", "former"), "NothingToSwap"),
        (("living", "new"), ("living", "../new", "former"), "NameInvalid"),
        (("living", "new"), ("living", "new", ""), "NameInvalid"),
    ],
)
def test_what_is_unclear_is_left(
    tmp_path: Path, there: tuple[str, ...], words: tuple[str, str, str], reason: str
) -> None:
    stage(tmp_path, *there)
    with pytest.raises(Refused, match=reason):
        swap(tmp_path, *words)
    assert set(now(tmp_path)) == set(there)
