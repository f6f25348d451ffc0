"""What the API server's answers mean."""

from __future__ import annotations

import json
from typing import Any

import pytest

from odoo_tenancy.api.errors import OperatorError, Refused, Unavailable, Waiting
from odoo_tenancy.cluster.failures import Conflict, FieldsTaken, failure, unreachable
from odoo_tenancy.cluster.kinds import path

WHAT = "apply Deployment odoo-acme/web"


def answered(
    code: int, status: dict[str, Any] | bytes, kind: str = "Deployment", **headers: str
) -> OperatorError:
    body = status if isinstance(status, bytes) else json.dumps(status).encode()
    return failure(WHAT, kind, code, body, headers)


@pytest.mark.parametrize(
    ("code", "status", "type_", "reason"),
    [
        (400, {"message": "strict decoding error"}, Refused, "Invalid"),
        (401, {"message": "Unauthorized"}, Unavailable, "Unauthorized"),
        (403, {"message": 'User "x" cannot'}, Refused, "Forbidden"),
        (403, {"message": "exceeded quota: tenant"}, Refused, "QuotaExceeded"),
        (403, {"details": {"causes": [{"reason": "NamespaceTerminating"}]}}, Waiting, "NamespaceTerminating"),
        (404, {"details": {"name": "odoo-acme", "kind": "namespaces"}}, Waiting, "NotFound"),
        (404, b"404 page not found", Waiting, "KindNotServed"),
        (409, {"reason": "Conflict"}, Conflict, "Conflict"),
        (409, {"reason": "AlreadyExists"}, Conflict, "AlreadyExists"),
        (409, {"details": {"causes": [{"reason": "FieldManagerConflict"}]}}, FieldsTaken, "FieldsTaken"),
        (422, {"message": "spec.selector: field is immutable"}, Refused, "ImmutableField"),
        (422, {"message": "spec.replicas: must be positive"}, Refused, "Invalid"),
        (429, {"message": "too many requests"}, Unavailable, "ApiServerUnavailable"),
        (500, {"message": "failed calling webhook"}, Unavailable, "ApiServerUnavailable"),
        (503, b"<html>no upstream</html>", Unavailable, "ApiServerUnavailable"),
    ],
)
def test_each_answer_has_its_error(
    code: int, status: dict[str, Any] | bytes, type_: type[OperatorError], reason: str
) -> None:
    error = answered(code, status)
    assert (type(error), error.reason) == (type_, reason)
    assert WHAT in error.message


def test_the_servers_wish_to_be_left_alone_is_respected() -> None:
    assert answered(429, {}, **{"Retry-After": "7"}).retry_after == 7
    assert answered(503, {"details": {"retryAfterSeconds": 3}}).retry_after == 3
    assert answered(503, {}, **{"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}).retry_after is None


def test_the_servers_words_about_a_secret_are_left_out() -> None:
    causes = [{"field": "data[tls.key]", "message": 'Invalid value: "hunter2"'}]
    error = answered(
        422, {"message": "hunter2", "reason": "Invalid", "details": {"causes": causes}}, kind="Secret"
    )
    assert "hunter2" not in error.message
    assert "data[tls.key]" in error.message


def test_no_answer_is_unavailable() -> None:
    error = unreachable(WHAT, TimeoutError())
    assert (type(error), error.message) == (Unavailable, f"Could not {WHAT}: no answer in time")


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (("v1", "Namespace", "", "a"), "/api/v1/namespaces/a"),
        (("v1", "Namespace", "a", "a"), "/api/v1/namespaces/a"),
        (("v1", "Pod", "a", "b", "log"), "/api/v1/namespaces/a/pods/b/log"),
        (("apps/v1", "Deployment", "", ""), "/apis/apps/v1/deployments"),
        (("apps/v1", "Deployment", "a", ""), "/apis/apps/v1/namespaces/a/deployments"),
        (("v1", "ConfigMap", "../x", "a?b"), "/api/v1/namespaces/..%2Fx/configmaps/a%3Fb"),
    ],
)
def test_paths(where: tuple[str, ...], expected: str) -> None:
    assert path(*where) == expected


def test_a_kind_that_is_not_in_the_table_is_a_mistake() -> None:
    with pytest.raises(LookupError, match=r"Widget of example\.com/v1"):
        path("example.com/v1", "Widget")
