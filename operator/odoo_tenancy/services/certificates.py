"""Certificates for servers of a tenant's own, made with the program ``openssl`` (3.0 or later).

Python's standard library has no signatures, and the operator's image has openssl anyway. Keys go to it and come from it
through memory: never through a file, an argument or the environment.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from odoo_tenancy.api.errors import Unavailable

PROGRAM = "openssl"
_SECONDS = 30
"""For one call, which takes some milliseconds."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


async def authority(name: str, days: int) -> Pair:
    """A new authority with that common name."""
    key = await _key()
    with ExitStack() as files:
        given = files.enter_context(_in_memory(key))
        certificate = await _openssl(
            "req", "-x509", "-new", "-key", given.path, "-days", str(days), "-subj", f"/CN={name}",
            "-addext", "basicConstraints=critical,CA:TRUE,pathlen:0",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            files=(given,),
        )  # fmt: skip
    return Pair(certificate, key)


async def issue(signer: Pair, host: str, days: int) -> Pair:
    """A server's certificate for that host name and for ``localhost``, where its own probe asks.

    Raises:
        Unavailable: ``CertificateNotMade``: there is no openssl, or it doesn't want to.
    """
    key = await _key()
    with ExitStack() as stack:
        own, ca, ca_key = (
            stack.enter_context(_in_memory(pem)) for pem in (key, signer.certificate, signer.key)
        )
        certificate = await _openssl(
            "req", "-x509", "-new", "-key", own.path, "-CA", ca.path, "-CAkey", ca_key.path, "-days", str(days),
            # A common name has at most 64 characters; who checks looks at the names below.
            "-subj", "/CN=server",
            "-addext", "basicConstraints=critical,CA:FALSE",
            "-addext", "keyUsage=critical,digitalSignature",
            "-addext", "extendedKeyUsage=serverAuth",
            "-addext", f"subjectAltName=DNS:{host},DNS:localhost",
            files=(own, ca, ca_key),
        )  # fmt: skip
    return Pair(certificate, key)


@dataclass(frozen=True, slots=True)
class _InMemory:
    descriptor: int

    @property
    def path(self) -> str:
        return f"/dev/fd/{self.descriptor}"


@contextmanager
def _in_memory(content: bytes) -> Iterator[_InMemory]:
    """A file that only this process, and who is started with its descriptor, can open."""
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield _InMemory(descriptor)
    finally:
        os.close(descriptor)


async def _key() -> bytes:
    return await _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1")


async def _openssl(*words: str, files: tuple[_InMemory, ...] = ()) -> bytes:
    for each in files:
        os.lseek(each.descriptor, 0, os.SEEK_SET)
    try:
        process = await asyncio.create_subprocess_exec(
            PROGRAM, *words,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            pass_fds=[each.descriptor for each in files],
        )  # fmt: skip
    except OSError as error:
        raise _not_made(f"{PROGRAM} can't be started ({error.strerror})") from error
    try:
        async with asyncio.timeout(_SECONDS):
            out, said = await process.communicate()
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise _not_made(f"{PROGRAM} {words[0]} took more than {_SECONDS} s") from error
    if process.returncode != 0:
        raise _not_made(f"{PROGRAM} {words[0]}: {said.decode(errors='replace').strip()[-500:]}")
    return out


def _not_made(why: str) -> Unavailable:
    return Unavailable(
        "CertificateNotMade",
        f"A certificate could not be made: {why}. The operator's image has openssl 3; tried again.",
    )
