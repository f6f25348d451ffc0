"""The bucket's own side: documents beside the repositories, what the bucket has against loss, sessions for Jobs, locks that
last, and a prefix as it was. What is in the repositories is restic's.
"""

from odoo_tenancy.services.object_store.address import BucketAddress, Credentials
from odoo_tenancy.services.object_store.as_of import Copied, copy_as_of
from odoo_tenancy.services.object_store.bucket import Bucket
from odoo_tenancy.services.object_store.errors import (
    BucketMissing,
    DocumentUnusable,
    ObjectLocked,
    StoreAccessDenied,
    StoreCertificateRefused,
    StoreClockSkewed,
    StoreCredentialsRejected,
    StoreFull,
    StoreUnreachable,
)
from odoo_tenancy.services.object_store.ledger_store import LedgerStore
from odoo_tenancy.services.object_store.locks import Extension, Ledger, Pinned, Wanted, extend
from odoo_tenancy.services.object_store.protection import LifecycleRule, Protection, unprotected_because
from odoo_tenancy.services.object_store.sessions import (
    Purpose,
    SessionRefused,
    assume_role,
    session_policy,
)
from odoo_tenancy.services.object_store.stored import (
    Clocks,
    Document,
    Retention,
    StoredObject,
    StoredVersion,
)

__all__ = [
    "Bucket",
    "BucketAddress",
    "BucketMissing",
    "Clocks",
    "Copied",
    "Credentials",
    "Document",
    "DocumentUnusable",
    "Extension",
    "Ledger",
    "LedgerStore",
    "LifecycleRule",
    "ObjectLocked",
    "Pinned",
    "Protection",
    "Purpose",
    "Retention",
    "SessionRefused",
    "StoreAccessDenied",
    "StoreCertificateRefused",
    "StoreClockSkewed",
    "StoreCredentialsRejected",
    "StoreFull",
    "StoreUnreachable",
    "StoredObject",
    "StoredVersion",
    "Wanted",
    "assume_role",
    "copy_as_of",
    "extend",
    "session_policy",
    "unprotected_because",
]
