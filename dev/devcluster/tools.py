"""The Go programs of the cluster, kept in the cache: built from ``dev/tools/<module>/go.mod``.

Where all programs of a module are on this machine already in the version of go.mod, the cache gets a copy of those.
"""

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

from devcluster import installed
from devcluster.installed import Installed
from devcluster.locks import locked
from devcluster.paths import CACHE, DEV
from devcluster.steps import StepFailed, run, step


@dataclass(frozen=True)
class GoModule:
    """A folder under ``dev/tools`` and what its ``tool`` lines give."""

    name: str
    programs: tuple[str, ...]
    source: str = ""
    """The Go module that the programs are from; its version in go.mod is the pinned one."""
    stamped: bool = False
    """The programs are told their version when they are linked, in the way of ``k8s.io/component-base``."""
    env: Mapping[str, str] = field(default_factory=dict)
    installed: Mapping[str, Installed] = field(default_factory=dict)
    """How each program says its version, where a release of it may be used; without it, it is always built."""

    @property
    def directory(self) -> Path:
        return DEV / "tools" / self.name

    @property
    def ldflags(self) -> str:
        if not self.stamped:
            return "-s -w"
        package = "k8s.io/component-base/version"
        major, minor, _ = self.version.split(".", 2)
        stamps = {"gitVersion": f"v{self.version}", "gitMajor": major, "gitMinor": minor}
        return "-s -w " + " ".join(f"-X {package}.{name}={value}" for name, value in stamps.items())

    @property
    def version(self) -> str:
        """The pinned one, without ``v``.

        Raises:
            StepFailed: go.mod doesn't have it.
        """
        version = re.search(rf"\b{re.escape(self.source)} v(\d+\.\d+\.\S+)", self.go_mod)
        if version is None:
            raise StepFailed(
                f"Tools: {self.name}", f"go.mod has no {self.source}.", "Restore go.mod from git."
            )
        return version[1]

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


_DAEMONS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
KUBERNETES = GoModule(
    "kubernetes",
    (*_DAEMONS, "kubectl"),
    source="k8s.io/kubernetes",
    stamped=True,
    installed={
        **dict.fromkeys(_DAEMONS, Installed("Kubernetes v")),
        "kubectl": Installed("Client Version: v", ("version", "--client")),
    },
)
# The release that this Kubernetes is made for: with an older one, watches without a version time out.
ETCD = GoModule(
    "etcd",
    ("server",),
    source="go.etcd.io/etcd/server/v3",
    installed={"server": Installed("etcd Version: ", name="etcd")},
)
# What goes into an image of nothing else has to be static, which a machine's own need not be: always built.
COREDNS = GoModule("coredns", ("coredns",))
TRAEFIK = GoModule("traefik", ("traefik",))
PAUSE = GoModule("pause", ("pause",))
KIND = GoModule(
    "kind", ("kind",), source="sigs.k8s.io/kind", installed={"kind": Installed("kind v", ("version",))}
)
# Its release's manifest is read out of the same module: devcluster/cloudnative_pg.py.
CLOUDNATIVE_PG = GoModule("cloudnative-pg", ("manager",))
# The sum database does not know this module; the committed go.sum pins it.
KUBE_ROUTER = GoModule(
    "kube-router",
    ("kube-router",),
    source="github.com/cloudnativelabs/kube-router/v2",
    env={"GONOSUMDB": "github.com/cloudnativelabs/kube-router"},
    installed={"kube-router": Installed(r"Running \S+ version v")},
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
    """The program's path; its module is built first where neither cache nor machine has it.

    Raises:
        StepFailed: Go is missing or the build failed.
    """
    return build(module) / program


def build(module: GoModule) -> Path:
    """The folder with the module's programs, made once per its files, flags and version of Go."""
    target = module.cached
    if _complete(target, module):
        return target
    with locked(f"tool-{module.name}"):
        if not _complete(target, module):
            _make(target, module)
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


def _make(target: Path, module: GoModule) -> None:
    name = f"Tools: {module.name} ({', '.join(module.programs)})"
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{module.name}-", dir=target.parent))
    try:
        if found := _on_this_machine(module):
            folders = ", ".join(sorted({str(path.parent) for path in found.values()}))
            with step(f"{name}: copied from {folders}, where they are {module.version} already"):
                installed.copy(found, partial)
        else:
            _build_into(partial, module, name)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
        target.chmod(0o755)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _on_this_machine(module: GoModule) -> dict[str, Path]:
    """Each program in the pinned version; empty unless all are there."""
    return installed.find(module.installed, module.version) if module.installed else {}


def _build_into(folder: Path, module: GoModule, name: str) -> None:
    log = CACHE / "logs" / f"build-{module.name}.log"
    log.unlink(missing_ok=True)
    flags = ["-trimpath", "-buildvcs=false", "-ldflags", module.ldflags]
    with step(name, log):
        run(
            name,
            ["go", "build", *flags, "-o", f"{folder}/", module.packages],
            cwd=module.directory,
            env={"CGO_ENABLED": "0", **module.env},
            log=log,
            what_to_do=f"Check that 'go mod download' works in {module.directory}, then run it again.",
        )
