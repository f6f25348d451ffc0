"""What restic says, as the operator's own errors: each with its reason and its mend, none with a secret.

Exit codes: https://restic.readthedocs.io/en/v0.18.0/075_scripting.html#exit-codes. One that isn't known is a failure.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from odoo_tenancy.api.errors import OperatorError, Refused, Unavailable, Waiting
from odoo_tenancy.services.object_store.errors import (
    BucketMissing,
    StoreAccessDenied,
    StoreCertificateRefused,
    StoreClockSkewed,
    StoreCredentialsRejected,
    StoreFull,
    StoreUnreachable,
)

LOOK_AGAIN = 60.0
"""Seconds until another look at what a person mends outside of the spec."""


class RepositoryMissing(Unavailable):
    """There is no repository."""

    def __init__(self, message: str) -> None:
        super().__init__("RepositoryMissing", message, LOOK_AGAIN)


class RepositoryLocked(Waiting):
    """Somebody else is at work in it."""

    def __init__(self, message: str) -> None:
        super().__init__("RepositoryLocked", message, LOOK_AGAIN)


class RepositoryPasswordWrong(Refused):
    """None of the repository's keys opens with the password that we have."""

    def __init__(self, message: str) -> None:
        super().__init__("RepositoryPasswordWrong", message, LOOK_AGAIN)


class SourceUnreadable(Unavailable):
    """Files that had to be stored could not be read: the snapshot lacks them."""

    def __init__(self, message: str) -> None:
        super().__init__("SourceUnreadable", message)


class CommandFailed(Unavailable):
    """The command whose output had to be stored failed: there is no snapshot."""

    def __init__(self, message: str) -> None:
        super().__init__("CommandFailed", message)


class RepositoryDamaged(Refused):
    """What is stored isn't what was stored."""

    def __init__(self, message: str) -> None:
        super().__init__("RepositoryDamaged", message, LOOK_AGAIN)


_NO_SOURCE = re.compile(r"source directories/files do not exist")
# What minio-go, restic's S3 client, says of a service's answers and of the connection. The first that matches counts.
_STORE: tuple[tuple[str, Callable[[str], OperatorError], str], ...] = (
    (
        r"bucket does not exist|NoSuchBucket",
        BucketMissing,
        "Make the bucket, or correct the policy's store.",
    ),
    (
        r"access key id you provided does not exist|signature we calculated|SignatureDoesNotMatch|InvalidAccessKeyId"
        r"|ExpiredToken|InvalidToken|no credentials found|security token",
        StoreCredentialsRejected,
        "Correct the Secret of the policy's credentialsSecretRef.",
    ),
    (
        r"RequestTimeTooSkewed|difference between the request time",
        StoreClockSkewed,
        "Set the clock that is wrong.",
    ),
    (
        r"x509: |certificate signed by unknown|failed to verify certificate|server gave HTTP response to HTTPS client",
        StoreCertificateRefused,
        "Correct the Secret of the policy's caSecretRef, or the endpoint.",
    ),
    (
        r"access ?denied|403 Forbidden|AllAccessDisabled",
        StoreAccessDenied,
        # A HEAD has no body that could say which: restic begins with one.
        "Correct the Secret of the policy's credentialsSecretRef, or grant the key what it needs below the prefix.",
    ),
    (
        r"no space left|QuotaExceeded|StorageFull|InsufficientStorage|minimum free drive",
        StoreFull,
        "Make room, or raise the quota; it is tried again.",
    ),
    (
        r"connection refused|no such host|i/o timeout|connection reset|network is unreachable|no route to host"
        r"|TLS handshake timeout|context deadline exceeded|server misbehaving|ServiceUnavailable|SlowDown"
        r"|InternalError|\b50[0-9] |broken pipe|\bEOF\b",
        StoreUnreachable,
        "Check the policy's endpoint, that the store runs, and the NetworkPolicies in between; it is tried again.",
    ),
)
_DAMAGED = re.compile(
    r"ciphertext verification failed|invalid data returned|hash mismatch|not found in (repository|index)"
    r"|does not match id|unable to load (index|tree|blob)|checksum mismatch|pack .* is damaged"
    # What prune finds before it removes anything.
    r"|index is not complete|packs from index missing in repo|pack size does not match",
    re.IGNORECASE,
)
_COMMAND = re.compile(r"command failed: |failed to start command: ")


def of_exit(code: int, doing: str, where: str, said: str) -> OperatorError:
    """Why restic failed.

    Args:
        code: its exit status; negative: the signal that killed it.
        doing: such as ``backup``.
        where: the repository, as people know it.
        said: what it wrote to its standard error, on one line.
    """
    what = f"restic {doing} on {where}: {said or 'it said nothing'} (exit {code})."
    match code:
        case 3:
            return SourceUnreadable(
                f"{what} Files could not be read, so the snapshot is not whole and does not count. Let the"
                " filestore's files be readable by Odoo's uid or gid, and look at the volume."
            )
        case 10:
            return RepositoryMissing(
                f"{what} Check bucket and prefix; it is made when the tenant's first backup is prepared."
            )
        case 11:
            return RepositoryLocked(
                f"{what} Another backup or maintenance is at work there; if its Job is gone, its lock is removed"
                " by the next maintenance."
            )
        case 12:
            return RepositoryPasswordWrong(
                f"{what} The repository was made with another key: restore the tenant's Secret in the operator's"
                " namespace, or open it with the recovery key."
            )
        case 130:
            return Unavailable("Interrupted", f"{what} It was told to stop; it is tried again.")
    return _of_words(code, what, said)


def _of_words(code: int, what: str, said: str) -> OperatorError:
    """restic has one exit status for everything else."""
    if code < 0:
        return Unavailable(
            "ResticKilled", f"{what} A signal ended it; with SIGKILL it often lacked memory: raise its limit."
        )
    if _COMMAND.search(said):
        return CommandFailed(f"{what} No snapshot was made. What the command wrote stands before that.")
    if _NO_SOURCE.search(said):
        return SourceUnreadable(f"{what} No snapshot was made. Look at the volume.")
    if _DAMAGED.search(said):
        return RepositoryDamaged(
            f"{what} Objects in the store are damaged or gone: restore their earlier versions, see the runbook"
            " of a damaged repository."
        )
    for pattern, kind, mend in _STORE:
        if re.search(pattern, said, re.IGNORECASE):
            return kind(f"{what} {mend}")
    return Unavailable("ResticFailed", f"{what} It is tried again; look at the Job's log.")
