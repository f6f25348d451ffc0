"""kubectl as the cluster's administrator, with failures that say what to do."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devcluster.paths import MANIFESTS
from devcluster.steps import StepFailed


@dataclass(frozen=True)
class Kubectl:
    """Bound to one cluster."""

    program: Path
    kubeconfig: Path

    def ask(self, *arguments: str, stdin: str | None = None) -> str:
        """What it prints; empty where the API server says that there is nothing of the name.

        Raises:
            StepFailed: any other failure. What could not be told must not look like what is not there, or somebody
                would make it anew.
        """
        result = self._run(arguments, stdin)
        if result.returncode != 0 and not _is_not_found(result.stderr):
            raise self._failed(f"kubectl {' '.join(arguments[:4])}", arguments, result.stderr)
        return result.stdout

    def succeeds(self, *arguments: str, stdin: str | None = None) -> bool:
        """Whether it can be done: for what is tried until it can, or where the answer is all that matters."""
        return self._run(arguments, stdin).returncode == 0

    def says(self, *arguments: str) -> str:
        """What it prints, or why it can't: for people, beside a failure of something else."""
        result = self._run(arguments)
        return result.stdout if result.returncode == 0 else result.stderr

    def do(self, name: str, *arguments: str, stdin: str | None = None) -> str:
        """What it prints.

        Raises:
            StepFailed: named ``name``, with kubectl's error.
        """
        result = self._run(arguments, stdin)
        if result.returncode != 0:
            raise self._failed(name, arguments, result.stderr)
        return result.stdout

    def apply(self, manifest: str, namespace: str = "") -> None:
        """Server-side apply of a file or folder of ``dev/manifests``."""
        scope = ["--namespace", namespace] if namespace else []
        self._apply(manifest, [*scope, "--filename", str(MANIFESTS / manifest)])

    def apply_objects(self, name: str, objects: Sequence[dict[str, Any]]) -> None:
        """Server-side apply of manifests made here."""
        document = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self._apply(name, ["--filename", "-"], json.dumps(document))

    def rollout(self, namespace: str, workload: str, seconds: int = 180) -> None:
        """Wait until all replicas of a workload are ready."""
        name = f"Start of {workload}"
        try:
            self.do(name, "-n", namespace, "rollout", "status", workload, f"--timeout={seconds}s")
        except StepFailed as failure:
            events = self.says("-n", namespace, "get", "events", "--sort-by=.lastTimestamp").splitlines()[-8:]
            hint = f"kubectl -n {namespace} describe {workload}; kubectl -n {namespace} logs {workload}"
            raise StepFailed(name, "\n".join([failure.why, *events]), hint) from failure

    def _apply(self, what: str, arguments: list[str], stdin: str | None = None) -> None:
        options = ["apply", "--server-side", "--force-conflicts", "--field-manager=devcluster"]
        self.do(f"Apply {what}", *options, *arguments, stdin=stdin)

    def _failed(self, name: str, arguments: Sequence[str], why: str) -> StepFailed:
        again = " ".join([str(self.program), "--kubeconfig", str(self.kubeconfig), *arguments])
        return StepFailed(name, why.strip(), f"See the message above; the command was: {again}")

    def _run(self, arguments: Sequence[str], stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [str(self.program), "--kubeconfig", str(self.kubeconfig), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, input=stdin)


def _is_not_found(said: str) -> bool:
    """Whether that is all that kubectl complained of."""
    complaints = [line for line in said.splitlines() if line.strip() and not line.startswith("Warning:")]
    return bool(complaints) and all(line.startswith("Error from server (NotFound)") for line in complaints)
