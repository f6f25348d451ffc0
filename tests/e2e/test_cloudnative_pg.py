"""CloudNativePG on the local cluster: two instances under Pod Security ``restricted`` and closed networks, and a failover.

It is there before these tests where somebody brought it, and then it stays; else it comes for them and goes after them.
"""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.waiting import eventually

from devcluster import cloudnative_pg, cluster
from devcluster.images import POSTGRES_IMAGE
from devcluster.kubectl import Kubectl
from devcluster.locks import locked

NAMESPACE, NAME, ADMIN, CLIENT = "cnpg-test", "pg", "odoo_admin", "client"
CLUSTER = "clusters.postgresql.cnpg.io"
HEALTHY = "Cluster in healthy state"
SECONDS = 300.0

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def kubectl(kubeconfig: Path) -> Iterator[Kubectl]:
    """As administrator, with CloudNativePG there."""
    administrator = cluster.kubectl()
    assert administrator.kubeconfig == kubeconfig
    was_there = cloudnative_pg.deployed(administrator)
    started = time.monotonic()
    with locked("cluster"):
        cloudnative_pg.bring(administrator)
    say("CloudNativePG is there", started)
    yield administrator
    if not was_there:
        with locked("cluster"):
            cloudnative_pg.remove(administrator)


@pytest.fixture(scope="module")
def postgres(kubectl: Kubectl) -> Iterator[Kubectl]:
    """A healthy Cluster of two, and a client; both go with everything that is theirs, volumes too."""
    started = time.monotonic()
    kubectl.apply_objects(
        "the test's Cluster", [namespace(), *policies(kubectl), admin(), postgres_cluster()]
    )
    kubectl.apply_objects("the test's client", [client()])
    try:
        eventually(lambda: healthy(kubectl), lambda: status(kubectl), SECONDS, pause=0.5)
        say("two instances are healthy", started)
        kubectl.do(
            "Client", "-n", NAMESPACE, "wait", "--for=condition=Ready", f"pod/{CLIENT}", "--timeout=60s"
        )
        yield kubectl
    finally:
        kubectl.do(
            "Cluster", "-n", NAMESPACE, "delete", CLUSTER, NAME, "--cascade=foreground", "--ignore-not-found"
        )
        kubectl.do("Namespace", "delete", "namespace", NAMESPACE, "--timeout=120s")
    eventually(lambda: not volumes(kubectl), lambda: f"volumes go; there are {volumes(kubectl)}")


def test_a_row_that_was_acknowledged_outlives_its_primary(postgres: Kubectl) -> None:
    sql(postgres, "CREATE TABLE kept (word text)")
    word = secrets.token_hex(8)
    sql(postgres, f"INSERT INTO kept VALUES ('{word}')")
    before = status(postgres)
    primary = before["currentPrimary"]
    (standby,) = set(before["instanceNames"]) - {primary}

    started = time.monotonic()
    postgres.do("Primary", "-n", NAMESPACE, "delete", "pod", primary, "--now", "--wait=false")
    eventually(lambda: status(postgres).get("currentPrimary") == standby, lambda: status(postgres), SECONDS)
    say(f"{standby} is the primary", started)
    eventually(lambda: query(postgres, "SELECT word FROM kept") == word, "the row is read again", SECONDS)
    say("the row is read through the Service", started)
    assert query(postgres, "SELECT pg_is_in_recovery()") == "f"

    eventually(lambda: healthy(postgres), lambda: status(postgres), SECONDS, pause=0.5)
    say("two instances are healthy again", started)
    sql(postgres, "INSERT INTO kept VALUES ('later')")
    assert status(postgres)["timelineID"] > before["timelineID"]


def test_another_authority_is_not_believed(postgres: Kubectl) -> None:
    refused = run_psql(postgres, "SELECT 1", "sslrootcert=system")
    assert refused.returncode != 0
    assert "certificate verify failed" in refused.stderr


def test_without_tls_nobody_comes_in(postgres: Kubectl) -> None:
    refused = run_psql(postgres, "SELECT 1", "sslmode=disable")
    assert refused.returncode != 0
    assert "no encryption" in refused.stderr


def test_the_admin_makes_roles_and_databases_and_is_no_superuser(postgres: Kubectl) -> None:
    rights = "SELECT rolcreatedb, rolcreaterole, rolsuper FROM pg_roles WHERE rolname = current_user"
    assert query(postgres, rights) == "t|t|f"
    sql(postgres, "CREATE ROLE t_one NOLOGIN")
    sql(postgres, "GRANT t_one TO current_user")
    sql(postgres, "CREATE DATABASE t_one OWNER t_one TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C'")


def say(what: str, started: float) -> None:
    print(f"{what}: {time.monotonic() - started:.1f} s", flush=True)


def status(kubectl: Kubectl) -> dict[str, Any]:
    """Of the Cluster; empty until the operator has seen it."""
    live = kubectl.ask("-n", NAMESPACE, "get", CLUSTER, NAME, "-o", "json") or "{}"
    found: dict[str, Any] = json.loads(live).get("status", {})
    return found


