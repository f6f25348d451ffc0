"""``odoo tenancy``: ``odoo server`` within the tenant from the first connection on.

The server looks for its database in ``postgres`` before it loads any module, so a server-wide module comes too late
for a role that may not connect there.
"""

from __future__ import annotations

from odoo.addons import odoo_tenancy
from odoo.cli import server
from odoo.cli.command import Command
from odoo.tools import config


class Tenancy(Command):
    """Start the server with its bus in its own database and, where Redis is configured, its sessions there."""

    def run(self, args: list[str]) -> None:
        """Takes the arguments of ``odoo server``."""
        config.parser.prog = self.prog
        config.parse_config(args, setup_logging=True)
        odoo_tenancy.activate()
        server.main(args)
