"""Container images without a registry: built with buildah, cached as archives, given to containerd.

An archive's name carries a hash of everything it was made from, so that a changed input is a new archive.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devcluster import programs
from devcluster.locks import locked
from devcluster.paths import CACHE, DEV, REPOSITORY
from devcluster.steps import run, step
from devcluster.tools import CLOUDNATIVE_PG, COREDNS, MINIO, PAUSE, TRAEFIK, GoModule, build

# As slim as Debian's own slim image: no documentation, no translations.
_BASE_COMMAND = (
    "mmdebstrap",
    "--variant=minbase",
    "--include=ca-certificates",
    *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "man", "info", "locale")),
    "trixie",
)
_BASE_DOCKERFILE = 'FROM scratch\nADD rootfs.tar /\nCMD ["/bin/bash"]\n'
_BUILD_OPTIONS = ("--isolation", "chroot", "--layers", "--force-rm")
_FORMAT = "docker-archive"
_HINT = "Check that 'apt-get update' works and that the disk has 5 GB free, then run the same command again."


@dataclass(frozen=True)
class Image:
    """One image.

    Args:
        name: as manifests write it, with its registry's host.
        context: the folder with its Dockerfile; everything in it counts, unless ``sources`` says what does.
        program: for an image of one static program: which.
        wheels: it installs Python packages from ``requirements.lock``.
        base: the image that it starts from; else Debian, or nothing for one of a program.
    """

    name: str
    context: Path
    sources: tuple[str, ...] = ()
    program: tuple[GoModule, str] | None = None
    wheels: bool = False
    base: Image | None = None

    @property
    def key(self) -> str:
        """A hash of all inputs."""
        digest = hashlib.sha256("\0".join((self.name, _FORMAT, "" if self.program else _base())).encode())
        for path in self._files():
            digest.update(f"{path.relative_to(self.context)}\0".encode() + path.read_bytes())
        if self.program:
            digest.update(self.program[0].cached.name.encode())
        if self.base:
            digest.update(self.base.key.encode())
        return digest.hexdigest()[:12]

    @property
    def archive(self) -> Path:
        slug = self.name.split("/")[-1].replace(":", "-")
        return CACHE / "images" / f"{slug}-{self.key}.tar"

    def _files(self) -> list[Path]:
        chosen = [self.context / source for source in self.sources] or [self.context]
        found = [path for each in chosen for path in ([each] if each.is_file() else each.rglob("*"))]
        return sorted(path for path in found if path.is_file() and "__pycache__" not in path.parts)


_BINARY = DEV / "images" / "binary"
PAUSE_IMAGE = Image("localhost/pause:dev", _BINARY, program=(PAUSE, "pause"))
COREDNS_IMAGE = Image("docker.io/coredns/coredns:1.12.1", _BINARY, program=(COREDNS, "coredns"))
TRAEFIK_IMAGE = Image("docker.io/library/traefik:v3.6", _BINARY, program=(TRAEFIK, "traefik"))
POSTGRES_IMAGE = Image("docker.io/library/postgres:17", DEV / "images" / "postgres")
PGBOUNCER_IMAGE = Image("localhost/pgbouncer:1.24", DEV / "images" / "pgbouncer")
RESTIC_IMAGE = Image("localhost/restic:0.18", DEV / "images" / "restic")
REDIS_IMAGE = Image("docker.io/library/redis:7.0", DEV / "images" / "redis")
ODOO_IMAGE = Image("docker.io/library/odoo:19.0", DEV / "images" / "odoo")
OPERATOR_IMAGE = Image(
    "localhost/odoo-tenancy-operator:dev",
    REPOSITORY,
    sources=(
        "Dockerfile",
        ".dockerignore",
        "requirements.lock",
        "operator/odoo_tenancy",
        "operator/odoo_addons",
    ),
    wheels=True,
)
CLOUDNATIVE_PG_IMAGE = Image(
    "ghcr.io/cloudnative-pg/cloudnative-pg:1.28.1",
    DEV / "images" / "cloudnative-pg",
    program=(CLOUDNATIVE_PG, "manager"),
)
CLOUDNATIVE_PG_POSTGRES_IMAGE = Image(
    "ghcr.io/cloudnative-pg/postgresql:17", DEV / "images" / "cloudnative-pg-postgres", base=POSTGRES_IMAGE
)
# The last release of which there is a public image, for kind; the program is of the module's version.
MINIO_IMAGE = Image("quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z", _BINARY, program=(MINIO, "minio"))
BINARIES = (PAUSE_IMAGE, COREDNS_IMAGE, TRAEFIK_IMAGE)
DISTRIBUTION = (ODOO_IMAGE, POSTGRES_IMAGE, REDIS_IMAGE, OPERATOR_IMAGE)
ON_DEMAND = (CLOUDNATIVE_PG_IMAGE, CLOUDNATIVE_PG_POSTGRES_IMAGE, MINIO_IMAGE)
"""What a cluster gets when it is asked for, and a plain one does without."""
TESTED_WITH = (PGBOUNCER_IMAGE, RESTIC_IMAGE)
"""What the integration tests run without a cluster, and a cluster has no use for."""
ALL = (*BINARIES, *DISTRIBUTION, *ON_DEMAND, *TESTED_WITH)


def ensure(image: Image) -> Path:
    """The image's archive, built first where the cache doesn't have it.

    Raises:
        StepFailed: buildah, Debian's mirror or a package failed; the log says which.
    """
    archive = image.archive
    if archive.exists():
        return archive
    programs.require(programs.IMAGES)
    if image.program:
        build(image.program[0])
    elif image.base:
        ensure(image.base)
    else:
        with locked("image-debian"):
            _ensure_base()
    with locked(f"image-{archive.stem.rpartition('-')[0]}"):
        if not archive.exists():
            _build(image, archive)
    return archive


def _build(image: Image, archive: Path) -> None:
    name = f"Image {image.name}"
    log = CACHE / "logs" / f"image-{archive.stem.rpartition('-')[0]}.log"
    log.unlink(missing_ok=True)
    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_suffix(".partial")
    with step(name, log):
        arguments = _program_arguments(image) if image.program else _distribution_arguments(image, log)
        build_command = _buildah("bud", *_BUILD_OPTIONS, "--tag", image.name, *arguments)
        run(name, build_command, log=log, what_to_do=_HINT)
        partial.unlink(missing_ok=True)
        # The Docker kind of archive is not compressed, which saves more time than its size costs.
        target = f"{_FORMAT}:{partial}:{image.name}"
        run(name, _buildah("push", image.name, target), log=log, what_to_do=_HINT)
        partial.replace(archive)
        # Layers are kept for the one image that is built often; the others are in their archives.
        forget = (
            ["--prune"] if image is OPERATOR_IMAGE else [each.name for each in (image, image.base) if each]
        )
        subprocess.run(_buildah("rmi", *forget), capture_output=True, check=False)
    _forget_older(archive)


def load(image: Image, ctr: Sequence[str], loaded: Path) -> bool:
    """Give the image to containerd, under its name and its digest; ``loaded`` remembers what it has.

    Returns:
        Whether it was new.
    """
    archive = ensure(image)
    marker = loaded / archive.stem.rpartition("-")[0]
    if marker.exists() and marker.read_text() == image.key:
        return False
    name = f"Import of {image.name}"
    log = CACHE / "logs" / "import.log"
    hint = "See containerd's log; is the disk full?"
    with step(name, log):
        run(name, [*ctr, "images", "import", "--digests=false", archive], log=log, what_to_do=hint)
        listing = subprocess.run(
            [*ctr, "images", "list", f"name=={image.name}"], capture_output=True, text=True, check=True
        )
        digest = next(word for word in listing.stdout.split() if word.startswith("sha256:"))
        by_digest = f"{image.name.rpartition(':')[0]}@{digest}"
        run(name, [*ctr, "images", "tag", "--force", image.name, by_digest], log=log, what_to_do=hint)
    loaded.mkdir(parents=True, exist_ok=True)
    marker.write_text(image.key)
    return True


def unload(image: Image, ctr: Sequence[str], loaded: Path) -> None:
    """Take the image out of containerd, which frees what only it used."""
    repository = image.name.rpartition(":")[0]
    filters = (f"name=={image.name}", f"name~=^{repository}@")
    listing = subprocess.run(
        [*ctr, "images", "list", "--quiet", *filters], capture_output=True, text=True, check=True
    )
    if names := listing.stdout.split():
        hint = "See containerd's log; does a pod still run it?"
        log = CACHE / "logs" / "import.log"
        run(f"Removal of {image.name}", [*ctr, "images", "remove", *names], log=log, what_to_do=hint)
    (loaded / image.archive.stem.rpartition("-")[0]).unlink(missing_ok=True)


def _program_arguments(image: Image) -> list[str | Path]:
    assert image.program is not None
    module, program = image.program
    return ["--file", image.context / "Dockerfile", "--build-arg", f"PROGRAM={program}", build(module)]


def _distribution_arguments(image: Image, log: Path) -> list[str | Path]:
    base = f"{_FORMAT}:{ensure(image.base)}" if image.base else _base()
    arguments: list[str | Path] = ["--build-arg", f"BASE_IMAGE={base}"]
    if image.wheels:
        arguments += ["--build-arg", "WHEELS=/wheels", "--volume", f"{_wheels(log)}:/wheels:ro"]
        # Debian's PostgreSQL is the one that runs here, so no other archive is asked.
        arguments += ["--build-arg", "PGDG="]
    return [*arguments, image.context]


def _base() -> str:
    """The name of the base image in buildah's store; another recipe is another image."""
    recipe = "\0".join((*_BASE_COMMAND, _BASE_DOCKERFILE))
    return f"localhost/debian:trixie-slim-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def _ensure_base() -> None:
    """Debian trixie, in buildah's own store."""
    known = subprocess.run(_buildah("images", "--quiet", _base()), capture_output=True, check=False)
    if known.returncode == 0:
        return
    name, log, directory = "Image debian:trixie-slim", CACHE / "logs" / "image-debian.log", CACHE / "base"
    directory.mkdir(parents=True, exist_ok=True)
    with step(name, log):
        run(name, [*_BASE_COMMAND, directory / "rootfs.tar"], log=log, what_to_do=_HINT)
        (directory / "Dockerfile").write_text(_BASE_DOCKERFILE)
        run(name, _buildah("bud", "--tag", _base(), directory), log=log, what_to_do=_HINT)
        (directory / "rootfs.tar").unlink()


