"""``database.maxSize``: how full a database is, and what follows. Reckoned from what was measured; nothing is asked."""

from __future__ import annotations

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.types import parse_quantity
from odoo_tenancy.desired import names
from odoo_tenancy.reconcile.figures import Figures, Level, Told
from odoo_tenancy.reconcile.look import Look
from odoo_tenancy.services.postgres import Inventory

WARN, CALM = 0.80, 0.75
"""Shares of ``maxSize``: from the one on people are warned, below the other they are not any more."""
RELEASE = 0.95
"""A full database takes rows again below this share. Were it 1, the next few rows would make it full again, and each
turn ends the tenant's sessions."""
NEWS = 0.05
"""Of ``maxSize``, or where there is none of the size itself: a smaller change of size is written nowhere."""
LEAST_NEWS = 1 << 20
"""Bytes: the same."""
CONNECTIONS_NEWS = 0.25
"""Of the connection limit: the same for open connections."""

LOOK_AGAIN = 60.0
"""Seconds until a full tenant is looked at again; a measurement that finds it smaller wakes it at once."""


def level(size: int | None, most: int | None, before: Level) -> Level:
    """How full a database of ``size`` bytes is that may have ``most``. Not measured yet: as it was."""
    if most is None:
        return "Fine"
    if size is None:
        return before
    if size >= most or (before == "Full" and size >= RELEASE * most):
        return "Full"
    if size >= WARN * most or (before != "Fine" and size >= CALM * most):
        return "Warned"
    return "Fine"


def level_of(look: Look, inventory: Inventory) -> Level:
    """By the last measurement. Whether it was full before, the server itself tells, also an operator that just began.

    While a VACUUM FULL runs it stays full: its release ends the sessions in the database, that one's too.
    """
    before: Level = "Fine"
    if names.restricted_role(look.context.claim) in inventory.roles:
        before = "Full"
        if look.postgres.figures.vacuuming(look.key):
            return before
    elif look.held("DatabaseReady", "NearMaxSize"):
        before = "Warned"
    return level(look.postgres.figures.sizes.get(names.database(look.context.claim)), _most(look), before)


def say(look: Look, found: Level) -> None:
    """DatabaseReady of a database that is there and as it should be.

    Raises:
        Refused: ``DatabaseFull``, with the arithmetic.
    """
    name, asked, most = names.database(look.context.claim), look.tenant.spec.database.max_size, _most(look)
    size = look.postgres.figures.sizes.get(name)
    measured = "" if size is None else f"{_mebi(size)} of "
    if found == "Full" and most is not None:
        raise Refused(
            "DatabaseFull",
            f"Database {name} has {measured}spec.database.maxSize {asked}: what is in it is read, changed and deleted, "
            f"but nothing is added until it has less than {_mebi(RELEASE * most)} (95 %). Raise maxSize above "
            f"{_mebi((size or most) / RELEASE)}; or delete records and then annotate this OdooTenant with "
            "odootenancy.io/vacuum-full=<any new value>, as deleting alone gives no room back.",
            LOOK_AGAIN,
        )
    if found == "Warned" and most is not None:
        message = f"Database {name} has {measured}spec.database.maxSize {asked}; at 100 % nothing can be added to it"
        look.report.good("DatabaseReady", "NearMaxSize", message)
    else:
        look.report.good("DatabaseReady", "Ready", f"Database {name} is as it should be")


def show(look: Look, found: Level) -> None:
    """Choose what the status says: what it said before, unless that is far from what was measured."""
    database, figures = names.database(look.context.claim), look.postgres.figures
    limit, before = look.context.effective.connections.limit, look.tenant.status.database
    told = Told(database, _most(look), limit, found, before.size_bytes, before.connections)
    size, activity = figures.sizes.get(database), figures.activity_of(database)
    if size is not None and _is_size_news(told, size):
        look.database_status["sizeBytes"] = size
    if activity is not None and _is_connections_news(told, activity.connections):
        look.database_status["connections"] = activity.connections
    figures.told[look.key] = Told(
        database,
        told.most,
        limit,
        found,
        look.database_status.get("sizeBytes", before.size_bytes),
        look.database_status.get("connections", before.connections),
    )


def is_news(figures: Figures, told: Told) -> bool:
    """Whether what was measured is worth a look at its tenant. What its status never said waits for the next look."""
    size, activity = figures.sizes.get(told.database), figures.activity_of(told.database)
    if size is not None and level(size, told.most, told.level) != told.level:
        return True
    if size is not None and told.size_bytes is not None and _is_size_news(told, size):
        return True
    if activity is None or told.connections is None:
        return False
    return _is_connections_news(told, activity.connections)


def _is_size_news(told: Told, size: int) -> bool:
    before = told.size_bytes
    return before is None or abs(size - before) >= max(NEWS * (told.most or size), LEAST_NEWS)


def _is_connections_news(told: Told, count: int) -> bool:
    before = told.connections
    return before is None or abs(count - before) >= max(CONNECTIONS_NEWS * told.connection_limit, 2)


def _most(look: Look) -> int | None:
    size = look.tenant.spec.database.max_size
    return None if size is None else int(parse_quantity(size))


def _mebi(count: float) -> str:
    return f"{count / (1 << 20):.1f} MiB"
