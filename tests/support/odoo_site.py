"""An Odoo as a browser sees it: through Traefik, over HTTPS, with cookies and the form's token."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

HERE = ("127.0.0.1", 0)
"""This machine, at the port that the URL says."""


class OneAddress(AbstractResolver):
    """Every name is one address: ``*.localhost`` isn't known to every resolver.

    Args:
        to: address and port; port 0: the URL's.
    """

    def __init__(self, to: tuple[str, int]) -> None:
        self._host, self._port = to

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=self._host,
                port=self._port or port,
                family=socket.AF_INET,
                proto=0,
                flags=0,
            )
        ]

    async def close(self) -> None:
        return None


@dataclass
class OdooSite:
    """One browser at one site. The certificate is Traefik's own, which nobody signed: it isn't checked."""

    session: aiohttp.ClientSession
    url: str

    async def log_in(self, login: str, password: str) -> bool:
        """Fill in the login form. Whether Odoo let us in."""
        async with self.session.get(f"{self.url}/web/login") as page:
            text = await page.text()
        found = re.search(r'name="csrf_token"\s+value="([^"]+)"', text)
        assert found, f"no login form at {self.url}/web/login (HTTP {page.status}): {text[:500]}"
        form = {"login": login, "password": password, "csrf_token": found[1]}
        async with self.session.post(f"{self.url}/web/login", data=form, allow_redirects=False) as answer:
            return answer.status == 303

    async def call(self, model: str, method: str, *args: Any, **kwargs: Any) -> Any:
        """A model's method over JSON-RPC, as the web client calls it."""
        params = {"model": model, "method": method, "args": args, "kwargs": kwargs}
        body = {"jsonrpc": "2.0", "method": "call", "params": params}
        url = f"{self.url}/web/dataset/call_kw/{model}/{method}"
        async with self.session.post(url, json=body) as answer:
            text = await answer.text()
        assert answer.status == 200, f"HTTP {answer.status}: {text[:300]}"
        result = json.loads(text)
        assert "error" not in result, result["error"]
        return result["result"]

    async def status(self, path: str, **kwargs: Any) -> int:
        """The HTTP status of a GET, without following redirects."""
        async with self.session.get(f"{self.url}{path}", allow_redirects=False, **kwargs) as answer:
            return answer.status

    @asynccontextmanager
    async def websocket(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Odoo's bus."""
        url = f"{self.url}/websocket?version=19.0-2"
        async with self.session.ws_connect(url, headers={"Origin": self.url}) as connected:
            yield connected


@asynccontextmanager
async def browse(url: str, to: tuple[str, int] = HERE, source: str = "") -> AsyncIterator[OdooSite]:
    """A fresh browser.

    Args:
        url: the site's.
        to: address and port at which Traefik is asked, whatever the URL says.
        source: an address of this machine that the connections come from; default: the kernel chooses.
    """
    local = (source, 0) if source else None
    connector = aiohttp.TCPConnector(resolver=OneAddress(to), ssl=False, local_addr=local)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield OdooSite(session, url)
