"""boto3's client, in threads of its own.

A client of S3 costs some megabytes and tens of milliseconds of processor time, so that one stays with its bucket. The
event loop's own threads look up names for the whole operator: a store that hangs must not take them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import NoCredentialsError

from odoo_tenancy.services.object_store.address import BucketAddress

T = TypeVar("T")

CONNECT_TIMEOUT = 5
READ_TIMEOUT = 30
"""Seconds, each."""
ATTEMPTS = 3
"""Of every request, where the error is one that may pass."""
THREADS = 4
"""Requests at once to one bucket."""

_IMAGE_CA_FILE = Path("/etc/ssl/certs/ca-certificates.crt")
"""Debian's."""
_making = Lock()


class Connection:
    """One client and its threads. Concurrent calls are fine."""

    def __init__(self, address: BucketAddress, service: str, endpoint: str | None = None) -> None:
        self.address = address
        self._service, self._endpoint = service, endpoint
        self._client: Any = None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=f"store-{address.bucket}")

    async def call(self, work: Callable[[Any], T]) -> T:
        """What ``work`` makes of the client, in a thread. Cancelled, the thread still ends its request."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(self._made()))

    def close(self) -> None:
        """End idle connections and threads; what is under way ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.close()

    def _made(self) -> Any:
        # Making a client isn't safe in threads, using it is.
        with _making:
            if self._client is None:
                self._client = new_client(self.address, self._service, self._endpoint)
            return self._client


def new_client(address: BucketAddress, service: str, endpoint: str | None = None) -> Any:
    """boto3's client. Nothing of it comes from the environment but proxies: neither keys nor region nor files."""
    credentials = address.credentials
    if not (credentials.access_key_id and credentials.secret_access_key):
        raise NoCredentialsError
    return boto3.session.Session().client(
        service,
        endpoint_url=endpoint or address.endpoint,
        region_name=address.region,
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
        aws_session_token=credentials.session_token or None,
        verify=_image_authorities() if address.ca_pem is None else _ca_file(address.ca_pem),
        config=Config(
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            max_pool_connections=THREADS,
            # Certificates of stores of one's own seldom name each bucket's host.
            s3={"addressing_style": "path"},
            # Many stores know nothing of the checksums that boto3 has sent by default since 1.36.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            user_agent_extra="odoo-tenancy",
        ),
    )


def _image_authorities() -> str | bool:
    """botocore would bring a list of its own, which nobody can add to."""
    return str(_IMAGE_CA_FILE) if _IMAGE_CA_FILE.exists() else True


@cache
def _ca_file(pem: str) -> str:
    """botocore wants a path: of memory, as the operator's root is read-only. There are as many as there are CAs."""
    descriptor = os.memfd_create("store-ca", os.MFD_CLOEXEC)
    os.write(descriptor, pem.encode())
    return f"/proc/self/fd/{descriptor}"
