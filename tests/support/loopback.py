"""Further addresses of this machine, on its own loopback: the pods of a node that is this machine can reach them."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_BACKLOG = 1024
"""Connections that nobody accepts: the kernel shakes hands all the same, which is all that a probe asks."""


@contextmanager
def addresses(*wanted: str) -> Iterator[None]:
    """Have these, and give them back at the end."""
    with ExitStack() as given_back:
        for each in wanted:
            # Not "add", which fails where a run that was killed left it.
            subprocess.run(["ip", "address", "replace", f"{each}/32", "dev", "lo"], check=True)
            given_back.callback(subprocess.run, ["ip", "address", "del", f"{each}/32", "dev", "lo"])
        yield


@contextmanager
def listening(address: str, *ports: int) -> Iterator[None]:
    """Answer at each of these ports of an address of this machine."""
    with ExitStack() as closed, addresses(address):
        for port in ports:
            closed.enter_context(socket.create_server((address, port), backlog=_BACKLOG))
        yield
