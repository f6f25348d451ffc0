"""One replica of the operator in a process of its own, with a reconciler that a test controls by files.

Run as a module it is that process; imported it starts one.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
PATIENCE = 120.0
"""Seconds after which a condition counts as never coming true; far above what any of them takes."""


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first true value of a condition."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {seconds:.0f} s: {what}")
        time.sleep(0.02)
    return value


class Replica:
    """A running replica: its log lines, its probes, its end."""

    def __init__(self, identity: str, kubeconfig: Path, directory: Path, settings: Mapping[str, str]) -> None:
        self.control = directory / identity
        self.control.mkdir()
        self.lines: list[dict[str, Any]] = []
        environment = {
            "KUBECONFIG": str(kubeconfig),
            "IDENTITY": identity,
            "NAMESPACE": "default",
            "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": "0",
            "LEASE_DURATION": "6",
            "LEASE_RENEW_DEADLINE": "5",
            "LEASE_RETRY_PERIOD": "0.2",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.runtime.replica"],
            cwd=ROOT,
            env={
                **os.environ,
                **{f"ODOO_TENANCY_{name}": value for name, value in {**environment, **settings}.items()},
                "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}",
                "REPLICA_CONTROL": str(self.control),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.lines.append({"event": line.rstrip()})

    def said(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """Its log lines of that event with these fields."""
        wanted = {"event": event, **fields}
        return [line for line in list(self.lines) if wanted.items() <= line.items()]

    def await_line(self, event: str, **fields: Any) -> dict[str, Any]:
        """Its first log line of that event."""

        def look() -> list[dict[str, Any]]:
            found = self.said(event, **fields)
            ended = self._process.poll() is not None
            assert found or not ended, (
                f"ended with {self._process.returncode} before it said {event}: {self.lines[-5:]}"
            )
            return found

        try:
            line: dict[str, Any] = until(look, f"{event} {fields}")[0]
        except AssertionError as error:
            raise AssertionError(f"{error}; it last said {self.lines[-5:]}") from error
        return line

    def probe(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status and body of ``/healthz`` or ``/readyz``."""
        url = f"http://127.0.0.1:{self.await_line('started')['http_port']}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())
        except urllib.error.URLError as error:
            raise AssertionError(f"{path} of a replica that last said {self.lines[-5:]}") from error

    def failing(self, path: str) -> set[str]:
        """The checks that a probe names, or the role that keeps it red; empty when it is green."""
        status, body = self.probe(path)
        names = {check["check"] for check in body["failing"]}
        return set() if status == 200 else names or {body["role"]}

    def order(self, word: str) -> None:
        """``hold``: reconciles wait; ``freeze``: they block the event loop; until it is countermanded."""
        (self.control / word).touch()

    def countermand(self, word: str) -> None:
        (self.control / word).unlink()

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self._process.kill()

    def exit_status(self) -> int:
        """Waits for its end."""
        return self._process.wait(PATIENCE)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()


def _main() -> int:
    from odoo_tenancy.api.meta import Key
    from odoo_tenancy.reconcile.result import Result
    from odoo_tenancy.runtime.__main__ import main
    from odoo_tenancy.runtime.wiring import Context, Wiring

    control = Path(os.environ["REPLICA_CONTROL"])
    kinds = tuple(os.environ.get("REPLICA_KINDS", "OdooTenant,HostingPool").split(","))

    async def reconcile(key: Key) -> Result:
        print(json.dumps({"event": "began", "key": str(key)}), flush=True)
        while (control / "hold").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        while (control / "freeze").exists():
            time.sleep(0.02)  # noqa: ASYNC251 - the mistake that the health server has to see
        return Result(changes=(f"looked at {key}",))

    async def build(_: Context) -> Wiring:
        return Wiring(reconcilers=dict.fromkeys(kinds, reconcile))

    return main(build, kinds)


if __name__ == "__main__":
    sys.exit(_main())
