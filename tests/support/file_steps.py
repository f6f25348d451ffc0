"""What a Job does to the names in a folder, counted: it asks before each and tells after it, and may be dead by then.

``announce`` is called in the Job's process, before its module runs; ``FileSteps`` answers in the test."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any, cast

from tests.support.steps import JobDeadError, Steps

PORT, FOLDER = "FILE_STEPS_PORT", "FILE_STEPS_FOLDER"
"""Variables of the Job's environment."""
_NAMES = ("mkdir", "remove", "rename", "replace", "rmdir", "unlink")


def announce(port: int, folder: Path) -> None:
    """From now on, of this process. What restic does in the folder is its own."""
    assert (
        shutil.rmtree.avoids_symlink_attacks
    )  # looks at the functions that are replaced here, once, before they are
    for name in _NAMES:
        setattr(os, name, _announced(name, getattr(os, name), port, folder))


def _announced(name: str, do: Callable[..., None], port: int, folder: Path) -> Callable[..., None]:
    @wraps(do)
    def announced(path: Any, *others: Any, **options: Any) -> None:
        at = options.get("dir_fd")
        beginning = os.readlink(f"/proc/self/fd/{at}") if at is not None else ""
        where = os.path.join(beginning, os.fspath(path))
        counts = where.startswith(f"{folder}/")
        number = _told(port, f"{name} {where[len(str(folder)) + 1 :]}") if counts else 0
        do(path, *others, **options)
        if counts:
            _told(port, number)

    return announced


def _told(port: int, what: str | int) -> int:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{json.dumps(what)}\n".encode())
        return int(connection.makefile().readline())


class FileSteps(ThreadingTCPServer):
    """Listens. ``steps``: of the Job that is at work."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Asked)
        self.steps: Steps | None = None

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Asked(StreamRequestHandler):
    def handle(self) -> None:
        steps, what, number = cast(FileSteps, self.server).steps, json.loads(self.rfile.readline()), 0
        with suppress(JobDeadError, OSError):  # nobody reads the answer
            if steps is not None and isinstance(what, int):
                steps.after(what)
            elif steps is not None:
                number = steps.before(what)
            self.wfile.write(f"{number}\n".encode())


@contextmanager
def file_steps() -> Iterator[FileSteps]:
    """One that listens."""
    server = FileSteps()
    thread = threading.Thread(target=server.serve_forever, name="file-steps", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
