"""Some looks of the operator at an object, and exactly what it asked of the API server and of PostgreSQL meanwhile."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tests.support.operator_process import OperatorProcess
from tests.support.waiting import eventually

LOGGED = ("log_line_prefix = '%m [%p] %u '", "log_timezone = 'UTC'")
"""Settings of a PostgreSQL whose log ``statements`` reads."""

MEASURES = "WITH a AS"
"""How the statement begins that tells what goes on in the databases; right before it goes that for their sizes."""


@dataclass(frozen=True)
class Looks:
    """Looks at one object, one after the other: what is asked for it between these times is asked by them, and all
    that they ask is."""

    count: int
    since: datetime
    """The end of the look before the first."""
    until: datetime
    """The end of the last."""

    @property
    def seconds(self) -> float:
        return (self.until - self.since).total_seconds()

    def __contains__(self, moment: datetime) -> bool:
        return self.since < moment <= self.until


@dataclass(frozen=True)
class Call:
    """A request to the API server."""

    at: datetime
    verb: str
    resource: str
    """Plural of the kind; of a request for no object its path."""
    namespace: str
    name: str


def further_looks(operator: OperatorProcess, names: Sequence[str], count: int) -> dict[str, Looks]:
    """Wait for so many more looks at each object of these names; each was looked at before."""
    before = {name: len(operator.looks(name)) for name in names}
    eventually(lambda: all(len(operator.looks(n)) >= before[n] + count for n in names), "further looks")
    ends = {
        name: [datetime.fromisoformat(line["timestamp"]) for line in operator.looks(name)[before[name] - 1 :]]
        for name in names
    }
    return {name: Looks(len(at) - 1, at[0], at[-1]) for name, at in ends.items()}


def calls(audit_log: Path, user: str) -> Iterator[Call]:
    """What a user asked of the API server; the Lease and watches left out, also those that wait for a kind that isn't
    there."""
    for line in audit_log.read_text().splitlines():
        if f'"{user}"' not in line or not line.endswith("}"):
            continue
        event = json.loads(line)
        about = event.get("objectRef", {})
        resource = about.get("resource", event["requestURI"])
        watches = event["verb"] == "watch" or (event["verb"], event["responseStatus"]["code"]) == (
            "list",
            404,
        )
        if not watches and resource != "leases":
            yield Call(
                datetime.fromisoformat(event["requestReceivedTimestamp"]),
                event["verb"],
                resource,
                about.get("namespace", ""),
                about.get("name", ""),
            )


def statements(log: str, user: str) -> Iterator[tuple[datetime, str]]:
    """When which statements were executed as a user, by PostgreSQL's log; of each its first two lines."""
    logged = rf"^(\S+ \S+) UTC \[\d+\] {user} LOG: +(?:execute [^:]+|statement): \s*(.*\n.*)"
    for at, text in re.findall(logged, log, re.MULTILINE):
        yield datetime.fromisoformat(f"{at}+00:00"), text


def nothing_written_lately(audit_log: Path, user: str, postgres_log: str, admin: str) -> bool:
    """Whether two measurements have passed since the operator's last write: the first may find a database that has grown
    since it was made, and that is news."""
    written = max(call.at for call in calls(audit_log, user) if call.verb not in ("get", "list"))
    measured = [at for at, text in statements(postgres_log, admin) if MEASURES in text and at > written]
    return len(measured) >= 2
