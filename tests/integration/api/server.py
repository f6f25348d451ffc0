"""Our kinds on a real API server, over one connection: create, replace, patch, mostly as dry runs."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from http.client import HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from devcluster.control_plane import ControlPlane
from odoo_tenancy.api.meta import API_VERSION
from odoo_tenancy.api.schema import KINDS

Manifest = dict[str, Any]

PLURALS = {kind.__name__: kind.definition.plural for kind in KINDS}


@dataclass(frozen=True)
class Answer:
    """What the API server made of a request."""

    code: int
    body: Manifest

    @property
    def causes(self) -> list[tuple[str, str]]:
        """Field and message of each thing that is wrong; indices and keys like names of fields.

        Of a map's key, rules write ``requests[cpu]`` and plain bounds ``requests.cpu``.
        """
        causes = self.body.get("details", {}).get("causes", [])
        return [(_dotted(cause.get("field", "")), cause.get("message", "")) for cause in causes]


def _dotted(field: str) -> str:
    return field.replace("[", ".").replace("]", "")


class Server:
    """Talks as an administrator."""

    def __init__(self, plane: ControlPlane) -> None:
        admin = plane.pair("admin")
        context = ssl.create_default_context(cafile=str(plane.ca.crt))
        context.load_cert_chain(str(admin.crt), str(admin.key))
        self._connection = HTTPSConnection(urlsplit(plane.server).netloc, context=context, timeout=30)

    def create(self, manifest: Manifest, *, dry_run: bool = True) -> Answer:
        return self._send("POST", collection(manifest), manifest, dry_run=dry_run)

    def replace(self, manifest: Manifest, subresource: str = "", *, dry_run: bool = True) -> Answer:
        path = f"{collection(manifest)}/{manifest['metadata']['name']}{subresource}"
        return self._send("PUT", path, manifest, dry_run=dry_run)

    def table(self, manifest: Manifest) -> Answer:
        """The objects of that kind as ``kubectl get`` prints them."""
        return self._send(
            "GET", collection(manifest), None, accept="application/json;as=Table;v=v1;g=meta.k8s.io"
        )

    def delete_all(self, manifest: Manifest) -> Answer:
        return self._send("DELETE", collection(manifest), None)

    def _send(
        self,
        method: str,
        path: str,
        body: Manifest | None,
        *,
        dry_run: bool = False,
        accept: str = "application/json",
    ) -> Answer:
        query = "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        headers = {"Content-Type": "application/json", "Accept": accept}
        self._connection.request(method, path + query, json.dumps(body) if body else None, headers)
        response = self._connection.getresponse()
        return Answer(response.status, json.loads(response.read()))


def collection(manifest: Manifest) -> str:
    """The path of all objects of that kind."""
    namespace = manifest["metadata"].get("namespace")
    place = f"namespaces/{namespace}/" if namespace else ""
    return f"/apis/{API_VERSION}/{place}{PLURALS[manifest['kind']]}"
