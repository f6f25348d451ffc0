"""What a cluster left on a machine is found by comparison; what the machine does by itself, or a test, is not."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from devcluster import __main__ as front_door
from devcluster import cluster, machine
from devcluster.machine import Machine, left_behind, wait_until_gone
from devcluster.paths import CACHE

BEFORE = Machine(
    frozenset({"mount /", "network link lo", "nft table inet firewall chain input drop"}),
    frozenset(),
    {"net/ipv4/ip_forward": "0", "kernel/panic": "1"},
)


@pytest.mark.parametrize(
    "thing",
    ["mount /var/lib/x", "network link otn0", "network namespace cni-1", "cgroup /sys/fs/cgroup/x", "process 7: x",
     "nft table ip kube-proxy chain services accept", "ipset KUBE-SRC-1", "file /var/log/pods/x"],
)  # fmt: skip
def test_whatever_is_more_than_before_is_named(thing: str) -> None:
    assert left_behind(BEFORE, BEFORE) == []
    assert left_behind(BEFORE, replace(BEFORE, things=BEFORE.things | {thing})) == [thing]


def test_a_setting_that_is_not_as_it_was_is_named_with_both_values() -> None:
    changed = replace(BEFORE, settings={**BEFORE.settings, "net/ipv4/ip_forward": "1"})
    assert left_behind(BEFORE, changed) == ["setting net/ipv4/ip_forward = 1 (was 0)"]


def test_what_went_and_settings_of_a_module_that_came_are_nothing_left() -> None:
    less = replace(BEFORE, things=frozenset({"mount /"}))
    assert left_behind(BEFORE, less) == []
    more = replace(BEFORE, settings={**BEFORE.settings, "net/bridge/bridge-nf-call-iptables": "1"})
    assert left_behind(BEFORE, more) == []
    assert left_behind(more, BEFORE) == []


def test_what_could_not_be_asked_before_is_not_compared() -> None:
    """``up`` installs nft where it is missing: rules that were there then are not the cluster's."""
    after = replace(BEFORE, things=BEFORE.things | {"nft table inet another chain x drop", "ipset a"})
    assert left_behind(replace(BEFORE, unknown=frozenset({"nft"})), after) == ["ipset a"]
    assert left_behind(BEFORE, replace(after, unknown=frozenset({"ipset", "nft"}))) == []


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    BEFORE.write(tmp_path / "before")
    assert Machine.read(tmp_path / "before") == BEFORE


