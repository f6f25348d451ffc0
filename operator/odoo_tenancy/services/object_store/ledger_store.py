"""Where ledgers of locks lie: one document for each repository, in the operator's own part of the bucket."""

from __future__ import annotations

from odoo_tenancy.services.object_store.bucket import Bucket
from odoo_tenancy.services.object_store.errors import DocumentUnusable
from odoo_tenancy.services.object_store.locks import Ledger

FOLDER = "ledgers"
"""Beside the tenants' prefixes, each of which is a claim: no session of a tenant's Job reaches it."""


class LedgerStore:
    """The ledger of one tenant's repository.

    Args:
        prefix: of the policy, without a slash at either end; may be empty.
        of: what is locked, if it isn't the repository itself.
    """

    def __init__(self, bucket: Bucket, prefix: str, claim: str, of: str = "") -> None:
        name = f"{claim}.{of}.json" if of else f"{claim}.json"
        self.key = "/".join(part for part in (prefix, FOLDER, name) if part)
        self._bucket = bucket

    async def load(self) -> Ledger:
        """As last saved; empty where there is none, or none that can be read: it is made anew from the store."""
        found = await self._bucket.get_document(self.key)
        if found is None:
            return Ledger()
        try:
            return Ledger.load(found.content)
        except DocumentUnusable:
            return Ledger()

    async def save(self, ledger: Ledger) -> None:
        """In place of the one before."""
        await self._bucket.put_document(self.key, ledger.dump())
