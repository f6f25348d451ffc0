"""The Job as a process of its own: its exit status, its last words, and its end when it is told to stop."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.backups import Storage, backup_work, job_environment
from tests.support.proxy import Proxy
from tests.support.s3 import S3Process
from tests.support.small_odoo import SmallOdoo
from tests.support.waiting import eventually

from odoo_tenancy.api.backup_work import BackupOutcome, PrepareWork
from odoo_tenancy.api.work import Progress
from odoo_tenancy.desired.backup_jobs import GRACE_SECONDS
from odoo_tenancy.jobs.prepare import prepare

SOURCE = Path(__file__).parents[3] / "operator"
SCRIPT = """
import sys
from pathlib import Path
from odoo_tenancy.api.backup_work import BackupWork
from odoo_tenancy.jobs.backup import make
from odoo_tenancy.jobs.entry import run_job
sys.exit(run_job(BackupWork, make, work_file=Path(sys.argv[1]), termination=Path(sys.argv[2])))
"""


class JobProcess:
    """Like the Job's container, with other places for its files."""

    def __init__(self, odoo: SmallOdoo, storage: Storage) -> None:
        self.end = storage.folder / "termination-log"
        work = storage.folder / "work.json"
        work.write_text(backup_work(odoo, storage).model_dump_json(by_alias=True))
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(work), str(self.end)],
            env={**job_environment(odoo, storage), "PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def outcome(self) -> BackupOutcome:
        return BackupOutcome.model_validate_json(self.end.read_bytes())


@pytest.fixture
async def ready(storage: Storage) -> Storage:
    await storage.repository().init()
    return storage


def test_a_good_one(odoo: SmallOdoo, ready: Storage) -> None:
    job = JobProcess(odoo, ready)
    said, errors = job.process.communicate(timeout=120)
    assert job.process.returncode == 0, errors
    assert job.outcome.reason == "Done"
    steps = [Progress.model_validate(json.loads(line)).step for line in said.splitlines()]
    assert steps == ["database", "filestore", "check"]
    for secret in (odoo.password, *ready.s3.root.environment.values()):
        assert secret not in said + errors


def test_a_failed_one(odoo: SmallOdoo, storage: Storage) -> None:
    job = JobProcess(odoo, storage)
    job.process.communicate(timeout=120)
    assert job.process.returncode == 1
    assert job.outcome.reason == "RepositoryMissing"
    assert job.outcome.again
    assert job.outcome.snapshots is None


def until_it_dumps(odoo: SmallOdoo, job: JobProcess) -> None:
    def dumping() -> bool:
        found = odoo.connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND query LIKE 'COPY public.bulk%%'"
            " AND state = 'active'",
            [odoo.name],
        ).fetchone()
        return bool(found and found[0]) or job.process.poll() is not None

    eventually(dumping, "pg_dump is in the middle of a table", pause=0.005)


async def test_one_that_is_told_to_stop(odoo: SmallOdoo, ready: Storage) -> None:
    """In the middle of the dump: nothing of it runs on, no lock is left, and the end is told."""
    odoo.grow(48)
    job = JobProcess(odoo, ready)
    until_it_dumps(odoo, job)
    os.kill(job.process.pid, signal.SIGTERM)
    _, errors = job.process.communicate(timeout=60)
    assert job.process.returncode == 1, errors
    assert job.outcome.reason == "Interrupted"
    assert job.outcome.again
    assert await ready.repository().locks() == ()
    assert await ready.repository().snapshots() == ()


@pytest.fixture
def behind(s3: S3Process) -> Iterator[Proxy]:
    """A way to the store that can be held up."""
    proxy = Proxy(s3.port)
    yield proxy
    proxy.close()


async def test_one_that_is_told_to_stop_while_the_store_never_answers(
    odoo: SmallOdoo, s3: S3Process, behind: Proxy, tmp_path: Path
) -> None:
    """As at its deadline: it ends within the time that a kubelet gives it, with its last words. The lock that it could not
    take away is taken for that of somebody who is gone before the next backup, which then is a good one."""
    storage = Storage.new(replace(s3, port=behind.port), tmp_path)
    await storage.repository().init()
    odoo.grow(48)
    job = JobProcess(odoo, storage)
    until_it_dumps(odoo, job)
    behind.silence()
    os.kill(job.process.pid, signal.SIGTERM)
    job.process.communicate(timeout=GRACE_SECONDS)
    assert (job.process.returncode, job.outcome.reason) == (1, "Interrupted")
    assert job.outcome.again

    behind.flow()
    assert len(await storage.repository().locks()) == 1
    gone = PrepareWork(repository=storage.place, pod_prefixes=(socket.gethostname()[:-1],))
    await prepare(gone, environment=storage.environment, bucket=storage.bucket)
    assert await storage.repository().locks() == ()
    assert await storage.repository().snapshots() == ()
    again = JobProcess(odoo, storage)
    again.process.communicate(timeout=120)
    assert again.outcome.reason == "Done"