def _wheels(log: Path) -> Path:
    """The operator's locked packages for the image's Python, fetched with this machine's own pip settings."""
    lock = REPOSITORY / "requirements.lock"
    directory = CACHE / "wheels" / hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    if not (directory / ".complete").exists():
        # With hashes required pip takes nothing but what the lock names, wherever it is configured to look.
        command = [
            "pip",
            "download",
            "--quiet",
            "--require-hashes",
            "--only-binary=:all:",
            "--python-version=3.13",
        ]
        hint = "Check 'pip config list' and that pip can reach its index."
        run("Wheels of the operator's image", [*command, "--dest", directory, "--requirement", lock], log=log,
            what_to_do=hint)  # fmt: skip
        (directory / ".complete").touch()
    return directory


def _buildah(*arguments: str | Path) -> list[str]:
    """Its command line, in a mount namespace of its own: what it mounts ends with it, however it ends."""
    store = CACHE / "buildah"
    return [
        "unshare", "--mount", "--propagation", "private",
        str(programs.located("buildah")), "--root", str(store / "root"), "--runroot", str(store / "run"),
        "--storage-driver", "overlay", *map(str, arguments),
    ]  # fmt: skip


def _forget_older(archive: Path) -> None:
    """Archives of the same image with other inputs."""
    prefix = archive.stem.rpartition("-")[0]
    for other in archive.parent.glob(f"{prefix}-????????????.tar"):
        if other != archive:
            with contextlib.suppress(OSError):
                os.unlink(other)
