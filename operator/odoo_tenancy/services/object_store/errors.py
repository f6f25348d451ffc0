"""What the store and the connection say, as the operator's own errors: each with its reason and its mend, none with a
secret."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions as boto

from odoo_tenancy.api.errors import OperatorError, Refused, Unavailable
from odoo_tenancy.services.object_store.address import BucketAddress

LOOK_AGAIN = 60.0
"""Seconds until another look at what a person mends outside of the spec."""


class StoreUnreachable(Unavailable):
    """No connection, no answer in time, or the service says that it is too busy."""

    def __init__(self, message: str) -> None:
        super().__init__("StoreUnreachable", message)


class StoreCredentialsRejected(Refused):
    """The service doesn't know the key, or its secret is another, or the session has ended."""

    def __init__(self, message: str) -> None:
        super().__init__("StoreCredentialsRejected", message, LOOK_AGAIN)


class StoreAccessDenied(Refused):
    """The key is right and may not do this."""

    def __init__(self, message: str) -> None:
        super().__init__("StoreAccessDenied", message, LOOK_AGAIN)


class StoreCertificateRefused(Refused):
    """The service's certificate isn't signed by our CA, has another host name or has expired; or it has no TLS."""

    def __init__(self, message: str) -> None:
        super().__init__("StoreCertificateRefused", message, LOOK_AGAIN)


class StoreClockSkewed(Refused):
    """The service's clock and ours are so far apart that it takes no signature of ours."""

    def __init__(self, message: str) -> None:
        super().__init__("StoreClockSkewed", message, LOOK_AGAIN)


class BucketMissing(Refused):
    """There is no such bucket."""

    def __init__(self, message: str) -> None:
        super().__init__("BucketMissing", message, LOOK_AGAIN)


class StoreFull(Unavailable):
    """No room, or a quota is reached."""

    def __init__(self, message: str) -> None:
        super().__init__("StoreFull", message)


class ObjectLocked(Refused):
    """A lock is in the way."""

    def __init__(self, message: str) -> None:
        super().__init__("ObjectLocked", message)


class DocumentUnusable(Refused):
    """A document isn't the one that was written, or too large to be one of ours."""

    def __init__(self, message: str) -> None:
        super().__init__("DocumentUnusable", message)


