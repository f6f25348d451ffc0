"""A TCP proxy before a real server, that makes it slow, or swallows everything without a word, as a firewall that forgot a
connection does. It adds nothing: TLS goes through it, to a name in the server's own certificate."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

_CHUNK = 16 * 1024


class Proxy:
    """Listens and forwards.

    Args:
        port: of the server, on loopback.
        listen: where; by default on a free port of loopback.
    """

    def __init__(self, port: int, listen: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(listen)
        self.port: int = self._listener.getsockname()[1]
        self._rate = 0.0
        self._flowing = threading.Event()
        self._flowing.set()
        self._sockets: list[socket.socket] = []
        self._turn = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def slow(self, bytes_per_second: float) -> None:
        """From now on, all connections and both directions together."""
        self._rate = bytes_per_second

    def silence(self) -> None:
        """From now on it accepts, and nothing passes."""
        self._flowing.clear()

    def flow(self) -> None:
        """From now on it holds nothing up. What it held is lost, and its connections with it."""
        held, self._sockets = self._sockets, []
        _cut(held)
        self._rate = 0.0
        self._flowing.set()

    def close(self) -> None:
        _cut([self._listener])
        self.flow()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(self._target)
                except OSError:  # who is down can't be reached through this either
                    client.close()
                    continue
                self._sockets += [client, server]
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                self._wait(len(data))
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def _wait(self, count: int) -> None:
        """For as long as so many bytes take. One at a time: a rate is that of the line, however many share it."""
        self._flowing.wait()
        if not self._rate:
            return
        with self._turn:
            if rate := self._rate:
                time.sleep(count / rate)


def _cut(sockets: list[socket.socket]) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
