"""Sessions for Jobs: credentials that end by themselves and are bound to what is one tenant's.

A session may do what the role may *and* what its own policy says. The policy's words are those of S3's IAM, which MinIO
reads too; ``s3:prefix`` is the prefix that a list asks for, and GetBucketLocation has none, so it is allowed without.
(https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from botocore.exceptions import ParamValidationError

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.verify_work import proven_key
from odoo_tenancy.services.object_store import errors
from odoo_tenancy.services.object_store.address import BucketAddress, Credentials
from odoo_tenancy.services.object_store.connection import Connection

Purpose = Literal["Backup", "Verify", "Read"]

SHORTEST = timedelta(minutes=15)
"""What STS gives at least."""
_LOCKS = "restic/locks"
LONGEST_POLICY = 2048
"""Characters that STS takes (https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html): enough for the
longest bucket and prefix that a policy may name."""


def session_policy(bucket: str, tenant_prefix: str, purpose: Purpose) -> str:
    """What a Job may do, as JSON.

    ``Read``: read and list what is the tenant's. ``Verify``: and write the one document, beside all tenants' prefixes, of
    what was proven of it. ``Backup``: read and list, write there too, and take away restic's own locks, without
    which no backup would ever end; nothing else is removed, and nothing is locked or unlocked.

    Args:
        tenant_prefix: ``<prefix>/<claim>``, without a slash at either end.

    Raises:
        ValueError: it holds what IAM would read as a pattern, or nothing.
    """
    if not tenant_prefix.strip("/") or any(character in tenant_prefix for character in "*?$"):
        raise ValueError(f"{tenant_prefix!r} can't bind a session")
    whole, below = f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/{tenant_prefix}"
    own = ["s3:GetObject"]
    if purpose == "Backup":
        own += ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    within = {"StringLike": {"s3:prefix": [f"{tenant_prefix}/*"]}}
    statements = [
        _allow(["s3:GetBucketLocation"], whole),
        {**_allow(["s3:ListBucket"], whole), "Condition": within},
        _allow(own, f"{below}/*"),
    ]
    if purpose == "Verify":
        ledger = f"arn:aws:s3:::{bucket}/{proven_key(*_parts(tenant_prefix))}"
        statements.append(_allow(["s3:GetObject", "s3:PutObject"], ledger))
    if purpose == "Backup":
        statements.append(_allow(["s3:DeleteObject"], f"{below}/{_LOCKS}/*"))
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))


def _parts(tenant_prefix: str) -> tuple[str, str]:
    """Prefix and claim."""
    prefix, _, claim = tenant_prefix.rpartition("/")
    return prefix, claim


def _allow(actions: list[str], resource: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": [resource]}


class SessionRefused(Refused):
    """There is no such role, or it may not be assumed for so long."""

    def __init__(self, message: str) -> None:
        super().__init__("StoreSessionRefused", message, errors.LOOK_AGAIN)


async def assume_role(
    address: BucketAddress,
    role_arn: str,
    tenant_prefix: str,
    purpose: Purpose,
    duration: timedelta,
    name: str,
) -> Credentials:
    """Credentials bound by :func:`session_policy`, good for ``duration`` (15 minutes at least).

    Args:
        address: the bucket, and who assumes the role.
        name: of the session, for the store's log: 2 to 64 letters, digits and ``-``.

    Raises:
        SessionRefused: and the errors of ``errors.py``.
    """
    seconds = int(max(duration, SHORTEST).total_seconds())
    connection = Connection(address, "sts", sts_endpoint(address))
    policy = session_policy(address.bucket, tenant_prefix, purpose)
    try:
        with errors.translated(address, f"assume {role_arn}"):
            answer = await connection.call(lambda sts: _assume(sts, address, role_arn, name, policy, seconds))
    finally:
        connection.close()
    return _credentials(answer["Credentials"])


def _assume(
    sts: Any, address: BucketAddress, role_arn: str, name: str, policy: str, seconds: int
) -> Mapping[str, Any]:
    try:
        answer: Mapping[str, Any] = sts.assume_role(
            RoleArn=role_arn, RoleSessionName=name, Policy=policy, DurationSeconds=seconds
        )
    except ParamValidationError as error:
        raise SessionRefused(
            f"The role {role_arn} of bucket {address} isn't one ({' '.join(str(error).split())}). Correct roleArn;"
            " where the store gives sessions without roles, as MinIO does, arn:aws:iam::000000000000:role/any will do."
        ) from error
    except Exception as error:
        if errors.code_of(error) in ("ValidationError", "InvalidParameterValue", "MalformedPolicyDocument"):
            raise SessionRefused(
                f"The store of bucket {address} gives no session of {seconds} s for the role {role_arn} (it says"
                f" {errors.code_of(error)}). Correct roleArn; the role's longest session must be as long as"
                " the policy's timeout, and some."
            ) from error
        if errors.is_unsupported(error):
            raise SessionRefused(
                f"The store of bucket {address} has no AssumeRole. Set access to Static or PerTenantSecret."
            ) from error
        raise
    return answer


def sts_endpoint(address: BucketAddress) -> str:
    """AWS has a host for it in each region; other services answer where their buckets are."""
    host = urlsplit(address.endpoint).hostname or ""
    for domain in ("amazonaws.com", "amazonaws.com.cn"):
        if host.endswith(f".{domain}"):
            return f"https://sts.{address.region}.{domain}"
    return address.endpoint


def _credentials(said: Mapping[str, Any]) -> Credentials:
    expires: datetime = said["Expiration"]
    return Credentials(
        said["AccessKeyId"], said["SecretAccessKey"], said["SessionToken"], expires.astimezone(UTC)
    )
