"""What is said of stored backups that outlast their tenant: how much, for how long, who can read it, and how it goes."""

from __future__ import annotations

from odoo_tenancy.reconcile.erasing_memory import Place
from odoo_tenancy.services.object_store.erase import Remains


def told(place: Place, remains: Remains, days: int | None) -> str:
    """In sentences; nothing where nothing remains.

    Args:
        days: after which the bucket's lifecycle removes former versions; ``None``: it doesn't, or nobody knows.
    """
    uploads = _uploads(place, remains)
    if not remains.objects:
        return uploads
    begin = f"{remains.objects} object versions with {remains.bytes} bytes remain below {place}, all of them hidden."
    return " ".join(
        (begin, *_why(place, remains), _until_when(place, remains, days), _readable(remains), uploads)
    ).strip()


def _why(place: Place, remains: Remains) -> list[str]:
    found = []
    if remains.until is not None:
        found.append(
            f"{remains.locked} are locked, the last of them until {remains.until:%Y-%m-%dT%H:%M:%SZ}."
        )
    if remains.on_hold:
        found.append(f"{remains.on_hold} are under a legal hold, until somebody takes that away.")
    if remains.refused:
        found.append(
            f"{remains.refused} have no lock that can be seen, and the store lets the key"
            f" {place.address.credentials.access_key_id} only hide them (s3:DeleteObjectVersion is not granted, or the"
            " bucket's default retention holds)."
        )
    return found


def _until_when(place: Place, remains: Remains, days: int | None) -> str:
    if days is not None:
        unlocked = ", and their locks have ended" if remains.locked or remains.on_hold else ""
        return (
            f"The bucket's lifecycle rule removes them when they have been hidden for {days} days{unlocked}."
        )
    return (
        f"No lifecycle rule is known that removes former versions below {place.below}: set one, or erase them with an"
        f" administrator's key{' when they are no longer locked' if remains.locked else ''}:"
        f" python -m odoo_tenancy.jobs.erase --endpoint {place.address.endpoint} --bucket {place.address.bucket}"
        f" --prefix '{place.prefix}' --claim {place.claim}"
    )


def _readable(remains: Remains) -> str:
    if remains.keys:
        return (
            "The tenant's own key is gone. Until then whoever may see hidden versions, and has one of the policy's"
            " recovery keys, can read them."
        )
    return "The repository's keys are gone, so that nobody can read what remains."


def _uploads(place: Place, remains: Remains) -> str:
    """Those that the key may not abort, or not even list."""
    if remains.uploads:
        begin = f"{remains.uploads} unfinished uploads remain below {place}"
    elif not remains.are_uploads_seen:
        begin = f"Unfinished uploads may remain below {place}"
    else:
        return ""
    needed = "s3:AbortMultipartUpload" if remains.uploads else "s3:ListBucketMultipartUploads"
    return (
        f"{begin}: {needed} is not granted to the key {place.address.credentials.access_key_id}. A lifecycle rule with"
        " AbortIncompleteMultipartUpload removes them, or their parts are stored for ever."
    )


def kept(where: str) -> str:
    """What stays as it is, because somebody asked for it."""
    return (
        f"Everything that is stored below {where} stays as it is, as the tenant's annotation asked. The tenant's own key is"
        " gone: a recovery key of the policy opens it (docs/recovery.md)."
    )
