"""The Go programs of the cluster, built from ``dev/tools/<module>/go.mod`` and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from devcluster.locks import locked
from devcluster.paths import CACHE, DEV
from devcluster.steps import StepFailed, run, step


@dataclass(frozen=True)
class GoModule:
    """A folder under ``dev/tools`` and what its ``tool`` lines give."""

    name: str
    programs: tuple[str, ...]
    version_of: str = ""
    """The module whose version the programs shall call their own, in the way of ``k8s.io/component-base``."""
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        return DEV / "tools" / self.name

    @property
    def ldflags(self) -> str:
        if not self.version_of:
            return "-s -w"
        version = re.search(rf"{re.escape(self.version_of)} (v(\d+)\.(\d+)\.\S+)", self.go_mod)
        if version is None:
            raise StepFailed(
                f"Tools: {self.name}", f"go.mod has no {self.version_of}.", "Restore go.mod from git."
            )
        package = "k8s.io/component-base/version"
        full, major, minor = version.groups()
        stamps = {"gitVersion": full, "gitMajor": major, "gitMinor": minor}
        return "-s -w " + " ".join(f"-X {package}.{name}={value}" for name, value in stamps.items())

    @property
    def go_mod(self) -> str:
        return (self.directory / "go.mod").read_text()

    @property
    def packages(self) -> str:
        """What to build: the tools that go.mod names, or else the folder's own program."""
        return "tool" if "\ntool " in self.go_mod else "."

    @property
    def cached(self) -> Path:
        """The folder in the cache in which this very build is, or will be."""
        sources = [path.read_text() for path in sorted(self.directory.iterdir())]
        digest = hashlib.sha256("\0".join([*sources, self.ldflags, _go_version()]).encode()).hexdigest()
        return CACHE / "tools" / f"{self.name}-{digest[:12]}"


KUBERNETES = GoModule(
    "kubernetes",
    ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"),
    version_of="k8s.io/kubernetes",
)
# The release that this Kubernetes is made for: with an older one, watches without a version time out.
ETCD = GoModule("etcd", ("server",))
COREDNS = GoModule("coredns", ("coredns",))
TRAEFIK = GoModule("traefik", ("traefik",))
PAUSE = GoModule("pause", ("pause",))
KIND = GoModule("kind", ("kind",))
# Its release's manifest is read out of the same module: devcluster/cloudnative_pg.py.
CLOUDNATIVE_PG = GoModule("cloudnative-pg", ("manager",))
# The sum database does not know this module; the committed go.sum pins it.
KUBE_ROUTER = GoModule(
    "kube-router", ("kube-router",), env={"GONOSUMDB": "github.com/cloudnativelabs/kube-router"}
)
# Two S3 servers, for what a backup's bucket must do: versions and Object Lock, and the second one sessions and lifecycle
# rules as well.
VERSITYGW = GoModule("versitygw", ("versitygw",))
MINIO = GoModule("minio", ("minio",))
ALL = (KUBERNETES, ETCD, PAUSE, KUBE_ROUTER, COREDNS, TRAEFIK, KIND, CLOUDNATIVE_PG, VERSITYGW, MINIO)


@cache
def _go_version() -> str:
    hint = "Install Go 1.26 or later (https://go.dev/dl/) and put it on PATH."
    try:
        return subprocess.run(
            ["go", "env", "GOVERSION"], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise StepFailed("Tools", f"'go env GOVERSION' failed: {error}", hint) from error


def tool(module: GoModule, program: str) -> Path:
    """The program's path; its module is built first where the cache doesn't have it.

    Raises:
        StepFailed: Go is missing or the build failed.
    """
    return build(module) / program


def build(module: GoModule) -> Path:
    """The folder with the module's programs, built once per its files, flags and version of Go."""
    target = module.cached
    if _complete(target, module):
        return target
    with locked(f"tool-{module.name}"):
        if not _complete(target, module):
            _build_into(target, module)
    return target


def sources(module: GoModule, path: str) -> Path:
    """Where Go keeps the sources of the module ``path`` that ``module`` is built from; fetched again if they are gone.

    Raises:
        StepFailed: Go could not fetch them.
    """
    command = ["go", "mod", "download", "-json", path]
    env = {**os.environ, **module.env}
    result = subprocess.run(
        command, cwd=module.directory, env=env, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        hint = f"Check that 'go mod download' works in {module.directory}."
        raise StepFailed(f"Sources of {path}", result.stderr.strip() or result.stdout.strip(), hint)
    return Path(str(json.loads(result.stdout)["Dir"]))


def _complete(target: Path, module: GoModule) -> bool:
    return all((target / program).exists() for program in module.programs)


def _build_into(target: Path, module: GoModule) -> None:
    name = f"Tools: {module.name} ({', '.join(module.programs)})"
    log = CACHE / "logs" / f"build-{module.name}.log"
    log.unlink(missing_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{module.name}-", dir=target.parent))
    flags = ["-trimpath", "-buildvcs=false", "-ldflags", module.ldflags]
    try:
        with step(name, log):
            run(
                name,
                ["go", "build", *flags, "-o", f"{partial}/", module.packages],
                cwd=module.directory,
                env={"CGO_ENABLED": "0", **module.env},
                log=log,
                what_to_do="Check that 'go mod download' works in "
                + str(module.directory)
                + ", then run it again.",
            )
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
        target.chmod(0o755)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
