"""Programs out of our own images, without a container engine: an image unpacked once, a program started in it.

What a program writes into its root, and every mount, lives in a mount namespace that ends with it, however it
ends. It keeps this machine's network and its /proc.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from devcluster import images
from devcluster.images import Image
from devcluster.locks import locked
from devcluster.paths import CACHE
from devcluster.steps import StepFailed, step

# Image layers name what they remove from those below them (OCI image specification, layer.md).
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"

# Descriptor 9 keeps a shared lock on the folder for as long as the program or a child of it runs, so that nobody
# removes it under its feet. The overlay's upper layer is memory. Mount points are made in it.
_ENTER = """
root=$1 place=$2 shared=$3; shift 3
exec 9<"$root"; flock --shared 9
mount -t tmpfs -o mode=755 tmpfs "$place"
mkdir "$place/upper" "$place/work" "$place/root"
mount -t overlay -o "lowerdir=$root,upperdir=$place/upper,workdir=$place/work" overlay "$place/root"
for each in /proc /dev /sys; do mkdir -p "$place/root$each"; mount --rbind "$each" "$place/root$each"; done
for each in /etc/hosts /etc/resolv.conf; do
  if [ -e "$each" ]; then rm -f "$place/root$each"; cp -L "$each" "$place/root$each"; fi
done
while [ "$shared" -gt 0 ]; do
  mkdir -p "$place/root$1"; mount --rbind "$1" "$place/root$1"; shift; shared=$((shared - 1))
done
cd /
exec chroot "$place/root" "$@"
"""


def rootfs(name: str) -> Path:
    """The unpacked image; built and unpacked first where the cache doesn't have it.

    Args:
        name: of one of :data:`devcluster.images.ALL` without its registry, such as ``postgres-17``.

    Raises:
        StepFailed: there is no such image, it could not be built, or this user is not root (without whom no file
            gets its owner).
    """
    image = _named(name)
    target = CACHE / "rootfs" / image.archive.stem
    if target.exists():
        return target
    if os.geteuid() != 0:
        raise StepFailed(f"Root of {name}", "Only root can give files their owners.", "Run it as root.")
    archive = images.ensure(image)
    with locked(f"rootfs-{name}"):
        if not target.exists():
            with step(f"Root of {name}"):
                _forget_others(target)
                _unpack_into(archive, target)
    return target


def command(root: Path, *argv: str | Path, uid: int, gid: int, shared: Sequence[Path] = ()) -> list[str]:
    """The command line that runs a program of an unpacked image. Its own process id is the program's.

    The program is killed when the thread that started it ends, and its environment is what the caller gives.

    Args:
        root: of :func:`rootfs`.
        argv: absolute path in the image, and arguments.
        uid, gid: as whom; it has no other groups.
        shared: directories of this machine that it has at the same path.
    """
    place = CACHE / "rootfs" / ".place"
    place.mkdir(parents=True, exist_ok=True)
    return [
        "unshare", "--mount", "--propagation", "private",
        "sh", "-euc", _ENTER, "sh", str(root), str(place), str(len(shared)), *map(str, shared),
        # Here and not before: the kernel forgets the parent's signal when a process changes its user.
        "/usr/bin/setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--pdeathsig=KILL", "--",
        *map(str, argv),
    ]  # fmt: skip


def unpack(archive: Path, target: Path) -> None:
    """All layers of a docker-archive, with owners, permissions and whiteouts; no device nodes."""
    with tarfile.open(archive) as outer:
        manifest = outer.extractfile("manifest.json")
        assert manifest is not None
        for layer in json.load(manifest)[0]["Layers"]:
            with tarfile.open(fileobj=outer.extractfile(layer)) as inner:
                _apply(inner, target)


def _named(name: str) -> Image:
    for image in images.ALL:
        if image.archive.stem.rpartition("-")[0] == name:
            return image
    raise StepFailed(f"Root of {name}", "There is no such image.", "See devcluster.images.ALL.")


def _unpack_into(archive: Path, target: Path) -> None:
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        partial.chmod(0o755)
        unpack(archive, partial)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _apply(layer: tarfile.TarFile, target: Path) -> None:
    """Removals first: they mean the layers below only."""
    members = layer.getmembers()
    for member in members:
        path = PurePosixPath(member.name)
        if path.name == _OPAQUE:
            for child in _inside(target, path.parent).iterdir():
                _remove(child)
        elif path.name.startswith(_WHITEOUT):
            _remove(_inside(target, path.parent) / path.name.removeprefix(_WHITEOUT))
    for member in members:
        if PurePosixPath(member.name).name.startswith(_WHITEOUT) or member.isdev():
            continue
        there = _inside(target, PurePosixPath(member.name))
        if not (member.isdir() and there.is_dir() and not there.is_symlink()):
            _remove(there)
        layer.extract(member, target, numeric_owner=True, filter="fully_trusted")


def _inside(target: Path, path: PurePosixPath) -> Path:
    parts = [part for part in path.parts if part not in ("/", ".")]
    if ".." in parts:
        raise ValueError(f"a layer names {path}")
    return target.joinpath(*parts)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _forget_others(target: Path) -> None:
    """Roots of older builds, where nothing runs in them, and what a killed run left half unpacked."""
    prefix = target.name.rpartition("-")[0]
    target.parent.mkdir(parents=True, exist_ok=True)
    for other in (*target.parent.glob(f"{prefix}-????????????"), *target.parent.glob(f".{prefix}-*")):
        with suppress(OSError):
            descriptor = os.open(other, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(other)
            finally:
                os.close(descriptor)