def test_what_goes_in_a_moment_is_waited_for() -> None:
    ending = replace(BEFORE, things=BEFORE.things | {"process 7: a shim"})
    looks = iter([ending, ending, BEFORE])
    assert wait_until_gone(BEFORE, 60.0, lambda: next(looks)) == []
    assert wait_until_gone(BEFORE, 0.0, lambda: ending) == ["process 7: a shim"]


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc and a /sys of our own, with nothing in them yet."""
    folder = tmp_path / "proc"
    (folder / "self").mkdir(parents=True)
    (folder / "self" / "mountinfo").write_text("")
    (folder / "self" / "mounts").write_text("")
    monkeypatch.setattr(machine, "PROC", folder)
    monkeypatch.setattr(machine, "SYS", tmp_path / "sys")
    return folder


def runs(proc: Path, pid: int, parent: int, program: str, *arguments: str) -> None:
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "stat").write_text(f"{pid} (a (name) S) S {parent} 0 0")
    (folder / "cmdline").write_bytes("\0".join([program, *arguments, ""]).encode())
    (folder / "exe").symlink_to(program)


SERVER = str(CACHE / "tools" / "etcd-497ae5aebbea" / "server")
PYTHON = "/usr/bin/python3.11"


def test_only_processes_that_nobody_answers_for_are_left(proc: Path) -> None:
    runs(proc, 1, 0, "/sbin/init")
    runs(proc, 50, 1, "/usr/lib/systemd/systemd", "--user")
    runs(proc, 60, 50, PYTHON, "-m", "pytest")
    runs(proc, 61, 60, SERVER, "a test's own")
    runs(proc, 70, 1, SERVER, "of a node")
    runs(proc, 71, 50, PYTHON, "-m", "devcluster.provisioner")
    runs(proc, 80, 1, "/usr/bin/containerd-shim-runc-v2", "-id", "x")
    runs(proc, 81, 80, "/program")
    runs(proc, 82, 81, "/program", "its child")
    runs(proc, 90, 1, "/usr/sbin/sshd")
    (proc / "99").mkdir()  # it has ended since it was listed
    assert [line.split(":")[0] for line in machine._processes()] == ["70", "71", "80", "81", "82"]
    assert next(iter(machine._processes())) == f"70: {SERVER} of a node"


def test_the_machines_own_cgroups_and_mounts_do_not_count(proc: Path, tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    for path in ("system.slice/ssh.service", "user.slice/user-0.slice/session-1.scope"):
        (root / path).mkdir(parents=True)
    inside = {
        "kubepods": "7\n",
        "kubepods/pod1": "",
        "kubepods/pod2": "8\n",
        "agent": "",
        "agent/step1": "9\n",
    }
    for path, processes in inside.items():
        (root / path).mkdir()
        (root / path / "cgroup.procs").write_text(processes)
    (proc / "self" / "mounts").write_text(f"cgroup2 {root} cgroup2 rw 0 0\nproc /proc proc rw 0 0\n")
    found = {str(path.relative_to(root)) for path in machine._cgroups()}
    assert found == {"kubepods", "kubepods/pod1", "agent"}, (
        "whoever is in a group of an agent's is the agent's"
    )
    points = ("/run/user/0", "/snap/core/1", "/run/credentials/x.service", "/var/lib/a\\040b", "/run/users")
    (proc / "self" / "mountinfo").write_text("".join(f"1 2 0:3 / {point} rw - tmpfs\n" for point in points))
    assert list(machine._mounts()) == ["/var/lib/a b", "/run/users"]


def test_hardware_and_tunnels_do_not_count(proc: Path, tmp_path: Path) -> None:
    links = tmp_path / "sys" / "class" / "net"
    links.mkdir(parents=True)
    for name, where in (("eth0", "pci0"), ("otn0", "virtual/net"), ("tun0", "virtual/net")):
        device = tmp_path / "sys" / "devices" / where / name
        device.mkdir(parents=True)
        (links / name).symlink_to(device)
    (tmp_path / "sys" / "devices" / "virtual" / "net" / "tun0" / "tun_flags").touch()
    assert list(machine._links()) == ["otn0"]


def test_settings_are_those_that_can_be_set_for_all_links(proc: Path) -> None:
    for name in ("net/ipv4/ip_forward", "net/ipv4/conf/all/rp_filter", "net/ipv4/conf/eth0/rp_filter",
                 "net/netfilter/nf_conntrack_count", "kernel/panic", "kernel/random/uuid"):  # fmt: skip
        file = proc / "sys" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("0\n")
        file.chmod(0o444 if name.endswith("count") else 0o644)
    assert dict(machine._settings()) == {
        "net/ipv4/ip_forward": "0",
        "net/ipv4/conf/all/rp_filter": "0",
        "kernel/panic": "0",
    }


NFT = """table ip kube-proxy {
\tcomment "rules"
\tset cluster-ips {
\t\ttype ipv4_addr
\t}

\tchain services {
\t\tip daddr 10.96.0.1 drop
\t}
}
table ip6 empty {
}
"""
SAVED = """# Generated by iptables-save
*filter
:INPUT ACCEPT [12:34]
-A INPUT -j KUBE-ROUTER-INPUT
COMMIT
*nat
:INPUT ACCEPT [0:0]
COMMIT
"""


@pytest.mark.parametrize(
    ("said", "rules"),
    [
        (
            NFT,
            {
                "table ip kube-proxy",
                'table ip kube-proxy comment "rules"',
                "table ip kube-proxy set cluster-ips",
                "table ip kube-proxy set cluster-ips type ipv4_addr",
                "table ip kube-proxy chain services",
                "table ip kube-proxy chain services ip daddr 10.96.0.1 drop",
                "table ip6 empty",
            },
        ),
        (SAVED, {"filter :INPUT ACCEPT", "filter -A INPUT -j KUBE-ROUTER-INPUT", "nat :INPUT ACCEPT"}),
    ],
)
def test_rules_have_their_table_and_no_counters(said: str, rules: set[str], tmp_path: Path) -> None:
    (tmp_path / "said").write_text(said)
    assert machine._rules(("cat", str(tmp_path / "said"))) == rules


def test_a_program_that_is_missing_or_refused_is_unknown() -> None:
    assert machine._rules(("no-such-program",)) is None
    assert machine._rules(("false",)) is None


def test_the_command_names_what_is_left_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = BEFORE
    monkeypatch.setattr(machine, "seen", lambda: now)
    monkeypatch.setattr(cluster, "with_kind", lambda: False)
    monkeypatch.setattr(front_door, "_PATIENCE", 0.0)
    # The default of an argument is bound when it is defined.
    monkeypatch.setattr(
        machine, "wait_until_gone", lambda before, seconds: wait_until_gone(before, seconds, lambda: now)
    )

    def ends(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["devcluster", "machine", str(tmp_path / "before"), *words])
        return front_door.main()

    assert ends() == 0
    assert ends("--compare") == 0
    now = replace(BEFORE, things=BEFORE.things | {"network link otn0"})
    assert ends("--compare") == 1
    assert "network link otn0" in capsys.readouterr().err
