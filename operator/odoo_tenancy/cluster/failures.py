"""What the API server's answers mean: HTTP status and ``metav1.Status`` to the one exception tree."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from odoo_tenancy.api.errors import OperatorError, Refused, Unavailable, Waiting

CODES_THAT_PASS = frozenset({408, 429, 500, 502, 503, 504})


class Conflict(Unavailable):
    """Somebody else wrote first (a stale resourceVersion or UID), or the object exists: look again."""


class FieldsTaken(Conflict):
    """Server-side apply without force met fields that another manager set to other values."""


class NotOurs(Refused):
    """An object of that name exists and was not made for this owner: never touched."""


def failure(what: str, kind: str, code: int, body: bytes, headers: Mapping[str, str]) -> OperatorError:
    """The error for an answer that is no success.

    Args:
        what: verb and object, e.g. ``apply Deployment odoo-acme/odoo-web``.
        kind: of a Secret, the server's own words are left out: they may quote a value.
        code: HTTP status.
        body: a ``metav1.Status`` as JSON, or whatever a proxy said.
        headers: of the answer; ``Retry-After`` is in seconds.
    """
    status = _status(body)
    message = f"Could not {what}: {_explanation(status, kind, code)}"
    if code == 409:
        return _conflict(message, status)
    if code == 401:
        return Unavailable("Unauthorized", f"{message} (the API server does not accept our credentials)")
    if code == 404:
        return _missing(message, what, status)
    if code in CODES_THAT_PASS or code >= 500:
        return Unavailable("ApiServerUnavailable", message, _retry_after(headers, status))
    if code == 403 and _has_cause(status, "NamespaceTerminating"):
        return Waiting("NamespaceTerminating", message)
    if code == 403:
        return Refused("QuotaExceeded" if "exceeded quota" in message else "Forbidden", message)
    if "immutable" in str(status.get("message")):
        return Refused("ImmutableField", f"{message}. The field cannot be changed on a live object.")
    return Refused("Invalid", message)


def unreachable(what: str, error: Exception) -> Unavailable:
    """The error for a request that got no answer at all."""
    reason = "no answer in time" if isinstance(error, TimeoutError) else (str(error) or type(error).__name__)
    return Unavailable("ApiServerUnavailable", f"Could not {what}: {reason}")


def names_object(body: bytes) -> bool:
    """Whether a 404 is about an object: for a kind that isn't served the answer names none."""
    return bool(_object_name(_status(body)))


def _object_name(status: Mapping[str, Any]) -> str:
    return str((status.get("details") or {}).get("name") or "")


def _status(body: bytes) -> Mapping[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return {"message": body[:500].decode(errors="replace").strip()}
    return parsed if isinstance(parsed, dict) else {}


def _explanation(status: Mapping[str, Any], kind: str, code: int) -> str:
    if kind == "Secret" and code in (400, 422):
        fields = sorted({cause["field"] for cause in _causes(status) if cause.get("field")})
        return f"HTTP {code}, {status.get('reason', 'Invalid')}: {', '.join(fields) or 'no field named'}"
    return str(status.get("message") or f"HTTP {code} without a message")


def _conflict(message: str, status: Mapping[str, Any]) -> Conflict:
    if _has_cause(status, "FieldManagerConflict"):
        return FieldsTaken("FieldsTaken", message)
    return Conflict("AlreadyExists" if status.get("reason") == "AlreadyExists" else "Conflict", message, 1.0)


def _missing(message: str, what: str, status: Mapping[str, Any]) -> OperatorError:
    if not _object_name(status):
        mend = "the cluster does not serve that kind: install its CustomResourceDefinition"
        return Waiting("KindNotServed", f"Could not {what}: {mend}")
    return Waiting("NotFound", message)


def _causes(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return (status.get("details") or {}).get("causes") or []


def _has_cause(status: Mapping[str, Any], reason: str) -> bool:
    return any(cause.get("reason") == reason for cause in _causes(status))


def _retry_after(headers: Mapping[str, str], status: Mapping[str, Any]) -> float | None:
    value = headers.get("Retry-After") or (status.get("details") or {}).get("retryAfterSeconds")
    try:
        return float(value) if value else None
    except ValueError:
        return None
