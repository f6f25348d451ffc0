"""An S3 server's door at which a Job's steps are counted: what changes something there, and where it is wanted, what reads
packs. Requests and answers pass as they are, signatures too; each in one piece."""

from __future__ import annotations

import re
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

from tests.support.s3 import S3Process
from tests.support.steps import JobDeadError, Steps

_CHANGES = ("PUT", "POST", "DELETE")
_PACK = re.compile(r"/restic/data/[0-9a-f]{2}/[0-9a-f]{64}$")
_OURS = frozenset({"connection", "transfer-encoding", "content-length", "expect"})
"""Headers that are of one connection."""


class S3Steps(ThreadingHTTPServer):
    """Listens with the server's own certificate. ``steps``: of the Job that is at work."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, s3: S3Process) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.s3 = s3
        self.steps: Steps | None = None
        self.count_reads = False
        """Of packs: a restore writes files between them."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(s3.directory / "server.crt", s3.directory / "server.key")
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.trusted = ssl.create_default_context(cafile=str(s3.ca_file))

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def step(self, method: str, target: str) -> str:
        """What is counted of a request; empty: it isn't."""
        url = urlsplit(target)
        if method in _CHANGES or (self.count_reads and method == "GET" and _PACK.search(url.path)):
            words = "".join(f"?{name}" for name, _ in parse_qsl(url.query, keep_blank_values=True))
            return f"{method} {url.path}{words}"
        return ""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever is killed leaves without a word."""
        if not isinstance(sys.exception(), (OSError, JobDeadError)):
            super().handle_error(request, client_address)


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _pass_on(self) -> None:
        server = cast(S3Steps, self.server)
        steps, step = server.steps, server.step(self.command, self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if steps is not None and self.command == "GET" and step in steps.taken:
            step = ""  # another part of that pack: how many there are is restic's affair
        number = steps.before(step) if steps is not None and step else 0
        status, reason, headers, content = self._ask(server, body)
        if steps is not None and number:
            steps.after(number)
        self.send_response_only(status, reason)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on

    def _ask(self, server: S3Steps, body: bytes) -> tuple[int, str, list[tuple[str, str]], bytes]:
        connection = HTTPSConnection("localhost", server.s3.port, context=server.trusted, timeout=60)
        with _closing(connection):
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _OURS:
                    connection.putheader(name, value)
            if body or "Content-Length" in self.headers:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
            headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in _OURS]
            if length is not None and answer.status != 204:
                headers.append(("Content-Length", length))
            return answer.status, answer.reason, headers, content

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextmanager
def _closing(connection: HTTPSConnection) -> Iterator[None]:
    try:
        yield
    finally:
        connection.close()


@contextmanager
def s3_steps(s3: S3Process) -> Iterator[S3Steps]:
    """One that listens."""
    server = S3Steps(s3)
    thread = threading.Thread(target=server.serve_forever, name="s3-steps", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        with suppress(OSError):
            server.shutdown()
        server.server_close()
        thread.join(10)
