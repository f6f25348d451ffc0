"""Replicas as processes against a real API server: who leads, what turns which probe red, how one ends."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.runtime.replica import Replica, until
from tests.support.proxy import Proxy

from devcluster.control_plane import ControlPlane

EXIT_LEASE_LOST = 3
KOPF_KINDS = {"watch/odootenants", "watch/hostingpools"}
WATCHES = KOPF_KINDS | {"watch/secrets"}

Start = Callable[..., Replica]


@pytest.fixture
def kubectl(control_plane: ControlPlane, crds: Path) -> Callable[..., str]:
    def run(*arguments: str, stdin: str = "") -> str:
        command = [str(control_plane.kubectl), f"--kubeconfig={control_plane.kubeconfig}", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout

    return run


@pytest.fixture
def lease(request: pytest.FixtureRequest) -> str:
    """A Lease of each test's own."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:50].strip("-")


@pytest.fixture
def start(kubeconfig: Path, crds: Path, tmp_path: Path, lease: str) -> Iterator[Start]:
    replicas: list[Replica] = []

    def run(identity: str, kubeconfig: Path = kubeconfig, **settings: Any) -> Replica:
        values = {"LEASE_NAME": lease, **{name.upper(): str(value) for name, value in settings.items()}}
        replicas.append(Replica(identity, kubeconfig, tmp_path, values))
        return replicas[-1]

    yield run
    for replica in replicas:
        replica.close()


@pytest.fixture
def pool(kubectl: Callable[..., str], lease: str) -> Iterator[str]:
    """A HostingPool of this test's own: the smallest object of ours there is."""
    name = lease[:40].strip("-")
    kubectl("apply", "-f", "-", stdin=json.dumps(pool_manifest(name)))
    yield name
    kubectl("delete", "hostingpool", name, "--ignore-not-found")


def pool_manifest(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "odootenancy.io/v1alpha1",
        "kind": "HostingPool",
        "metadata": {"name": name},
        "spec": {
            "namespace": f"odoo-{name}",
            "postgres": {
                "host": "postgres.odoo-data.svc",
                "adminSecretRef": {"name": "postgres"},
                "tls": {"mode": "require"},
                "connectionBudget": 100,
            },
            "traefik": {"namespace": "traefik", "tls": {"defaultStore": True}},
        },
    }


def leads(replica: Replica) -> bool:
    status, body = replica.probe("/readyz")
    return status == 200 and body["role"] == "leader"


def watches(replica: Replica) -> bool:
    """It leads and has begun to watch; a leader first asks whether its kinds are installed."""
    return leads(replica) and set(replica.probe("/readyz")[1]["checks"]) >= WATCHES


def silently_proxied(plane: ControlPlane, proxy: Proxy, directory: Path) -> Path:
    path = directory / "proxied.kubeconfig"
    text = plane.kubeconfig.read_text().replace(f":{plane.ports.api}", f":{proxy.port}")
    path.write_text(text)
    return path


def test_the_second_waits_and_takes_over_when_the_first_is_killed(start: Start) -> None:
    first = start("first")
    first.await_line("lease acquired")
    second = start("second")
    until(lambda: second.probe("/readyz")[1]["role"] == "standby", "second waits")
    assert second.failing("/readyz") == second.failing("/healthz") == set()
    until(lambda: leads(first), "first leads")
    first.kill()
    second.await_line("lease acquired")
    until(lambda: leads(second), "second leads")


def test_the_second_takes_over_at_once_when_the_first_is_stopped(start: Start) -> None:
    slow = {"lease_duration": 3600, "lease_renew_deadline": 1800}
    first = start("first", **slow)
    first.await_line("lease acquired")
    second = start("second", **slow)
    until(lambda: second.probe("/readyz")[1]["role"] == "standby", "second waits")
    first.terminate()
    assert first.exit_status() == 0
    second.await_line("lease acquired")


def test_one_that_waits_stops_cleanly_too(start: Start) -> None:
    start("first").await_line("lease acquired")
    second = start("second")
    until(lambda: second.probe("/readyz")[1]["role"] == "standby", "second waits")
    second.terminate()
    assert second.exit_status() == 0
    assert not second.said("lease acquired")


def test_a_lease_that_somebody_took_ends_the_process(
    start: Start, kubectl: Callable[..., str], lease: str, pool: str
) -> None:
    replica = start("robbed")
    replica.order("hold")
    replica.await_line("began", key=f"HostingPool/{pool}")
    kubectl("patch", "lease", lease, "--type=merge", '--patch={"spec":{"holderIdentity":"thief"}}')
    assert replica.exit_status() == EXIT_LEASE_LOST
    assert replica.said("lease lost")
    assert not replica.said("reconciled"), "what was worked on must not go on"
    spec = json.loads(kubectl("get", "lease", lease, "-o=json"))["spec"]
    assert spec["holderIdentity"] == "thief"


def test_an_api_server_that_falls_silent_ends_the_leader(
    start: Start, control_plane: ControlPlane, tmp_path: Path
) -> None:
    proxy = Proxy(control_plane.ports.api)
    replica = start("cut-off", silently_proxied(control_plane, proxy, tmp_path))
    until(lambda: leads(replica), "it leads")
    proxy.silence()
    assert replica.exit_status() == EXIT_LEASE_LOST
    proxy.close()


