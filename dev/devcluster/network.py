"""The machine's side of the pod network: bridge, node address, kernel settings, and all traces of it."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from pathlib import Path

from devcluster.steps import StepFailed

BRIDGE = "otn0"
NODE_ADDRESS = "172.31.255.1"
"""The node's own address, on the bridge: it stays when a laptop changes networks; nobody else reaches it."""
POD_SUBNET = "10.244.0.0/24"
POD_GATEWAY = "10.244.0.1"

# Set by us, or by the kubelet and kube-proxy for themselves; put back by `down`.
_SETTINGS = {
    "net/ipv4/ip_forward": "1",
    "net/bridge/bridge-nf-call-iptables": "1",
    "net/bridge/bridge-nf-call-ip6tables": "1",
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
}
# Chains by the prefixes of the CNI plugins and of kube-router; sets by kube-router's.
_CHAINS = re.compile(r"^(CNI-|KUBE-ROUTER-|KUBE-NWPLCY-|KUBE-POD-FW-)")
_SETS = re.compile(r"^(inet6:)?(KUBE-SRC-|KUBE-DST-|kube-router-)")
_PROXY_TABLES = (("ip", "kube-proxy"), ("ip6", "kube-proxy"))


def set_up(saved_settings: Path) -> None:
    """Kernel settings (the old ones go to ``saved_settings``) and the bridge with both addresses.

    Raises:
        StepFailed: the kernel has no bridge netfilter, or no bridge.
    """
    for module in ("overlay", "br_netfilter"):
        _run("modprobe", module)
    if not Path("/proc/sys/net/bridge").exists():
        why = "The kernel has no bridge netfilter: NetworkPolicies would not bind pods of one node."
        raise StepFailed("Network", why, "Load the module br_netfilter, or use a kernel that has it.")
    if not saved_settings.exists():
        old = {name: _setting(name).read_text().strip() for name in _SETTINGS}
        saved_settings.write_text(json.dumps(old))
    _write_settings(_SETTINGS)
    if not Path(f"/sys/class/net/{BRIDGE}").exists():
        for command in (
            ("link", "add", BRIDGE, "type", "bridge"),
            ("addr", "add", f"{POD_GATEWAY}/24", "dev", BRIDGE),
            ("addr", "add", f"{NODE_ADDRESS}/32", "dev", BRIDGE),
            ("link", "set", BRIDGE, "up"),
        ):
            _must("ip", *command)


def restore_settings(saved_settings: Path) -> None:
    """Put back what ``set_up`` found."""
    if saved_settings.exists():
        _write_settings(json.loads(saved_settings.read_text()))


def clear() -> None:
    """Take away every rule, set, table and link of the cluster. Nothing of anybody else."""
    for family, table in _PROXY_TABLES:
        _run("nft", "delete", "table", family, table)
    for suffix in ("", "6"):
        _clear_chains(suffix)
    for name in _sets():
        _run("ipset", "destroy", name)
    for link in _links():
        _run("ip", "link", "delete", link)


def leftovers() -> list[str]:
    """What ``clear`` would take away."""
    tables = _run("nft", "list", "tables").split("\n")
    found = [line for line in tables if line.strip() in {f"table {f} {t}" for f, t in _PROXY_TABLES}]
    for suffix in ("", "6"):
        for table, lines in _tables(suffix).items():
            found += [f"ip{suffix}tables chain {table}/{chain}" for chain in _chains(lines)]
    found += [f"ipset {name}" for name in _sets()]
    return found + [f"network link {link}" for link in _links()]


def _clear_chains(suffix: str) -> None:
    """Rules that lead to our chains, then the chains; tables that are left with nothing in them."""
    for table, lines in _tables(suffix).items():
        chains = _chains(lines)
        if not chains:
            continue
        jumps = [line for line in lines if line.startswith("-A") and not _CHAINS.match(line.split()[1])]
        ours = [line for line in jumps if any(f"-j {chain}" in line for chain in chains)]
        commands = [f"-D{line[2:]}" for line in ours]
        commands += [f"-F {chain}" for chain in chains] + [f"-X {chain}" for chain in chains]
        script = "\n".join([f"*{table}", *commands, "COMMIT", ""])
        _must(f"ip{suffix}tables-restore", "--noflush", stdin=script)
    for table, lines in _tables(suffix).items():
        untouched = all(line.startswith(":") and " ACCEPT " in line for line in lines)
        if untouched and not any(line.startswith("-A") for line in lines):
            # An empty table of iptables-nft; iptables makes it anew when it is asked for.
            _run("nft", "delete", "table", f"ip{suffix}", table)


def _tables(suffix: str) -> dict[str, list[str]]:
    """Chains (``:NAME policy``) and rules (``-A …``) of each table, as iptables-save prints them."""
    tables: dict[str, list[str]] = {}
    current: list[str] = []
    for line in _run(f"ip{suffix}tables-save").splitlines():
        if line.startswith("*"):
            current = tables.setdefault(line[1:], [])
        elif line.startswith((":", "-A")):
            current.append(line)
    return tables


def _chains(lines: list[str]) -> list[str]:
    names = [line[1:].split()[0] for line in lines if line.startswith(":")]
    return [name for name in names if _CHAINS.match(name)]


def _sets() -> list[str]:
    return [name for name in _run("ipset", "list", "-name").split() if _SETS.match(name)]


def _links() -> list[str]:
    """The bridge and what hangs on it; kube-router's link for service addresses, should it have made one."""
    members = Path(f"/sys/class/net/{BRIDGE}/brif")
    found = sorted(path.name for path in members.iterdir()) if members.exists() else []
    return found + [link for link in (BRIDGE, "kube-dummy-if") if Path(f"/sys/class/net/{link}").exists()]


def _setting(name: str) -> Path:
    return Path("/proc/sys") / name


def _write_settings(settings: dict[str, str]) -> None:
    for name, value in settings.items():
        with contextlib.suppress(OSError):
            _setting(name).write_text(value)


def _run(*command: str) -> str:
    """Its output; empty when it failed, for what may be missing."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""


def _must(*command: str, stdin: str | None = None) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False, input=stdin)
    if result.returncode != 0:
        why = f"{' '.join(command)}: {result.stderr.strip()}"
        raise StepFailed("Network", why, "Run the command by hand as root to see what the kernel refuses.")
