"""Two real S3 servers for all tests; every test has a prefix of its own."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.restic import environment
from tests.support.s3 import LOCKED, PLAIN, REGION, Login, S3Process, running_minio, running_s3
from tests.support.writes import Writes

from odoo_tenancy.api.observe import WriteHook
from odoo_tenancy.services.object_store import Bucket, BucketAddress, Credentials

MakeBucket = Callable[..., Bucket]


def restic(server: S3Process, who: Login, path: str, *words: str, folder: Path) -> str:
    """restic itself, as somebody.

    Raises:
        AssertionError: it failed.
    """
    repository = f"s3:{server.endpoint}/{LOCKED}/{path}"
    command = ["restic", "--repo", repository, "--cacert", str(server.ca_file), "--no-cache", *words]
    told = environment(RESTIC_PASSWORD="the tenant's", AWS_DEFAULT_REGION="us-east-1", **who.environment)
    done = subprocess.run(command, env=told, capture_output=True, text=True, cwd=folder, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{words}: {done.stderr[-2000:]}")
    return done.stdout


async def moment_between(bucket: Bucket) -> datetime:
    """A moment of the store's clock: all that was written lies before it, all that will be after.

    versitygw's ``Date`` is up to a second late, and more on a busy machine: two seconds pass on either side.
    """
    moment = await _after(bucket, (await bucket.clock()).store)
    await _after(bucket, moment)
    return moment


async def _after(bucket: Bucket, moment: datetime) -> datetime:
    while (now := (await bucket.clock()).store) < moment + timedelta(seconds=2):  # noqa: ASYNC110 - it has no event
        await asyncio.sleep(0.05)
    return now


@pytest.fixture(scope="session")
def versitygw() -> Iterator[S3Process]:
    with running_s3() as server:
        yield server


@pytest.fixture(scope="session")
def minio() -> Iterator[S3Process]:
    with running_minio() as server:
        yield server


@pytest.fixture(params=["versitygw", "minio"])
def server(request: pytest.FixtureRequest) -> S3Process:
    """Each of them."""
    server: S3Process = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def prefix() -> str:
    """Where a test may write, in either bucket."""
    return f"t{secrets.token_hex(6)}"


@pytest.fixture
def writes() -> Writes:
    return Writes()


@pytest.fixture
def make_bucket() -> Iterator[MakeBucket]:
    """The bucket of a server, as the operator has it; closed afterwards."""
    made: list[Bucket] = []

    def make(
        server: S3Process,
        name: str = LOCKED,
        login: Login | None = None,
        hook: WriteHook | None = None,
        **fields: Any,
    ) -> Bucket:
        who = login or server.root
        now = {"now": fields.pop("now")} if "now" in fields else {}
        credentials = Credentials(who.access_key_id, who.secret_access_key, who.session_token)
        values: dict[str, Any] = {
            "endpoint": server.endpoint, "region": REGION, "bucket": name, "credentials": credentials,
            "ca_pem": server.ca_pem, **fields,
        }  # fmt: skip
        made.append(Bucket(BucketAddress(**values), hook, **now))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def bucket(server: S3Process, make_bucket: MakeBucket, writes: Writes) -> Bucket:
    """With versions and Object Lock."""
    return make_bucket(server, LOCKED, hook=writes)


@pytest.fixture
def plain(server: S3Process, make_bucket: MakeBucket) -> Bucket:
    """With neither."""
    return make_bucket(server, PLAIN)


@pytest.fixture
def root(server: S3Process) -> Any:
    """boto3's own client, by which tests look and tamper."""
    return server.client()
