"""The API server as watches and the Lease need it: a session whose requests never wait behind those of a
reconcile."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Protocol

import aiohttp
from kubernetes.aio.client import ApiClient

_LINE = 4 * 2**20
"""The longest event of a watch, in bytes: etcd refuses objects above 1.5 MiB, and JSON escapes some
characters."""


class Credentials(Protocol):
    """Gives the value of the Authorization header, fresh each time: a ServiceAccount's token rotates."""

    async def get_api_key_with_prefix(self, identifier: str, alias: str | None = None) -> str | None: ...


@dataclass(frozen=True)
class Connection:
    """How to reach the API server."""

    server: str
    tls: ssl.SSLContext
    credentials: Credentials
    traces: tuple[aiohttp.TraceConfig, ...] = ()

    def session(self, *more: aiohttp.TraceConfig) -> aiohttp.ClientSession:
        """A session for paths below the server's address; whoever opens it closes it."""
        login = aiohttp.TraceConfig()
        login.on_request_start.append(self._authorize)
        return aiohttp.ClientSession(
            base_url=self.server,
            connector=aiohttp.TCPConnector(ssl=self.tls, limit=0),
            trace_configs=[login, *self.traces, *more],
            read_bufsize=_LINE // 2,  # aiohttp reads lines up to twice as long
        )

    async def _authorize(
        self, _: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestStartParams
    ) -> None:
        header = await self.credentials.get_api_key_with_prefix("BearerToken", alias="authorization")
        if header:
            params.headers["Authorization"] = header


def connection(client: ApiClient, *traces: aiohttp.TraceConfig) -> Connection:
    """The same server, certificates and credentials as the Kubernetes client uses."""
    return Connection(client.configuration.host, client.rest_client.ssl_context, client.configuration, traces)
