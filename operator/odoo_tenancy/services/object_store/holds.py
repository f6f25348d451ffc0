"""Which backups are held, where the loss of a cluster doesn't lose it: one small document for each, in the operator's own
part of the bucket."""

from __future__ import annotations

import json

from odoo_tenancy.services.object_store.bucket import Bucket
from odoo_tenancy.services.object_store.ledger_store import FOLDER

_SUFFIX = ".json"


class Holds:
    """Those of one tenant's repository.

    Args:
        prefix: of the policy, without a slash at either end; may be empty.
    """

    def __init__(self, bucket: Bucket, prefix: str, claim: str) -> None:
        self._folder = "".join(f"{part}/" for part in (prefix, FOLDER, f"{claim}.holds") if part)
        self._bucket = bucket

    async def names(self) -> frozenset[str]:
        """Of the backups that are held: one request for a thousand."""
        keys = [each.key async for each in self._bucket.objects(self._folder)]
        return frozenset(key[len(self._folder) :].removesuffix(_SUFFIX) for key in keys)

    def key(self, backup: str) -> str:
        """Where it is written that this one is held."""
        return f"{self._folder}{backup}{_SUFFIX}"

    async def hold(self, backup: str) -> None:
        """From now on; more than once is once."""
        content = json.dumps({"schemaVersion": "1", "backup": backup, "hold": True})
        await self._bucket.put_document(self.key(backup), content.encode())

    async def release(self, backup: str) -> None:
        """No more, whether it was or not."""
        await self._bucket.hide(self.key(backup))
