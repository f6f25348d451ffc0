"""Certificates of the cluster, made with openssl: authorities, servers, clients, kubeconfigs."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devcluster.steps import StepFailed

_DAYS = "3650"
_CURVE = "ec_paramgen_curve:prime256v1"


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as PEM files."""

    crt: Path
    key: Path


def authority(directory: Path, name: str) -> Certificate:
    """A certificate authority, made anew."""
    pair = Certificate(directory / f"{name}.crt", directory / f"{name}.key")
    _new_key(pair.key)
    _openssl(
        "req", "-x509", "-new", "-key", pair.key, "-out", pair.crt, "-days", _DAYS, "-subj", f"/CN={name}",
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    return pair


def issue(
    ca: Certificate,
    directory: Path,
    name: str,
    *,
    user: str,
    groups: Sequence[str] = (),
    hosts: Sequence[str] = (),
) -> Certificate:
    """A certificate for ``user`` (CN) in ``groups`` (O); with ``hosts`` (names, addresses) a server's too."""
    pair = Certificate(directory / f"{name}.crt", directory / f"{name}.key")
    request = directory / f"{name}.csr"
    extensions = directory / f"{name}.ext"
    usage = "serverAuth,clientAuth" if hosts else "clientAuth"
    lines = [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature",
        f"extendedKeyUsage={usage}",
    ]
    if hosts:
        lines.append(
            "subjectAltName=" + ",".join(f"{'IP' if _is_address(host) else 'DNS'}:{host}" for host in hosts)
        )
    extensions.write_text("\n".join(lines) + "\n")
    _new_key(pair.key)
    subject = "".join(f"/O={group}" for group in groups) + f"/CN={user}"
    _openssl("req", "-new", "-key", pair.key, "-out", request, "-subj", subject)
    _openssl(
        "x509", "-req", "-in", request, "-CA", ca.crt, "-CAkey", ca.key, "-CAcreateserial", "-days", _DAYS,
        "-extfile", extensions, "-out", pair.crt,
    )  # fmt: skip
    request.unlink()
    extensions.unlink()
    return pair


def signing_key(directory: Path, name: str) -> None:
    """A pair ``<name>.key`` and ``<name>.pub``: service account tokens are signed and checked with it."""
    _new_key(directory / f"{name}.key")
    _openssl("pkey", "-in", directory / f"{name}.key", "-pubout", "-out", directory / f"{name}.pub")


def kubeconfig(
    path: Path, *, server: str, ca: Certificate, client: Certificate, namespace: str = "default"
) -> Path:
    """A kubeconfig (JSON is YAML) with everything embedded, so that it can be moved."""
    name = "odoo-tenancy-dev"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [
            {"name": name, "cluster": {"server": server, "certificate-authority-data": _base64(ca.crt)}}
        ],
        "users": [
            {
                "name": name,
                "user": {
                    "client-certificate-data": _base64(client.crt),
                    "client-key-data": _base64(client.key),
                },
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, indent=1))
    return path


def _new_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", _CURVE, "-out", path)


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _openssl(*arguments: str | Path) -> None:
    command = ["openssl", *(str(argument) for argument in arguments)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise StepFailed(
            "Certificates", "openssl is not there.", "Install it: apt-get install openssl"
        ) from error
    except subprocess.CalledProcessError as error:
        raise StepFailed(
            "Certificates", error.stderr.strip(), "Check 'openssl version' (1.1.1 or later)."
        ) from error
