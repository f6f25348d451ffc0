"""Is Odoo's cron process at work? A liveness probe, run in Odoo's own image.

Fails where a scheduled action is long overdue and none is being worked on: while one runs, Odoo holds the
lock of its row in ``ir_cron``, so a long one is no reason to be restarted. A database that does not answer is
none either: a restart would not mend it.
"""

from __future__ import annotations

import configparser
import sys

import psycopg2

OVERDUE_MINUTES = 15
"""Odoo looks for due actions every minute."""

SQL = """
SELECT id FROM ir_cron
 WHERE active AND nextcall < now() AT TIME ZONE 'UTC' - make_interval(mins => %s)
"""


def main(path: str) -> int:
    """0 alive, 1 stuck."""
    # As Odoo reads it: without interpolation, a password may have a per cent sign.
    parser = configparser.RawConfigParser()
    parser.read(path)
    option = parser["options"].__getitem__
    try:
        connection = psycopg2.connect(
            dbname=option("db_name"),
            user=option("db_user"),
            password=option("db_password"),
            host=option("db_host"),
            port=option("db_port"),
            sslmode=option("db_sslmode"),
            connect_timeout=5,
            application_name="cron-probe",
        )
        with connection, connection.cursor() as cursor:
            return _verdict(cursor)
    except psycopg2.Error as error:
        print(f"the database cannot be asked, which says nothing about cron: {error}")
        return 0


def _verdict(cursor: psycopg2.extensions.cursor) -> int:
    cursor.execute("SET LOCAL statement_timeout = '5s'")
    cursor.execute(SQL, [OVERDUE_MINUTES])
    overdue = {row[0] for row in cursor.fetchall()}
    if not overdue:
        return 0
    cursor.execute("SELECT id FROM ir_cron WHERE active FOR SHARE SKIP LOCKED")
    idle = {row[0] for row in cursor.fetchall()}
    cursor.execute("SELECT count(*) FROM ir_cron WHERE active")
    if cursor.fetchone() != (len(idle),):
        return 0
    print(f"overdue for {OVERDUE_MINUTES} minutes, and none at work: ir_cron {sorted(overdue)}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "/etc/odoo/odoo.conf"))
