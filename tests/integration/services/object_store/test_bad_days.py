"""What happens when the store doesn't do what it should: which error, with which mend, and nothing secret in it."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.integration.services.object_store.conftest import MakeBucket
from tests.support.proxy import Proxy
from tests.support.s3 import LOCKED, PLAIN, Login, S3Process, running_minio, running_s3

from devcluster import pki
from odoo_tenancy.api.errors import OperatorError, Unavailable
from odoo_tenancy.services.object_store import (
    Bucket,
    BucketMissing,
    StoreAccessDenied,
    StoreCertificateRefused,
    StoreClockSkewed,
    StoreCredentialsRejected,
    StoreFull,
    StoreUnreachable,
    connection,
)

MIB = 2**20


async def failure(bucket: Bucket) -> OperatorError:
    """What a write fails with."""
    with pytest.raises(OperatorError) as caught:
        await bucket.put_document("eu/a.json", b"{}")
    error: OperatorError = caught.value
    if secret := bucket.address.credentials.secret_access_key:
        assert secret not in f"{error!r}{error.__cause__!r}{bucket.address!r}"
    return error


async def test_a_server_that_is_not_there(server: S3Process, make_bucket: MakeBucket) -> None:
    with running_s3() as gone:
        bucket = make_bucket(gone)
    error = await failure(bucket)
    assert isinstance(error, StoreUnreachable)
    assert "store.s3.peers" in error.message


async def test_a_server_that_hangs_does_not_stop_the_operator(
    server: S3Process, make_bucket: MakeBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "READ_TIMEOUT", 1)
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 1)
    bucket = make_bucket(server)
    turns = 0
    with server.frozen():
        asked = [asyncio.create_task(failure(bucket)) for _ in range(2 * connection.THREADS)]
        while not any(task.done() for task in asked):
            await asyncio.sleep(0.01)
            # The loop's own threads, which look up names, are free.
            await asyncio.to_thread(int)
            turns += 1
        errors = await asyncio.gather(*asked)
    assert turns > 10
    assert {type(error) for error in errors} == {StoreUnreachable}
    await bucket.clock()


async def test_a_wrong_secret_and_an_unknown_key(server: S3Process, make_bucket: MakeBucket) -> None:
    wrong = Login(server.root.access_key_id, secrets.token_hex(20))
    for login in (wrong, Login(), Login(server.root.access_key_id, "")):
        error = await failure(make_bucket(server, login=login))
        assert isinstance(error, StoreCredentialsRejected), error
        assert error.retry_after == 60


async def test_a_bucket_that_is_gone(server: S3Process, make_bucket: MakeBucket) -> None:
    bucket = make_bucket(server, "never-made")
    assert isinstance(await failure(bucket), BucketMissing)
    for read in (bucket.get_document("a"), bucket.clock(), bucket.protection(), bucket.folders("")):
        with pytest.raises(BucketMissing):
            await read


async def test_a_certificate_of_somebody_else(
    server: S3Process, make_bucket: MakeBucket, tmp_path: Path
) -> None:
    other = pki.authority(tmp_path, "other").crt.read_text()
    assert isinstance(await failure(make_bucket(server, ca_pem=other)), StoreCertificateRefused)
    assert isinstance(await failure(make_bucket(server, ca_pem=None)), StoreCertificateRefused)


async def test_a_certificate_for_another_name(server: S3Process, make_bucket: MakeBucket) -> None:
    """Its own CA signed it, for localhost and 127.0.0.1."""
    elsewhere = Proxy(server.port, listen=("127.0.0.2", 0))
    try:
        error = await failure(make_bucket(server, endpoint=f"https://127.0.0.2:{elsewhere.port}"))
    finally:
        elsewhere.close()
    assert isinstance(error, StoreCertificateRefused), error
    assert "must be a name in it" in error.message


async def test_a_service_without_tls(server: S3Process, make_bucket: MakeBucket) -> None:
    """The other way round: to speak plainly to a port with TLS."""
    bucket = make_bucket(server, endpoint=server.endpoint.replace("https", "http"))
    error = await failure(bucket)
    assert error.reason in ("StoreUnreachable", "StoreError")


async def test_a_key_without_rights(versitygw: S3Process, make_bucket: MakeBucket) -> None:
    bucket = make_bucket(versitygw, PLAIN, login=versitygw.writer)
    error = await failure(bucket)
    assert isinstance(error, StoreAccessDenied)
    assert "s3:PutObject" in error.message
    with pytest.raises(StoreAccessDenied, match="s3:ListBucket"):
        await bucket.clock()
    with pytest.raises(StoreAccessDenied, match="s3:GetObject"):
        await bucket.get_document("a")


async def test_a_session_that_has_ended(minio: S3Process, make_bucket: MakeBucket) -> None:
    """Or never was: the token is somebody else's."""
    login = Login(minio.root.access_key_id, minio.root.secret_access_key, session_token="eyJ0.none.at-all")
    assert isinstance(await failure(make_bucket(minio, login=login)), StoreCredentialsRejected)


async def test_a_clock_far_behind(
    server: S3Process, make_bucket: MakeBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours is: botocore signs with it, and the server refuses."""
    monkeypatch.setattr(
        "botocore.auth.get_current_datetime",
        lambda remove_tzinfo=True: datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=2),
    )
    assert isinstance(await failure(make_bucket(server)), StoreClockSkewed)


@pytest.mark.skipif("os.geteuid() != 0", reason="mounts a small disk")
async def test_a_disk_that_is_full(make_bucket: MakeBucket) -> None:
    with running_minio(disk_mib=160) as server:
        bucket = make_bucket(server, PLAIN)
        block = secrets.token_bytes(16 * MIB)
        with pytest.raises(StoreFull, match="Make room"):  # noqa: PT012 - at which of them is the disk's business
            for n in range(40):
                try:
                    await bucket.put_document(f"{n}", block)
                except Unavailable as error:
                    # MinIO's words where a write was cut by a disk that it thought had room; at the next it knows.
                    if "IncompleteBody" not in error.message:
                        raise
        await bucket.clock()
        assert await bucket.get_document("0") is not None


async def test_a_server_that_comes_back(make_bucket: MakeBucket) -> None:
    with running_s3() as server:
        bucket = make_bucket(server)
        await bucket.put_document("a", b"1")
        server.restart()
        found: Any = await bucket.get_document("a")
        assert found.content == b"1"
    assert bucket.name == LOCKED
