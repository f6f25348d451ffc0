"""Which rules are the cluster's, read from what iptables-save prints."""

from __future__ import annotations

import pytest

from devcluster import network

SAVED = """*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:KUBE-ROUTER-INPUT - [0:0]
:KUBE-POD-FW-AAAA - [0:0]
:DOCKER-USER - [0:0]
-A INPUT -m comment --comment "kube-router netpol" -j KUBE-ROUTER-INPUT
-A INPUT -j DOCKER-USER
-A KUBE-ROUTER-INPUT -d 10.244.0.2/32 -j KUBE-POD-FW-AAAA
COMMIT
"""


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is given to iptables-restore."""
    given: list[str] = []

    def run(*command: str) -> str:
        return SAVED if command[0] == "iptables-save" else ""

    def must(*command: str, stdin: str | None = None) -> None:
        given.append(stdin or "")

    monkeypatch.setattr(network, "_run", run)
    monkeypatch.setattr(network, "_must", must)
    return given


def test_only_the_clusters_chains_go(scripts: list[str]) -> None:
    network.clear()
    assert scripts[0].splitlines() == [
        "*filter",
        '-D INPUT -m comment --comment "kube-router netpol" -j KUBE-ROUTER-INPUT',
        "-F KUBE-ROUTER-INPUT",
        "-F KUBE-POD-FW-AAAA",
        "-X KUBE-ROUTER-INPUT",
        "-X KUBE-POD-FW-AAAA",
        "COMMIT",
    ]


def test_leftovers_name_table_and_chain(scripts: list[str]) -> None:
    found = [line for line in network.leftovers() if line.startswith("iptables")]
    assert found == [
        "iptables chain filter/KUBE-ROUTER-INPUT",
        "iptables chain filter/KUBE-POD-FW-AAAA",
    ]