_MISSING_BUCKET = {"NoSuchBucket"}
_MISSING_KEY = {"NoSuchKey", "NoSuchVersion", "NoSuchUpload", "404", "NotFound"}
_WRONG_KEY = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "AuthFailure",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "InvalidToken",
    "InvalidTokenId",
    "ExpiredToken",
    "ExpiredTokenException",
    "NoSuchUser",
}
_DENIED = {"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "AccountProblem", "403", "Forbidden"}
_FULL = {
    "XMinioStorageFull",
    "XMinioAdminBucketQuotaExceeded",
    "QuotaExceeded",
    "InsufficientStorage",
    "InsufficientCapacity",
    "ServiceQuotaExceededException",
    "507",
}
# MinIO says InvalidRequest to what would shorten a lock or remove a locked version, AWS and versitygw say AccessDenied.
_LOCKED = {"ObjectLocked", "InvalidRetentionPeriod"}
_LOCK_MAY_REFUSE = {"PutObjectRetention", "DeleteObject"}
# Of one version that has no lock; and of a bucket that knows none, as AWS and MinIO, versitygw, and others have it.
_WITHOUT_LOCK = {
    "NoSuchObjectLockConfiguration",
    "ObjectLockConfigurationNotFoundError",
    "InvalidRequest",
    "InvalidBucketState",
}
_UNSUPPORTED = {"NotImplemented", "MethodNotAllowed", "XNotImplemented", "501"}

PERMISSIONS = {
    "GetObject": "s3:GetObject and s3:GetObjectVersion",
    "PutObject": "s3:PutObject, and s3:PutObjectRetention where it is locked at once",
    "CopyObject": "s3:GetObjectVersion and s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "ListObjectsV2": "s3:ListBucket",
    "ListObjectVersions": "s3:ListBucketVersions",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "GetObjectRetention": "s3:GetObjectRetention",
    "GetObjectLegalHold": "s3:GetObjectLegalHold",
    "PutObjectRetention": "s3:PutObjectRetention",
    "GetBucketVersioning": "s3:GetBucketVersioning",
    "GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
    "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    # MinIO says so of a wrong key too.
    "AssumeRole": "sts:AssumeRole on the role, and see that key and secret are right",
}
"""What each call of ours needs, in the words of IAM."""


def code_of(error: BaseException) -> str:
    """The service's code for what went wrong, or nothing."""
    if not isinstance(error, boto.ClientError):
        return ""
    said = str(error.response.get("Error", {}).get("Code", ""))
    # A service without STS answers in the words of S3, where botocore looks for those of STS.
    return str(error.response.get("Code", "")) if said in ("", "Unknown") else said


def is_missing_key(error: BaseException) -> bool:
    """Whether the service knows no such object, or it is hidden by a delete marker."""
    return code_of(error) in _MISSING_KEY


def is_without_lock(error: BaseException) -> bool:
    """Whether what was asked for its lock has none, or its bucket can't have any."""
    return code_of(error) in _WITHOUT_LOCK or is_unsupported(error)


def is_unsupported(error: BaseException) -> bool:
    """Whether the service doesn't have what was asked for."""
    return code_of(error) in _UNSUPPORTED


def is_refusal(code: str) -> bool:
    """Whether a version stays by a lock, or for want of a right: stores say either."""
    return code in _DENIED | _LOCKED or code == "InvalidRequest"


def is_of_the_request(error: BaseException) -> bool:
    """Whether the service refuses this one for what it asks, or for its form (some want a checksum of another kind), so
    that another one may do."""
    code = code_of(error)
    if not isinstance(error, boto.ClientError) or code in _MISSING_BUCKET | _WRONG_KEY:
        return False
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return code in _DENIED or is_unsupported(error) or status in (400, 405, 411, 501)


def of_store(address: BucketAddress, doing: str, error: BaseException) -> OperatorError:
    """Why something failed. ``doing`` names it, such as ``put eu/3f…/manifests/acme-x7k2p.json``."""
    if isinstance(error, boto.ClientError):
        return _answered(address, doing, error)
    where = f"Bucket {address}, {doing}"
    if _certificate(error):
        return StoreCertificateRefused(
            f"The certificate of {address.endpoint} was refused ({_one_line(error)}). The Secret of caSecretRef must"
            " hold the CA that signed it, the endpoint's host must be a name in it, and the service must speak TLS"
            " on this port."
        )
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        return StoreCredentialsRejected(
            f"{where}: there are no credentials. The Secret of credentialsSecretRef must have access-key-id and"
            " secret-access-key."
        )
    return StoreUnreachable(
        f"{where}: no answer ({_one_line(error)}). Check endpoint and port, that the service runs and isn't"
        " overloaded, and the NetworkPolicies in between (store.s3.peers opens the way)."
    )


def _answered(address: BucketAddress, doing: str, error: boto.ClientError) -> OperatorError:
    code, status = code_of(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    where, said = f"Bucket {address}, {doing}", f"the store says {code or status}"
    if code in _MISSING_BUCKET:
        return BucketMissing(
            f"There is no bucket {address}. Make it, or correct endpoint, region and bucket; if it was deleted, what"
            " was in it is gone."
        )
    if code in _WRONG_KEY:
        return StoreCredentialsRejected(
            f"{where}: {said}: the store rejects the key {address.credentials.access_key_id}. Correct access-key-id"
            " and secret-access-key in the Secret, or make the key valid again."
        )
    if code == "RequestTimeTooSkewed":
        return StoreClockSkewed(
            f"{where}: {said}: its clock and this one are too far apart. Set the clock that is wrong (NTP)."
        )
    if code in _LOCKED or (code == "InvalidRequest" and error.operation_name in _LOCK_MAY_REFUSE):
        return ObjectLocked(f"{where}: {said}: a lock is in the way, which only time can lift.")
    if code in _DENIED or (status == 403 and not code):
        needed = PERMISSIONS.get(error.operation_name, error.operation_name)
        return StoreAccessDenied(
            f"{where}: {said}: the key {address.credentials.access_key_id} may not do this. Grant it {needed}, for"
            " this bucket and prefix."
        )
    # MinIO says so where its disk is fuller than it knew.
    no_space = "no space left" in str(error.response.get("Error", {}).get("Message", ""))
    if code in _FULL or status == 507 or no_space:
        return StoreFull(f"{where}: {said}: there is no room. Make room in the store, or raise its quota.")
    if status >= 500 or status == 429 or code in ("SlowDown", "Throttling", "RequestTimeout"):
        return StoreUnreachable(
            f"{where}: {said}. It is tried again; see the store's own log if that goes on."
        )
    # The service's words may repeat what it was sent: its code says enough.
    return Unavailable("StoreError", f"{where}: {said}. See the store's own log.")


@contextmanager
def translated(address: BucketAddress, doing: str) -> Iterator[None]:
    """Raise botocore's and the socket's errors as ours."""
    try:
        yield
    except (boto.BotoCoreError, boto.ClientError, OSError) as error:
        raise of_store(address, doing, error) from error


def _certificate(error: BaseException | None) -> bool:
    """Somewhere in the chain: botocore wraps urllib3's errors, and those wrap the socket's."""
    while error is not None:
        if isinstance(error, boto.SSLError | ssl.SSLCertVerificationError | ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")[:300] or type(error).__name__
