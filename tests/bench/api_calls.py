"""The operator's calls of the API server between two moments at which nothing is worked on: by its own metrics, and by the
server's audit log, which the operator cannot forget to write."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from tests.bench.laboratory import OPERATOR_USER, Laboratory
from tests.bench.process import Counters

from devcluster.steps import wait_for

_REQUESTS = "odoo_tenancy_api_requests_total"

Calls = Counter[tuple[str, str]]
"""By verb and plural, or kind."""


def client_calls(before: Counters, after: Counters) -> Calls:
    """By verb and kind. The Lease is renewed and the watches go on whatever there is to do; a watch of a kind that
    isn't served asks for it now and then, which is the 404 of a list."""
    calls: Calls = Counter()
    for key, value in after.items():
        labels = dict(key[1])
        if key[0] != _REQUESTS or labels["kind"] == "Lease":
            continue
        if not _of_watch(labels["verb"], int(labels["code"])):
            calls[labels["verb"], labels["kind"]] += int(value - before.get(key, 0))
    return +calls


def server_calls(lab: Laboratory, began: datetime, ended: datetime) -> Calls:
    """The same, by verb and plural, from the API server's audit log."""
    calls: Calls = Counter()
    for event in _audit(lab):
        at = datetime.fromisoformat(event["stageTimestamp"])
        resource = event.get("objectRef", {}).get("resource", event["requestURI"])
        own = event["user"]["username"] == OPERATOR_USER and resource != "leases"
        if own and began < at < ended and not _of_watch(event["verb"], event["responseStatus"]["code"]):
            calls[event["verb"], resource] += 1
    return calls


def _of_watch(verb: str, code: int) -> bool:
    return verb == "watch" or (verb, code) == ("list", 404)


def _audit(lab: Laboratory) -> Iterator[dict[str, Any]]:
    """Events of finished calls. The server writes them as it answers; the last line may be half there."""
    _await_what_was_answered(lab)
    for line in lab.plane.audit_log.read_text().splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event["stage"] == "ResponseComplete":
            yield event


def _await_what_was_answered(lab: Laboratory) -> None:
    """The log is written behind the answer's back: a call of ours that stands in it comes after all that were counted."""
    mark = secrets.token_hex(8)
    lab.kubectl.do("Mark in the audit log", "get", "--raw", f"/version?mark={mark}")
    wait_for(
        "Mark in the audit log",
        lambda: mark in lab.plane.audit_log.read_text(),
        seconds=30,
        what_to_do=f"Read {lab.plane.audit_log}: the API server writes a line for each call.",
    )
