"""Options of odoo.conf that are the operator's, not the user's."""

from __future__ import annotations

OWNED_OPTIONS: tuple[str, ...] = (
    "admin_passwd",
    "data_dir",
    "db_host",
    "db_maxconn",
    "db_maxconn_gevent",
    "db_name",
    "db_password",
    "db_port",
    "db_replica_host",
    "db_replica_port",
    "db_sslmode",
    "db_template",
    "db_user",
    "dbfilter",
    "gevent_port",
    "http_enable",
    "http_interface",
    "http_port",
    "list_db",
    "logfile",
    "longpolling_port",
    "max_cron_threads",
    "pidfile",
    "proxy_mode",
    "server_wide_modules",
    "syslog",
    "without_demo",
    "workers",
    "xmlrpc_interface",
    "xmlrpc_port",
)
"""Database, ports, processes and what guards them: derived from the spec. With them stand former names of the
same options (``xmlrpc_port``, ``longpolling_port``), ``dbfilter`` (it makes Odoo list databases by owner, and
an owner that can't log in has none) and files that a read-only root has no place for."""
