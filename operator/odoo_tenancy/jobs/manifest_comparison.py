"""Whether what was found, in a dump or in a restored database, is what the manifest says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.manifest import Attachments

_SHOWN = 3


def attachments_of(names: Iterable[str]) -> Attachments:
    """Of ``store_fname``s, each once: how many, and their digest."""
    ordered = sorted({name.encode("utf-8", "surrogateescape") for name in names})
    digest = hashlib.sha256()
    for name in ordered:
        digest.update(name + b"\n")
    return Attachments(files=len(ordered), digest=digest.hexdigest())


def compare_rows(expected: Mapping[str, int], found: Mapping[str, int], where: str) -> None:
    """Table by table. An empty table that isn't expected may be an extension's.

    Raises:
        Refused: ``RowsDiffer``, with the first tables that do.
    """
    differing = [
        f"{table} has {found.get(table, 'no table for')} of {expected.get(table, 0)} rows"
        for table in sorted({*expected, *found})
        if found.get(table) != expected.get(table) and (table in expected or found[table])
    ]
    if differing:
        more = f" and {len(differing) - _SHOWN} tables more" if len(differing) > _SHOWN else ""
        raise Refused(
            "RowsDiffer",
            f"{where} isn't what the manifest says: {'; '.join(differing[:_SHOWN])}{more}. It isn't the database that "
            "was backed up: use another backup.",
        )


def compare_attachments(expected: Attachments, found: Attachments, where: str) -> None:
    """The files that the database names.

    Raises:
        Refused: ``AttachmentsDiffer``.
    """
    if expected != found:
        raise Refused(
            "AttachmentsDiffer",
            f"{where} names {found.files} files (digest {found.digest[:12]}), and the manifest says {expected.files} "
            f"({expected.digest[:12]}). It isn't the database that was backed up: use another backup.",
        )


def compare_modules(expected: Mapping[str, str], found: Mapping[str, str], where: str) -> None:
    """Installed modules and the versions of their data.

    Raises:
        Refused: ``ModulesDiffer``.
    """
    if differing := sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name)):
        raise Refused(
            "ModulesDiffer",
            f"{where} has other modules than the manifest says: {', '.join(differing[:_SHOWN])}. It isn't the database "
            "that was backed up: use another backup.",
        )
