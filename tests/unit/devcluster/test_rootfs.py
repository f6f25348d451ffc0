"""An image becomes a directory as a container engine would show it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest
from tests.support.waiting import eventually

from devcluster import rootfs

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="owners and mounts need root")


def layer(*members: tuple[str, str | None]) -> bytes:
    """Names with content; ``None``: a directory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.uid = member.gid = os.geteuid()
            if content is None:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
            else:
                member.size = len(content)
            tar.addfile(member, io.BytesIO((content or "").encode()))
    return buffer.getvalue()


def archive(path: Path, *layers: bytes) -> Path:
    names = [f"{number}.tar" for number in range(len(layers))]
    manifest = json.dumps([{"Config": "c.json", "Layers": names}]).encode()
    with tarfile.open(path, "w") as tar:
        for name, content in (("manifest.json", manifest), *zip(names, layers, strict=True)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_later_layers_replace_and_remove_what_earlier_ones_made(tmp_path: Path) -> None:
    first = layer(
        ("etc", None), ("etc/kept", "1"), ("etc/gone", "1"), ("etc/changed", "1"), ("old", None),
        ("old/deep", None), ("old/deep/file", "1"), ("opaque", None), ("opaque/below", "1"),
        ("was-a-directory", None), ("was-a-directory/file", "1"), ("was-a-file", "1"),
    )  # fmt: skip
    second = layer(
        ("etc/.wh.gone", ""), ("etc/changed", "2"), (".wh.old", ""), ("opaque", None), ("opaque/above", "2"),
        ("opaque/.wh..wh..opq", ""), ("was-a-directory", "2"), ("was-a-file", None), ("was-a-file/inside", "2"),
    )  # fmt: skip
    target = tmp_path / "root"
    target.mkdir()
    rootfs.unpack(archive(tmp_path / "image.tar", first, second), target)
    files = {str(p.relative_to(target)): p.read_text() for p in target.rglob("*") if p.is_file()}
    assert files == {
        "etc/kept": "1", "etc/changed": "2", "opaque/above": "2", "was-a-directory": "2", "was-a-file/inside": "2",
    }  # fmt: skip


def test_a_layer_that_points_outside_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.\./outside"):
        rootfs.unpack(archive(tmp_path / "image.tar", layer(("../outside", "x"))), tmp_path)


@needs_root
def test_a_program_has_its_own_root_and_leaves_nothing_when_it_is_killed(tmp_path: Path) -> None:
    """In a root of this machine's own programs: no image is needed to show it."""
    root, shared = tmp_path / "root", tmp_path / "shared"
    root.mkdir()
    shared.mkdir()
    os.chown(shared, 65534, 65534)
    for folder in ("bin", "lib", "lib64", "sbin"):
        (root / folder).symlink_to(f"usr/{folder}")
    (root / "etc").mkdir()
    (root / "tmp").mkdir(mode=0o1777)
    (root / "tmp").chmod(0o1777)
    script = f"id -u; touch /tmp/private; echo ready > {shared}/said; exec sleep 1000"
    line = rootfs.command(root, "/bin/sh", "-c", script, uid=65534, gid=65534, shared=[shared, Path("/usr")])
    process = subprocess.Popen(line, stdout=subprocess.PIPE)
    try:
        eventually(lambda: (shared / "said").exists(), "the program runs")
        assert Path(f"/proc/{process.pid}/root").resolve() != Path("/")
        eventually(
            lambda: b"sleep" in Path(f"/proc/{process.pid}/cmdline").read_bytes(), "sleep is the process"
        )
        assert not (root / "tmp" / "private").exists()
        assert str(root) not in Path("/proc/self/mounts").read_text()
    finally:
        process.send_signal(signal.SIGKILL)
        said, _ = process.communicate()
    assert said == b"65534\n"
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
