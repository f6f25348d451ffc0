"""Put a restored filestore in the living one's place, by two renames: ``python -m odoo_tenancy.jobs.filestore_swap``.

What lives is kept beside, and comes back the same way. Killed anywhere, it is run again with the same words and goes on
from where the folders are; nothing is written down about it. As a Job it reads its work from the usual file; by hand it
takes the folder and the three names.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.observe import NoHook, WriteHook
from odoo_tenancy.api.restore_work import SwapWork
from odoo_tenancy.api.work import DONE, Outcome
from odoo_tenancy.jobs.entry import run_job


def swap(filestores: Path, living: str, new: str, former: str, hook: WriteHook | None = None) -> None:
    """``new`` becomes ``living``, which becomes ``former``. Nobody may use any of them meanwhile.

    With ``new`` and ``former`` exchanged, after a swap, it is undone.

    Args:
        filestores: the folder that they are in, on one volume.
        former: a name that nobody uses before the first run; the same in every further one.

    Raises:
        Refused: ``NameInvalid``; ``NothingToSwap``: there is neither new nor living; ``SwapUnclear``: all three are
            there, so that somebody made a living one anew in between.
    """
    hook = hook or NoHook()
    for name in (living, new, former):
        check_name(name)
    at = {name: (filestores / name).is_dir() for name in (living, new, former)}
    if at[new] and at[living] and at[former]:
        raise Refused(
            "SwapUnclear",
            f"{filestores} has {living}, {new} and {former}: Odoo made a filestore anew after the first half of a swap. "
            f"Move what is in {living} into {former}, remove the empty {living}, and run it again.",
        )
    if not at[new] and not at[living]:
        raise Refused("NothingToSwap", f"{filestores} has neither {new} nor {living}: restore again.")
    if at[new] and at[living]:
        _rename(filestores, living, former, hook)
    elif at[new] and not at[former]:
        (filestores / former).mkdir()  # nothing lived: there is something to come back all the same
    if at[new]:
        _rename(filestores, new, living, hook)


def check_name(name: str) -> None:
    """Of a folder beside the living filestore.

    Raises:
        Refused: ``NameInvalid``.
    """
    if not name or name.startswith(".") or "/" in name:
        raise Refused("NameInvalid", f"{name!r} is no name of a filestore: a database's name is.")


def _rename(filestores: Path, before: str, after: str, hook: WriteHook) -> None:
    what = f"rename filestore {before} to {after}"
    hook.before_write(what)
    (filestores / before).rename(filestores / after)
    descriptor = os.open(filestores, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    hook.after_write(what)


async def run(work: SwapWork) -> Outcome:
    """As a Job does it."""
    await asyncio.to_thread(swap, Path(work.filestores), work.living, work.new, work.former)
    return Outcome(reason=DONE, message=f"{work.filestores}/{work.living} is what {work.new} was.")


def main() -> int:
    """In a pod that has the volume."""
    if len(sys.argv) == 1:
        return run_job(SwapWork, run)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("filestores", type=Path, help="<data_dir>/filestore")
    parser.add_argument("living")
    parser.add_argument("new")
    parser.add_argument("former")
    options = parser.parse_args()
    swap(options.filestores, options.living, options.new, options.former)
    return 0


if __name__ == "__main__":
    sys.exit(main())
