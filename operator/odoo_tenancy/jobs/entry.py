"""How a Job begins and ends: its work read from a file, SIGTERM taken for a wish to stop, and its end told whatever
happens."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from odoo_tenancy.api.meta import ApiModel
from odoo_tenancy.api.work import DONE, TERMINATION_MESSAGE, WORK_FILE, Outcome
from odoo_tenancy.jobs.report import UNFORESEEN, failure, leave

Work = TypeVar("Work", bound=ApiModel)

log = logging.getLogger(__name__)


def run_job(
    kind: type[Work],
    do: Callable[[Work], Awaitable[Outcome]],
    *,
    work_file: Path = Path(WORK_FILE),
    termination: Path = Path(TERMINATION_MESSAGE),
) -> int:
    """Do the work of the file. Its outcome, good or bad, becomes the termination message.

    Returns:
        The exit status: 0 only if all is well: ``do`` ended without an error and says ``Done``.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    try:
        work = kind.model_validate_json(work_file.read_bytes())
        outcome = asyncio.run(_until_told_to_stop(do, work))
        log.info("%s: %s", outcome.reason, outcome.message)
        leave(outcome, termination)
    except (Exception, asyncio.CancelledError) as error:
        reason, message, again = failure(error)
        leave(Outcome(reason=reason, message=message, again=again), termination)
        # The traceback of what nobody foresaw; what was foreseen says all in its message.
        log.error("%s: %s", reason, message, exc_info=error if reason == UNFORESEEN else None)
        return 1
    return 0 if outcome.reason == DONE else 1


async def _until_told_to_stop(do: Callable[[Work], Awaitable[Outcome]], work: Work) -> Outcome:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await do(work)
