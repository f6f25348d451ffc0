"""``python -m odoo_tenancy.runtime``: the operator's process."""

from __future__ import annotations

import asyncio
import gc
import sys

import structlog
from pydantic import ValidationError

from odoo_tenancy.api.observe import WriteHook
from odoo_tenancy.runtime import logs
from odoo_tenancy.runtime.operator import Operator
from odoo_tenancy.runtime.settings import PREFIX, Settings
from odoo_tenancy.runtime.wiring import KINDS, Build, build_reconcilers


def main(
    build: Build = build_reconcilers, kinds: tuple[str, ...] = KINDS, hook: WriteHook | None = None
) -> int:
    """Run until SIGTERM. The exit status: 0 after a clean stop, 1 after a fault, 2 for settings that cannot
    be."""
    try:
        settings = Settings()
    except ValidationError as refused:
        for error in refused.errors():
            name = "".join(f" {PREFIX}{str(part).upper()}:" for part in error["loc"][:1])
            print(f"Settings refused:{name} {error['msg']}. See docs/settings.md.", file=sys.stderr)
        return 2
    logs.configure(settings.log_format, settings.log_level)
    gc.freeze()  # what was imported stays: no collection need look at it
    try:
        asyncio.run(_run(settings, build, kinds, hook))
    except Exception as error:
        structlog.get_logger("odoo_tenancy.operator").critical("stopped by a fault", exc_info=error)
        return 1
    return 0


async def _run(settings: Settings, build: Build, kinds: tuple[str, ...], hook: WriteHook | None) -> None:
    await Operator(settings, build, kinds, hook).run()


if __name__ == "__main__":
    sys.exit(main())
