"""What a platform team has ready before the first tenant: PostgreSQL and Redis with TLS, and Traefik."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import socket
import tempfile
from pathlib import Path
from typing import Any

import yaml

from devcluster import pki
from devcluster.kubectl import Kubectl
from devcluster.paths import MANIFESTS, REPOSITORY
from devcluster.steps import StepFailed
from devcluster.tools import TRAEFIK, sources
from odoo_tenancy.services.redis import ADMIN_RULES

HTTP_PORT = int(os.environ.get("ODOO_TENANCY_HTTP_PORT", "80"))
HTTPS_PORT = int(os.environ.get("ODOO_TENANCY_HTTPS_PORT", "443"))
"""On 127.0.0.1 of this machine."""

DATA, _OPERATOR = "odoo-data", "odoo-tenancy-system"
_CRDS = "docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml"

Manifest = dict[str, Any]


def start_postgres(kubectl: Kubectl) -> None:
    """Start it in ``odoo-data``, with Secrets for it there and for the pool beside the operator.

    Passwords and certificates are random, made once, and live only in the cluster.
    """
    operator = str(REPOSITORY / "manifests" / "base" / "namespace.yaml")
    kubectl.do(
        "Namespace of the operator", "apply", "--server-side", "--field-manager=kubectl", "-f", operator
    )
    kubectl.apply_objects("namespace odoo-data", [_namespace(DATA)])
    if not kubectl.ask("-n", _OPERATOR, "get", "secret", "eu-standard-postgres-ca", "-o", "name"):
        kubectl.apply_objects("PostgreSQL's Secrets", _postgres_secrets())
    kubectl.apply("postgres.yaml")
    kubectl.rollout(DATA, "statefulset/postgres")


def start_redis(kubectl: Kubectl) -> None:
    """Start it in ``odoo-data``, beside PostgreSQL, with Secrets as there."""
    if not kubectl.ask("-n", _OPERATOR, "get", "secret", "eu-standard-redis-ca", "-o", "name"):
        kubectl.apply_objects("Redis's Secrets", _redis_secrets())
    kubectl.apply("redis.yaml")
    kubectl.rollout(DATA, "statefulset/redis")


def start_traefik(kubectl: Kubectl, host_ip: str = "127.0.0.1") -> None:
    """Start it in ``traefik``, with ports of the node's ``host_ip``; empty: of all its addresses.

    Raises:
        StepFailed: among others when another program has the ports.
    """
    deployed = kubectl.ask("-n", "traefik", "get", "deployment", "traefik", "-o", "name")
    if not deployed:
        _check_ports()
    definitions = str(sources(TRAEFIK, "github.com/traefik/traefik/v3") / _CRDS)
    kubectl.do("Traefik's CRDs", "apply", "--server-side", "--force-conflicts", "-f", definitions)
    kubectl.do("Traefik's CRDs", "wait", "--for=condition=Established", "--timeout=60s", "-f", definitions)
    kubectl.apply_objects("traefik.yaml", _traefik_objects(host_ip))
    kubectl.rollout("traefik", "deployment/traefik")


def _namespace(name: str) -> Manifest:
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _postgres_secrets() -> list[Manifest]:
    """The bearer of the CA's Secret is written last: where it is, all of them are."""
    superuser, admin = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    tls, authority = certificate("postgres")
    return [
        secret(DATA, "postgres-passwords", {"superuser": superuser.encode(), "admin": admin.encode()}),
        secret(DATA, "postgres-tls", tls, "kubernetes.io/tls"),
        secret(_OPERATOR, "eu-standard-postgres", {"username": b"odoo_admin", "password": admin.encode()}),
        secret(_OPERATOR, "eu-standard-postgres-ca", {"ca.crt": authority}),
    ]


def _redis_secrets() -> list[Manifest]:
    """As above. The admin's rules are what the operator needs and no more; ``default`` is switched off."""
    admin = secrets.token_urlsafe(32)
    digest = hashlib.sha256(admin.encode()).hexdigest()
    # With rules though it is off: as this user 7.0 replays its own append-only file.
    users = f"user default off ~* &* +@all\nuser odoo_admin on #{digest} resetchannels {ADMIN_RULES}\n"
    tls, authority = certificate("redis")
    return [
        secret(DATA, "redis-users", {"users.conf": users.encode()}),
        secret(DATA, "redis-tls", tls, "kubernetes.io/tls"),
        secret(_OPERATOR, "eu-standard-redis", {"username": b"odoo_admin", "password": admin.encode()}),
        secret(_OPERATOR, "eu-standard-redis-ca", {"ca.crt": authority}),
    ]


def certificate(name: str, *further: str) -> tuple[dict[str, bytes], bytes]:
    """Of a Service in ``odoo-data``: certificate and key, and the authority that signed it."""
    inside = f"{name}.{DATA}"
    hosts = (name, inside, f"{inside}.svc", f"{inside}.svc.cluster.local", *further)
    with tempfile.TemporaryDirectory(prefix="odoo-tenancy-") as directory:
        ca = pki.authority(Path(directory), f"{name}-ca")
        server = pki.issue(ca, Path(directory), name, user=name, hosts=hosts)
        tls = {"tls.crt": server.crt.read_bytes(), "tls.key": server.key.read_bytes()}
        return tls, ca.crt.read_bytes()


def secret(namespace: str, name: str, data: dict[str, bytes], kind: str = "Opaque") -> Manifest:
    """Its manifest."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": kind,
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def _traefik_objects(host_ip: str) -> list[Manifest]:
    objects = list(yaml.safe_load_all((MANIFESTS / "traefik.yaml").read_text()))
    deployment = next(each for each in objects if each["kind"] == "Deployment")
    ports = {port["name"]: port for port in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]}
    for name, port in (("web", HTTP_PORT), ("websecure", HTTPS_PORT)):
        ports[name] |= {"hostPort": port, "hostIP": host_ip}
    return objects


def _check_ports() -> None:
    for port, variable in ((HTTP_PORT, "ODOO_TENANCY_HTTP_PORT"), (HTTPS_PORT, "ODOO_TENANCY_HTTPS_PORT")):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                hint = (
                    f"Stop what listens there ('ss -ltnp sport = :{port}'), or set {variable} to a free port."
                )
                raise StepFailed("Traefik", f"127.0.0.1:{port} can't be had: {error}", hint) from error
