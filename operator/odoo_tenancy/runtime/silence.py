"""For how long each watch has said nothing. A watch that is connected and dead looks exactly like a quiet
one, but for the bookmark that the API server sends about once a minute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import aiohttp


@dataclass
class _Stream:
    response: aiohttp.ClientResponse
    received: int


class Silences:
    """The last sign of each watch. Belongs to the event loop."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._last: dict[str, float] = {}
        self._denied: set[str] = set()
        self._streams: dict[str, _Stream] = {}

    def expect(self, name: str) -> None:
        """This watch should be there from now on; until its first sign it counts as silent."""
        self._last.setdefault(name, self._now())

    def heard(self, name: str) -> None:
        """It gave a sign."""
        self._denied.discard(name)
        self._last[name] = self._now()

    def deny(self, name: str) -> None:
        """The API server answers, and refuses: not a dead watch, but one that we have no right to."""
        self.forget(name)
        self._denied.add(name)

    @property
    def denied(self) -> tuple[str, ...]:
        """The watches that we have no right to."""
        return tuple(sorted(self._denied))

    def forget(self, name: str) -> None:
        """It is not there, and need not be."""
        self._last.pop(name, None)
        self._streams.pop(name, None)

    def seconds(self) -> tuple[tuple[str, float], ...]:
        """Each watch and its silence. To be called often: a stream's sign counts from the call that finds
        it."""
        for name, stream in self._streams.items():
            received = stream.response.content.total_bytes
            if received != stream.received:
                stream.received = received
                self.heard(name)
        now = self._now()
        return tuple((name, now - last) for name, last in sorted(self._last.items()))

    def trace(self) -> aiohttp.TraceConfig:
        """Listens to the watches of a session that somebody else reads: Kopf passes no bookmarks on."""
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._answered)
        return trace

    async def _answered(
        self, _: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestEndParams
    ) -> None:
        name = stream_name(params.url.path)
        if params.response.status != 200 or name not in self._last:
            return
        self.heard(name)
        if params.url.query.get("watch") == "true":
            self._streams[name] = _Stream(params.response, params.response.content.total_bytes)


def stream_name(path: str) -> str:
    """How a watch of that path is called: the resource, and its namespace where it has only one."""
    *rest, plural = path.split("/")
    return f"{plural}@{rest[-1]}" if rest[-2:-1] == ["namespaces"] else plural
