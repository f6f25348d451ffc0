"""Every difference is one."""

from __future__ import annotations

import hashlib

import pytest

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.manifest import Attachments
from odoo_tenancy.jobs.manifest_comparison import (
    attachments_of,
    compare_attachments,
    compare_modules,
    compare_rows,
)

ROWS = {"public.a": 1, "public.b": 0}


@pytest.mark.parametrize(
    "found", [{"public.a": 2, "public.b": 0}, {"public.a": 1}, {}, {**ROWS, "public.c": 1}, {"public.b": 0}]
)
def test_other_rows(found: dict[str, int]) -> None:
    with pytest.raises(Refused, match="RowsDiffer"):
        compare_rows(ROWS, found, "The dump")


def test_the_same_rows_and_an_empty_table_of_an_extension() -> None:
    compare_rows(ROWS, {**ROWS, "public.spatial_ref_sys": 0}, "The dump")


def test_attachments_as_a_manifest_has_them() -> None:
    digest = hashlib.sha256(b"aa/aa\nbb/bb\n").hexdigest()
    expected = Attachments(files=2, digest=digest)
    assert attachments_of(["bb/bb", "aa/aa", "bb/bb"]) == expected
    compare_attachments(expected, attachments_of(["aa/aa", "bb/bb"]), "The dump")
    for other in ([], ["aa/aa"], ["aa/aa", "bb/bc"], ["aa/aa", "bb/bb", "cc/cc"]):
        with pytest.raises(Refused, match="AttachmentsDiffer"):
            compare_attachments(expected, attachments_of(other), "The dump")


@pytest.mark.parametrize("found", [{}, {"base": "19.0.1.4"}, {"base": "19.0.1.3", "web": "1"}])
def test_other_modules(found: dict[str, str]) -> None:
    compare_modules({"base": "19.0.1.3"}, {"base": "19.0.1.3"}, "Database x")
    with pytest.raises(Refused, match="ModulesDiffer"):
        compare_modules({"base": "19.0.1.3"}, found, "Database x")
