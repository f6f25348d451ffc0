"""A plain, synchronous client for tests: what somebody with kubectl does, without a process for each call."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import yaml
from tests.support.waiting import PATIENCE, eventually

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.kinds import path
from odoo_tenancy.cluster.objects import ObjectRef

MEDDLER = "kubectl-edit"
"""The field manager of whoever changes by hand what is the operator's."""

_BUSY = 429

_TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}


class ApiError(Exception):
    """An answer that is no success."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Kube:
    """An administrator's access to one API server. Each thread has a connection of its own."""

    def __init__(self, kubeconfig: Path, manager: str = MEDDLER) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        self._server = urlsplit(config["clusters"][0]["cluster"]["server"])
        self._tls = _tls(config)
        self._manager = manager
        self._local = threading.local()

    def get(self, ref: ObjectRef) -> Manifest | None:
        """The live object; ``None`` where there is none."""
        try:
            return self._send("GET", ref)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def live(self, ref: ObjectRef) -> Manifest:
        """The live object, which must exist."""
        found = self.get(ref)
        assert found is not None, f"{ref} does not exist"
        return found

    def list(
        self, api_version: str, kind: str, namespace: str = "", selector: str = "", fields: str = ""
    ) -> list[Manifest]:
        """All objects of a kind, or those that a selector of labels or of fields finds."""
        query = {"labelSelector": selector} if selector else {}
        query |= {"fieldSelector": fields} if fields else {}
        page = self._send("GET", ObjectRef(api_version, kind, namespace, ""), query=query)
        return [{"apiVersion": api_version, "kind": kind, **item} for item in page["items"]]

    def create(self, manifest: Manifest, manager: str = "") -> Manifest:
        """A new object."""
        ref = ObjectRef.of(manifest)
        collection = ObjectRef(ref.api_version, ref.kind, ref.namespace, "")
        return self._send("POST", collection, manifest, query={"fieldManager": manager or self._manager})

    def apply(self, manifest: Manifest, manager: str = "gitops") -> Manifest:
        """Server-side, as Argo CD does."""
        query = {"fieldManager": manager, "force": "true"}
        return self._send("PATCH", ObjectRef.of(manifest), manifest, query=query, type_="apply")

    def patch(self, ref: ObjectRef, patch: Any, *, manager: str = "", subresource: str = "") -> Manifest:
        """A merge patch, or, of a list, a JSON patch."""
        query = {"fieldManager": manager or self._manager}
        type_ = "json" if isinstance(patch, list) else "merge"
        return self._send("PATCH", ref, patch, query=query, type_=type_, subresource=subresource)

    def delete(self, ref: ObjectRef, propagation: str = "Background") -> None:
        """Ask for its end; that it is gone already is fine."""
        try:
            self._send("DELETE", ref, {"propagationPolicy": propagation})
        except ApiError as error:
            if error.code != 404:
                raise

    def until_gone(self, ref: ObjectRef, seconds: float = PATIENCE) -> None:
        """Wait for its end."""
        eventually(
            lambda: self.get(ref) is None, lambda: f"{ref} goes; it is {_short(self.get(ref))}", seconds
        )

    def until(
        self, ref: ObjectRef, look: Callable[[Manifest], Any], what: str, seconds: float = PATIENCE
    ) -> Manifest:
        """The object once it is as it should be."""

        def found() -> Manifest | None:
            live = self.get(ref)
            return live if live is not None and look(live) else None

        live = eventually(found, lambda: f"{what}; {ref} is {_short(self.get(ref))}", seconds)
        assert live is not None
        return live

    def _send(
        self,
        method: str,
        ref: ObjectRef,
        body: Any = None,
        *,
        query: dict[str, str] | None = None,
        type_: str = "",
        subresource: str = "",
    ) -> Manifest:
        url = path(ref.api_version, ref.kind, ref.namespace, ref.name, subresource)
        headers = {"Content-Type": _TYPES.get(type_, "application/json"), "Accept": "application/json"}
        content = None if body is None else json.dumps(body)
        code, answer = self._exchange(method, f"{url}?{urlencode(query or {})}", content, headers)
        while code == _BUSY:  # a kind that is served in a moment
            time.sleep(0.2)
            code, answer = self._exchange(method, f"{url}?{urlencode(query or {})}", content, headers)
        parsed = json.loads(answer)
        if code >= 300:
            raise ApiError(code, str(parsed.get("message")))
        assert isinstance(parsed, dict)
        return parsed

    def _exchange(
        self, method: str, url: str, body: str | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        for attempt in (1, 2):
            if getattr(self._local, "connection", None) is None:
                host, port = str(self._server.hostname), self._server.port
                self._local.connection = http.client.HTTPSConnection(
                    host, port, context=self._tls, timeout=60
                )
            try:
                self._local.connection.request(method, url, body=body, headers=headers)
                response = self._local.connection.getresponse()
                return response.status, response.read()
            except (http.client.HTTPException, OSError):
                self._local.connection.close()
                self._local.connection = None
                if attempt == 2:
                    raise
        raise AssertionError


def _tls(config: Manifest) -> ssl.SSLContext:
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    with tempfile.TemporaryDirectory() as directory:
        files = {}
        sources = ((cluster, "certificate-authority"), (user, "client-certificate"), (user, "client-key"))
        for holder, name in sources:
            if f"{name}-data" in holder:
                file = Path(directory) / name
                file.write_bytes(base64.b64decode(holder[f"{name}-data"]))
                files[name] = str(file)
            else:
                files[name] = holder[name]
        context = ssl.create_default_context(cafile=files["certificate-authority"])
        context.load_cert_chain(files["client-certificate"], files["client-key"])
    return context


def _short(live: Manifest | None) -> object:
    """What a failed wait shows: the conditions where there are some."""
    if live is None:
        return "not there"
    status = live.get("status") or {}
    conditions = [
        " ".join(str(c.get(k)) for k in ("type", "status", "reason", "message"))
        for c in status.get("conditions", ())
    ]
    return (
        {"phase": status.get("phase"), "conditions": conditions} if conditions else {**live, "metadata": "…"}
    )
