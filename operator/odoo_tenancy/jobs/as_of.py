"""A prefix of a bucket as it was at a moment, copied to another one: for people, after somebody overwrote or deleted it.

Who may do it, the environment says, in AWS's own variables. docs/security-backups.md has the whole way.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import datetime

from odoo_tenancy.api.errors import OperatorError
from odoo_tenancy.api.work import StorePlace
from odoo_tenancy.jobs import store_arguments
from odoo_tenancy.services.object_store import Bucket, BucketAddress, Copied, copy_as_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1: it was not copied, or not all of it; the same command goes on."""
    chosen = _parser().parse_args(arguments)
    place = store_arguments.place(chosen)
    try:
        copied = asyncio.run(_copy(place, chosen.source, chosen.target, chosen.at))
    except (OperatorError, OSError, ValueError) as error:
        print(f"Not all was copied: {error}", file=sys.stderr)
        return 1
    print(f"{copied.objects} objects with {copied.bytes} bytes copied; {copied.already} were there already.")
    if not copied.objects + copied.already:
        print(f"There was nothing below {chosen.source} at {chosen.at}.", file=sys.stderr)
        return 1
    return 0


async def _copy(place: StorePlace, source: str, target: str, at: datetime) -> Copied:
    bucket = Bucket(BucketAddress.of(place, os.environ))
    try:
        return await copy_as_of(bucket, f"{source.strip('/')}/", f"{target.strip('/')}/", at)
    finally:
        bucket.close()


def _parser() -> argparse.ArgumentParser:
    parser = store_arguments.parser("as_of", __doc__)
    parser.add_argument("--from", dest="source", required=True, help="prefix to copy: <prefix>/<claim>")
    parser.add_argument("--to", dest="target", required=True, help="a new prefix: <prefix>/as-of/<claim>")
    parser.add_argument("--at", type=_moment, required=True, help="such as 2026-03-01T18:00:00Z")
    return parser


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError("say the time zone too, such as 2026-03-01T18:00:00Z")
    return moment


if __name__ == "__main__":
    sys.exit(main())
