"""A filestore of many files costs Python next to nothing for each, and restic a bounded memory."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from dataclasses import dataclass

from tests.support.backups import Storage, backup_work, job_environment
from tests.support.small_odoo import SmallOdoo

from odoo_tenancy.api.backup_work import BackupOutcome

FILES = 200_000
OWN_MIB = 350
"""Twice what it takes here, as restic's."""
MICROSECONDS_A_FILE = 50
"""Of our own processor time, four times what it takes here: the names are read, hashed, and struck out of the list."""
RESTIC_MIB = 400

PROGRAM = """
import json, re, resource, sys, time
from pathlib import Path
from odoo_tenancy.api.backup_work import BackupWork
from odoo_tenancy.jobs.backup import make
from odoo_tenancy.jobs.entry import run_job

begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
status = run_job(BackupWork, make, work_file=Path(sys.argv[1]), termination=Path(sys.argv[2]))
after, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
Path(sys.argv[3]).write_text(json.dumps({
    "seconds": time.monotonic() - begun,
    "own_cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    "own_mebibytes": int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024,
    "child_mebibytes": children.ru_maxrss / 1024,
}))
sys.exit(status)
"""
"""A process of its own, as in a pod: by getrusage a child's peak begins at what its parent had when it forked, and ours
has run other tests before. By /proc it begins with the program."""


@dataclass(frozen=True)
class Cost:
    """Of one backup. Time in seconds, memory at its peak."""

    seconds: float
    own_cpu: float
    own_mebibytes: float
    child_mebibytes: float


def make(odoo: SmallOdoo) -> None:
    """Without a statement for each."""
    for folder in range(256):
        (odoo.filestore / f"{folder:02x}").mkdir(exist_ok=True)
    names = []
    for number in range(FILES):
        content = b"content %d" % number
        checksum = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        names.append(f"{checksum[:2]}/{checksum}")
        (odoo.filestore / names[-1]).write_bytes(content)
    odoo.connection.execute(
        "INSERT INTO ir_attachment (name, store_fname, checksum) SELECT 'a', f, right(f, 40) FROM unnest(%s::text[]) f",
        [names],
    )


async def run_backup(odoo: SmallOdoo, storage: Storage) -> Cost:
    """As its pod does, from its work to its outcome."""
    work, termination, cost = (storage.folder / each for each in ("work.json", "termination", "cost.json"))
    work.write_text(backup_work(odoo, storage).model_dump_json(by_alias=True))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(work), str(termination), str(cost),
        env={**job_environment(odoo, storage), "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert await process.wait() == 0, termination.read_text()
    assert BackupOutcome.model_validate_json(termination.read_bytes()).filestore_files == FILES + 20
    return Cost(**json.loads(cost.read_text()))


async def test_two_hundred_thousand_files(odoo: SmallOdoo, storage: Storage) -> None:
    make(odoo)
    await storage.repository().init()
    cost = await run_backup(odoo, storage)
    print(
        f"{FILES} files: {cost.seconds:.1f} s; of our own {cost.own_cpu:.2f} CPU seconds,"
        f" {cost.own_cpu / FILES * 1e6:.0f} us a file, {cost.own_mebibytes:.0f} MiB;"
        f" the largest child {cost.child_mebibytes:.0f} MiB"
    )
    assert cost.own_cpu < FILES * MICROSECONDS_A_FILE / 1e6
    assert cost.own_mebibytes < OWN_MIB
    assert cost.child_mebibytes < RESTIC_MIB
