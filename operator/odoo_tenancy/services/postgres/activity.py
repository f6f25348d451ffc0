"""Who is loud on a server: figures of every tenant's database, by one query for all of them.

An admin who is no superuser sees what a session does only of roles whose member it is (pg_stat_activity's columns
are empty otherwise); it is a member of every role that the operator made. What a stranger does in a tenant's database
counts as a connection, and no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from psycopg.sql import SQL

from odoo_tenancy.services.postgres.address import PostgresAddress
from odoo_tenancy.services.postgres.connections import STATEMENT_TIMEOUT, Connections
from odoo_tenancy.services.postgres.errors import translated
from odoo_tenancy.services.postgres.writer import Writer


@dataclass(frozen=True, slots=True)
class DatabaseActivity:
    """One tenant's. What is counted is counted since the server's statistics were last reset."""

    connections: int
    """Open now."""
    longest_transaction_seconds: float
    """Of those that are open now; 0: none is."""
    lock_waits: int
    """Sessions that wait for a lock now."""
    deadlocks: int
    """Counted."""
    temp_bytes: int
    """Written to temporary files; counted."""
    blocks_hit: int
    """Blocks of 8 KiB found in shared memory; counted."""
    blocks_read: int
    """Blocks asked of the kernel; counted."""


@dataclass(frozen=True, slots=True)
class ServerActivity:
    """One server."""

    databases: Mapping[str, DatabaseActivity]
    """Those whose name begins with ``t_``."""
    is_replica: bool
    replay_lag_seconds: float | None
    """Of a replica: the age of the newest transaction that it shows; 0 where it has replayed all that it received and
    goes on receiving. ``None`` on a primary, or where it has shown none yet."""
    standbys: int
    """Connected to a primary."""
    slot_lag_bytes: Mapping[str, int]
    """Of a primary: what each replication slot has still to fetch. Lag in seconds is hidden from an admin without
    pg_monitor: ask the replica."""


_LAG = SQL("""CASE
      WHEN NOT pg_catalog.pg_is_in_recovery() THEN NULL
      WHEN pg_catalog.pg_last_wal_receive_lsn() <= pg_catalog.pg_last_wal_replay_lsn()
        AND EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver) THEN 0
      ELSE extract(epoch FROM clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp()) END""")
"""A standby that lost its primary has replayed all that it received, and falls behind all the same. One that has just
started replays what it had, and counts what it receives from there on: less, until there is something new."""

_QUERY = SQL("""
WITH a AS (
  SELECT datid, count(*) AS connections,
    coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0) AS longest
  FROM pg_catalog.pg_stat_activity WHERE datid IS NOT NULL GROUP BY 1
), w AS (
  SELECT s.datid, count(DISTINCT l.pid) AS waits
  FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity s USING (pid) WHERE NOT l.granted GROUP BY 1
)
SELECT json_build_object(
  'databases', (SELECT json_object_agg(d.datname, json_build_object(
      'connections', coalesce(a.connections, 0), 'longest_transaction_seconds', coalesce(a.longest, 0),
      'lock_waits', coalesce(w.waits, 0), 'deadlocks', d.deadlocks, 'temp_bytes', d.temp_bytes,
      'blocks_hit', d.blks_hit, 'blocks_read', d.blks_read))
      FROM pg_catalog.pg_stat_database d LEFT JOIN a USING (datid) LEFT JOIN w USING (datid)
      WHERE d.datname ~ '^t_'),
  'is_replica', pg_catalog.pg_is_in_recovery(),
  'replay_lag_seconds', {lag},
  'standbys', (SELECT count(*) FROM pg_catalog.pg_stat_replication),
  'slot_lag_bytes', CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN (
      SELECT json_object_agg(slot_name, pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn))
      FROM pg_catalog.pg_replication_slots WHERE restart_lsn IS NOT NULL) END
)""").format(lag=_LAG)


async def read(writer: Writer) -> ServerActivity:
    """One round trip."""
    with translated(writer.address, "activity"):
        async with writer.connections.admin() as connection:
            row = await (await connection.execute(_QUERY)).fetchone()
    assert row is not None
    found = row[0]
    return ServerActivity(
        databases=MappingProxyType(
            {name: DatabaseActivity(**figures) for name, figures in (found["databases"] or {}).items()}
        ),
        is_replica=found["is_replica"],
        replay_lag_seconds=_seconds(found["replay_lag_seconds"]),
        standbys=found["standbys"],
        slot_lag_bytes=MappingProxyType(
            {name: max(0, int(lag)) for name, lag in (found["slot_lag_bytes"] or {}).items()}
        ),
    )


async def replay_lag(address: PostgresAddress) -> float | None:
    """Seconds by which a server that nothing else is asked of is behind, as ``ServerActivity`` has it, by one login.

    Raises:
        PostgresUnreachable, PostgresCertificateRefused, PostgresPasswordRejected, PostgresLoginRefused.
    """
    connections = Connections(address, 1, STATEMENT_TIMEOUT)
    with translated(address, "replay lag"):
        async with connections.elsewhere(address.database) as connection:
            row = await (await connection.execute(SQL("SELECT {}").format(_LAG))).fetchone()
    assert row is not None
    return _seconds(row[0])


def _seconds(lag: float | Decimal | None) -> float | None:
    return None if lag is None else max(0.0, float(lag))