def volumes(kubectl: Kubectl) -> list[str]:
    """Those that the test's claims have or had."""
    found = json.loads(kubectl.do("Volumes", "get", "pv", "-o", "json"))["items"]
    return [
        each["metadata"]["name"]
        for each in found
        if each["spec"].get("claimRef", {}).get("namespace") == NAMESPACE
    ]


def healthy(kubectl: Kubectl) -> bool:
    now = status(kubectl)
    return now.get("phase") == HEALTHY and now.get("readyInstances") == 2


def run_psql(kubectl: Kubectl, statement: str, *options: str) -> subprocess.CompletedProcess[str]:
    """As the admin, from the client's pod, with the server's name and authority verified."""
    target = [
        f"host={NAME}-rw.{NAMESPACE}.svc", f"user={ADMIN}", "dbname=app", "connect_timeout=5",
        "sslmode=verify-full", "sslrootcert=/ca/ca.crt", *options,
    ]  # fmt: skip
    psql = ["psql", "--no-psqlrc", "--tuples-only", "--no-align", "--command", statement, " ".join(target)]
    access = [str(kubectl.program), "--kubeconfig", str(kubectl.kubeconfig), "-n", NAMESPACE]
    command = [*access, "exec", CLIENT, "--", *psql]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)


def query(kubectl: Kubectl, statement: str) -> str:
    """What it answers; empty while nobody does."""
    return run_psql(kubectl, statement).stdout.strip()


def sql(kubectl: Kubectl, statement: str) -> None:
    """A statement that has to be acknowledged."""
    done = run_psql(kubectl, statement)
    assert done.returncode == 0, done.stderr


def namespace() -> Manifest:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def admin() -> Manifest:
    """The login that CloudNativePG gives the role; it looks again when the Secret with this label changes."""
    password = secrets.token_urlsafe(24)
    data = {"username": ADMIN, "password": password}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "admin", "namespace": NAMESPACE, "labels": {"cnpg.io/reload": "true"}},
        "type": "kubernetes.io/basic-auth",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


def postgres_cluster() -> Manifest:
    """A commit is acknowledged when the standby has it too."""
    initdb = {"database": "app", "owner": ADMIN, "secret": {"name": "admin"}}
    return {
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "instances": 2,
            "imageName": cloudnative_pg.POSTGRES,
            "imagePullPolicy": "IfNotPresent",
            "enableSuperuserAccess": False,
            "storage": {"size": "1Gi", "storageClass": "standard"},
            "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
            "bootstrap": {
                "initdb": {**initdb, "postInitApplicationSQL": [f"ALTER ROLE {ADMIN} CREATEDB CREATEROLE"]}
            },
            "postgresql": {
                "parameters": {"shared_buffers": "64MB"},
                "pg_hba": ["hostnossl all all all reject"],
                "synchronous": {"method": "any", "number": 1, "dataDurability": "required"},
            },
        },
    }


def policies(kubectl: Kubectl) -> list[Manifest]:
    """Nothing is open but what it needs; the API server by its address behind the Service."""
    endpoints = json.loads(kubectl.do("API server", "get", "endpoints", "kubernetes", "-o", "json"))
    subset = endpoints["subsets"][0]
    api = [{"ipBlock": {"cidr": f"{each['ip']}/32"}} for each in subset["addresses"]]
    api_ports = [{"port": each["port"]} for each in subset["ports"]]
    own = {"podSelector": {"matchLabels": {"cnpg.io/cluster": NAME}}}
    caller = {"podSelector": {"matchLabels": {"app": CLIENT}}}
    operator = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": cloudnative_pg.NAMESPACE}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "cloudnative-pg"}},
    }
    dns = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
    between = [{"port": 5432}, {"port": 8000}]
    return [
        policy("closed", {}, [], []),
        policy("names", {}, None, [dns]),
        policy("client", {"app": CLIENT}, None, [{"to": [own], "ports": [{"port": 5432}]}]),
        policy(
            "postgres",
            {"cnpg.io/cluster": NAME},
            [
                {"from": [own], "ports": between},
                {"from": [operator], "ports": [{"port": 8000}]},
                {"from": [caller], "ports": [{"port": 5432}]},
            ],
            [{"to": [own], "ports": between}, {"to": api, "ports": api_ports}],
        ),
    ]


def policy(
    name: str, labels: dict[str, str], ingress: list[Manifest] | None, egress: list[Manifest]
) -> Manifest:
    """Without ``ingress`` it says nothing about what comes in."""
    rules: Manifest = {"egress": egress} if ingress is None else {"ingress": ingress, "egress": egress}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "podSelector": {"matchLabels": labels},
            "policyTypes": [kind.capitalize() for kind in rules],
            **rules,
        },
    }


def client() -> Manifest:
    """psql, with the authority's certificate and not its key, which is in the same Secret."""
    password = {"name": "PGPASSWORD", "valueFrom": {"secretKeyRef": {"name": "admin", "key": "password"}}}
    authority = {"secretName": f"{NAME}-ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": CLIENT, "namespace": NAMESPACE, "labels": {"app": CLIENT}},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [{"name": "ca", "secret": authority}],
            "containers": [
                {
                    "name": "psql",
                    "image": POSTGRES_IMAGE.name,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "infinity"],
                    "env": [password],
                    "volumeMounts": [{"name": "ca", "mountPath": "/ca", "readOnly": True}],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }
