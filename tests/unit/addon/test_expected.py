"""How a function of Odoo's is recognised, or not."""

from __future__ import annotations

import pytest

from odoo_addons.odoo_tenancy.expected import faults

GOOD = """
class Bus:
    def loop(self):
        def inner():
            with odoo.sql_db.db_connect('postgres').cursor() as cr:
                cr.execute("listen imbus")
        inner()
"""


@pytest.mark.parametrize("spelling", ["odoo.sql_db.db_connect('postgres')", "sql_db.db_connect('postgres')"])
def test_both_ways_to_spell_it(spelling: str) -> None:
    source = GOOD.replace("odoo.sql_db.db_connect('postgres')", spelling)
    assert list(faults(source, "Bus.loop", "imbus")) == []


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("def loop", "def run", "is missing"),
        ("class Bus", "class Other", "is missing"),
        # Bound when the module was imported: the patch would not reach it.
        ("odoo.sql_db.db_connect", "db_connect", "doesn't call"),
        ("'postgres'", "dbname", "doesn't call"),
        ("odoo.sql_db.db_connect('postgres')", "psycopg2.connect(dbname='postgres')", "doesn't call"),
        ("imbus", "other", "doesn't name the channel imbus"),
    ],
)
def test_whatever_differs_is_told(before: str, after: str, fault: str) -> None:
    [found] = faults(GOOD.replace(before, after), "Bus.loop", "imbus")
    assert found.startswith(fault)