def test_dead_watches_turn_readiness_red_then_liveness_and_recover(
    start: Start, control_plane: ControlPlane, tmp_path: Path
) -> None:
    proxy = Proxy(control_plane.ports.api)
    patient = {"lease_duration": 3600, "lease_renew_deadline": 1800, "watch_idle": 1, "watch_silence": 4}
    replica = start("deaf", silently_proxied(control_plane, proxy, tmp_path), **patient)
    until(lambda: watches(replica), "it watches")
    proxy.silence()
    until(lambda: replica.failing("/readyz") >= WATCHES, "readiness red")
    until(lambda: replica.failing("/healthz") >= KOPF_KINDS, "liveness red")
    _, body = replica.probe("/readyz")
    assert {"check", "since", "message"} == set(body["failing"][0])
    proxy.flow()
    until(lambda: not replica.failing("/readyz") and not replica.failing("/healthz"), "both green again")
    proxy.close()


def test_a_frozen_loop_turns_liveness_red(start: Start, pool: str) -> None:
    patient = {"lease_duration": 3600, "lease_renew_deadline": 1800}
    replica = start("frozen", loop_stall=2, **patient)
    until(lambda: leads(replica), "it leads")
    replica.await_line("reconciled", name=pool)
    replica.order("freeze")
    until(lambda: "loop" in replica.failing("/healthz"), "liveness red")
    assert "loop" in replica.failing("/readyz")
    replica.countermand("freeze")
    until(lambda: not replica.failing("/healthz"), "green again")


def test_a_worker_stuck_on_a_key_turns_liveness_red(start: Start, pool: str) -> None:
    replica = start("stuck", stuck_after=1)
    replica.order("hold")
    until(lambda: "worker" in replica.failing("/healthz"), "liveness red")
    _, body = replica.probe("/healthz")
    assert pool in body["failing"][0]["message"]
    replica.countermand("hold")
    until(lambda: not replica.failing("/healthz"), "green again")


def test_a_stop_finishes_what_is_worked_on(start: Start, pool: str) -> None:
    replica = start("stopped")
    replica.order("hold")
    replica.await_line("began", key=f"HostingPool/{pool}")
    until(lambda: leads(replica), "it leads")
    replica.terminate()
    until(lambda: replica.probe("/readyz")[1]["role"] == "stopping", "it is stopping")
    assert not replica.said("reconciled", name=pool)
    replica.countermand("hold")
    assert replica.exit_status() == 0
    assert replica.said("reconciled", name=pool, outcome="ok")
    assert replica.said("drained", unfinished=[])
    assert replica.said("lease released")


def test_a_stop_does_not_wait_longer_than_it_may(start: Start, pool: str) -> None:
    replica = start("impatient", stop_deadline=0.2)
    replica.order("hold")
    replica.await_line("began", key=f"HostingPool/{pool}")
    replica.terminate()
    assert replica.exit_status() == 0
    assert replica.said("drained", unfinished=[f"HostingPool/{pool}"])
    assert replica.said("lease released")


def test_only_what_matters_asks_for_work_and_kopf_writes_nothing(
    start: Start, kubectl: Callable[..., str], control_plane: ControlPlane, pool: str
) -> None:
    replica = start("quiet", pool_resync=3600)

    def looks() -> int:
        return len(replica.said("reconciled", name=pool))

    until(lambda: looks() == 1, "the first look")
    kubectl("annotate", "hostingpool", pool, "argocd.argoproj.io/tracking-id=churn")
    kubectl("label", "hostingpool", pool, "team=a")
    status = '--patch={"status":{"tenants":3}}'
    kubectl("patch", "hostingpool", pool, "--subresource=status", "--type=merge", status)
    kubectl("annotate", "hostingpool", pool, "odootenancy.io/look=now")
    until(lambda: looks() == 2, "our annotation asks for a look")
    kubectl("patch", "hostingpool", pool, "--type=merge", '--patch={"spec":{"maxTenants":7}}')
    until(lambda: looks() == 3, "the spec asks for a look")
    kubectl("delete", "hostingpool", pool)
    until(lambda: looks() == 4, "the deletion asks for a last look")
    assert looks() == 4, "neither Argo CD's annotation, nor a label, nor a status asked for one"
    ours = [e for e in audit(control_plane, pool) if not e["userAgent"].startswith("kubectl")]
    assert [e["verb"] for e in ours if e["verb"] not in ("get", "list", "watch")] == []


def audit(plane: ControlPlane, name: str) -> list[dict[str, Any]]:
    """What was asked of objects of that name."""
    events = (json.loads(line) for line in plane.audit_log.read_text().splitlines())
    return [e for e in events if (e.get("objectRef") or {}).get("name") == name]


def test_kinds_that_are_not_installed_are_named_and_waited_for(
    start: Start, kubectl: Callable[..., str], crds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crd = crds / "restoredrillschedules.odootenancy.io.yaml"
    kubectl("delete", "-f", str(crd))
    monkeypatch.setitem(os.environ, "REPLICA_KINDS", "HostingPool,RestoreDrillSchedule")
    try:
        replica = start("early")
        until(lambda: "kinds" in replica.failing("/readyz"), "readiness red")
        _, body = replica.probe("/readyz")
        assert "RestoreDrillSchedule" in body["failing"][0]["message"]
        assert "kinds" not in replica.failing("/healthz")
    finally:
        kubectl("apply", "--server-side", "-f", str(crd))
    until(lambda: leads(replica), "it leads, with all kinds")


def test_an_operator_without_rights_says_which(start: Start, control_plane: ControlPlane, lease: str) -> None:
    nobody = control_plane.kubeconfig_for("nobody-in-particular")
    replica = start("powerless", nobody)
    line = replica.await_line("lease not reached", lease=lease)
    assert "403" in line["error"]
    replica.terminate()
    assert replica.exit_status() == 0
