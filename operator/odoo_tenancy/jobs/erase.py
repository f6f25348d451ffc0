"""Erase what is still stored of a tenant that is gone, as far as locks let it: for people, with an administrator's key,
where the operator's own could only hide it, or when its locks have ended.

Who may do it, the environment says, in AWS's own variables. docs/security-backups.md has the whole way. Whether the tenant
lives, nobody asks here: the ConfigMap ``former-<claim>`` in the operator's namespace says whose it was.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from odoo_tenancy.api.errors import OperatorError, Refused
from odoo_tenancy.api.work import StorePlace
from odoo_tenancy.jobs import store_arguments
from odoo_tenancy.services.object_store import Bucket, BucketAddress
from odoo_tenancy.services.object_store.erase import Erasure, Remains
from odoo_tenancy.services.object_store.holds import Holds

_CLAIM = re.compile(r"[0-9a-f]{32}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1: something remains, or it was not erased; the same command goes on."""
    chosen = _parser().parse_args(arguments)
    place = store_arguments.place(chosen)
    try:
        erased = asyncio.run(_erase(place, chosen.prefix.strip("/"), chosen.claim))
    except (OperatorError, OSError) as error:
        print(f"Not all was erased: {error}", file=sys.stderr)
        return 1
    left = erased.remains
    print(f"{erased.gone} erased; {left.objects} objects remain.")
    if left.objects:
        until = f", the last of them until {left.until:%Y-%m-%dT%H:%M:%SZ}" if left.until else ""
        print(
            f"{left.locked} are locked{until}, {left.on_hold} under a legal hold; {left.refused} the store lets nobody "
            "with this key remove.",
            file=sys.stderr,
        )
    if left.uploads or not left.are_uploads_seen:
        which = (
            f"{left.uploads} unfinished uploads remain" if left.uploads else "Unfinished uploads may remain"
        )
        needed = "s3:AbortMultipartUpload" if left.uploads else "s3:ListBucketMultipartUploads"
        print(f"{which}: grant the key {needed}.", file=sys.stderr)
    return 0 if left == Remains() else 1


async def _erase(place: StorePlace, prefix: str, claim: str) -> Erasure:
    bucket = Bucket(BucketAddress.of(place, os.environ))
    try:
        held = await Holds(bucket, prefix, claim).names()
        if held:
            raise Refused("BackupsHeld", f"Held, and so nothing is erased: {', '.join(sorted(held))}.")
        erasure = Erasure(bucket, prefix, claim, lambda: datetime.now(UTC))
        await erasure.go_on(lambda: False)
        return erasure
    finally:
        bucket.close()


def _parser() -> argparse.ArgumentParser:
    parser = store_arguments.parser("erase", __doc__)
    parser.add_argument("--prefix", default="", help="of the BackupPolicy; default: none")
    parser.add_argument("--claim", type=_claim, required=True, help="of the tenant: 32 hexadecimal digits")
    return parser


def _claim(text: str) -> str:
    if not _CLAIM.fullmatch(text):
        raise argparse.ArgumentTypeError("a claim has 32 hexadecimal digits")
    return text


if __name__ == "__main__":
    sys.exit(main())
