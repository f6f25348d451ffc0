"""A TCP proxy that can swallow everything without a word, as a firewall that forgot a connection does."""

from __future__ import annotations

import contextlib
import socket
import threading


class Proxy:
    """Listens on loopback and forwards; while ``silent`` it accepts and keeps what it gets to itself."""

    def __init__(self, port: int, listen: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(listen)
        self.port: int = self._listener.getsockname()[1]
        self._flowing = threading.Event()
        self._flowing.set()
        self._sockets: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def silence(self) -> None:
        """From now on nothing passes."""
        self._flowing.clear()

    def flow(self) -> None:
        """What was swallowed stays so: its connections are closed, new ones work."""
        for each in self._sockets[1:]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._flowing.set()

    def close(self) -> None:
        self.flow()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

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
            while data := source.recv(65536):
                self._flowing.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
