"""Remove filestores that nobody needs any more: ``python -m odoo_tenancy.jobs.filestore_discard``.

Killed anywhere, it is run again: what is gone already is not missed.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from odoo_tenancy.api.observe import NoHook, WriteHook
from odoo_tenancy.api.restore_work import DiscardWork
from odoo_tenancy.api.work import DONE, Outcome
from odoo_tenancy.jobs import restored_filestore
from odoo_tenancy.jobs.entry import run_job
from odoo_tenancy.jobs.filestore_swap import check_name


def discard(filestores: Path, folders: tuple[str, ...], hook: WriteHook | None = None) -> None:
    """All of these, with what a restore that was not finished left beside them.

    Raises:
        Refused: ``NameInvalid``.
    """
    hook = hook or NoHook()
    for name in folders:
        check_name(name)
    for name in folders:
        hook.before_write(f"remove filestore {name}")
        restored_filestore.discard(filestores / name)
        hook.after_write(f"remove filestore {name}")


async def run(work: DiscardWork) -> Outcome:
    """As a Job does it."""
    await asyncio.to_thread(discard, Path(work.filestores), work.folders)
    return Outcome(reason=DONE, message=f"Removed {', '.join(work.folders)} from {work.filestores}.")


if __name__ == "__main__":
    sys.exit(run_job(DiscardWork, run))
