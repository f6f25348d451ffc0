"""A further tenant of the same modules: a clone of the template, ready in a fraction of the time, and the same Odoo."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median

from tests.bench.dumps import Difference, Dump, differences, parse
from tests.bench.figures import Figure
from tests.bench.local import NAMESPACE, REPEATS, Stage, stage

FRACTION = 0.25
"""Of the cold time, at most."""


@dataclass(frozen=True)
class Expected:
    """A difference that two tenants of the same modules must or may have."""

    table: str
    column: str
    """``*``: any; ``""``: a row that only one has."""
    row: str
    """``*``: any."""
    reason: str

    def covers(self, found: Difference) -> bool:
        """Whether it explains what was found."""
        pairs = ((self.table, found.table), (self.column, found.column), (self.row, found.row))
        return all(wanted in ("*", actual) for wanted, actual in pairs)


EXPECTED = (
    Expected("public.ir_config_parameter", "value", "database.uuid", "identity of its own"),
    Expected("public.ir_config_parameter", "value", "database.secret", "secret of its own"),
    Expected("public.ir_config_parameter", "value", "database.create_date", "timestamp"),
    Expected("public.ir_config_parameter", "write_date", "*", "timestamp"),
    Expected(
        "public.res_users", "password", "2", "the administrator's own password, hashed with its own salt"
    ),
)
"""Everything in which the dump of a warm tenant may differ from that of the cold one that its template came from."""


def run() -> list[Figure]:
    """One cold tenant, whose database becomes the template, then warm ones."""
    with stage() as here:
        cold = here.start("cold")
        warm = [here.start(f"warm-{number}") for number in range(REPEATS)]
        found = list(differences(_dump(here, "cold"), _dump(here, "warm-0")))
    details = {"cold": f"{cold:.1f} s", "warm": [f"{seconds:.1f} s" for seconds in warm]}
    return [
        Figure("warm-start/of-cold", median(warm) / cold, "× the cold start", FRACTION, details),
        Figure("warm-start/ready", median(warm), "s", details={"median of": REPEATS}),
        _compared(found),
    ]


def _compared(found: list[Difference]) -> Figure:
    reasons: Counter[str] = Counter()
    others = []
    for difference in found:
        reason = next((e.reason for e in EXPECTED if e.covers(difference)), None)
        if reason is None:
            others.append(str(difference))
        else:
            reasons[f"{difference.table}.{difference.column} ({reason})"] += 1
    details = {"expected": dict(reasons), "others": others[:20]}
    return Figure("warm-start/other-differences", len(others), "values in the dumps", 0, details)


def _dump(here: Stage, name: str) -> Dump:
    path = "jsonpath={.status.database.name}"
    database = here.kubectl.do(f"Database of {name}", "-n", NAMESPACE, "get", "odootenant", name, "-o", path)
    return parse(here.on_server("pg_dump", "--no-owner", "--no-privileges", database))
