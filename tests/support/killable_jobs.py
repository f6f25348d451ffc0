"""Jobs as real processes on real servers, killed with all that they started before or after one of their outside steps."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import file_steps
from tests.support.backup_world import BackupWorld
from tests.support.file_steps import FileSteps
from tests.support.job_process import Ended, JobProcesses
from tests.support.postgres_steps import PostgresSteps, postgres_steps
from tests.support.s3_steps import S3Steps, s3_steps
from tests.support.steps import DeathAtStep, Steps
from tests.support.waiting import PATIENCE

from odoo_tenancy.api.meta import ApiModel

KILLED = -9


@dataclass(frozen=True)
class KillableJobs:
    """Each reaches the world's servers through doors at which its steps are counted."""

    world: BackupWorld
    processes: JobProcesses
    s3: S3Steps
    postgres: PostgresSteps
    files: FileSteps

    async def run(self, module: str, work: ApiModel, death: DeathAtStep | None = None) -> tuple[Ended, Steps]:
        """From its beginning to its end.

        Args:
            module: of ``odoo_tenancy.jobs``.
        """
        uid = secrets.token_hex(8)
        steps = Steps(lambda: self.processes.kill(uid), death)
        self.s3.steps = self.postgres.steps = self.files.steps = steps
        self.s3.count_reads = module == "restore"
        text = work.model_dump_json(by_alias=True)
        for port, door in (
            (self.world.s3.port, self.s3.port),
            (self.world.postgres.port, self.postgres.port),
        ):
            text = text.replace(f'localhost:{port}"', f'localhost:{door}"')
            text = text.replace(f'"port":{port}', f'"port":{door}')
        environment = {
            "PGPASSWORD": self.world.postgres.superuser_password,
            file_steps.PORT: str(self.files.port),
            file_steps.FOLDER: str(self.world.filestore.parent),
            **self.world.s3.root.environment,
        }
        files = {"work.json": text.encode()}
        self.processes.start(uid, f"odoo_tenancy.jobs.{module}", files, environment, self.world.folder)
        await asyncio.to_thread(self.processes.running[uid].wait, PATIENCE)
        ended = self.processes.ended(uid)
        assert ended is not None
        self.processes.forget(uid)
        return ended, steps


@dataclass
class Disturbance:
    """One Job that is killed once, and begun again with the same work, as its next pod or the operator's next turn does."""

    jobs: KillableJobs
    death: DeathAtStep | None = None
    steps: list[str] = field(default_factory=list)
    """Of the first one."""
    came: bool = False
    """Whether it died."""

    async def __call__(
        self, module: str, work: ApiModel, at_once: Callable[[], Awaitable[object]] | None = None
    ) -> str:
        """Its last words, when it ended well.

        Args:
            at_once: called right after the death, to see what is true then.
        """
        ended, steps = await self.jobs.run(module, work, self.death)
        self.steps, self.came = steps.taken, steps.dead
        if self.came:
            assert ended.code == KILLED, ended
            if at_once is not None:
                await at_once()
            ended, _ = await self.jobs.run(module, work)
        assert ended.code == 0, (self.death, self.steps, ended.message)
        return ended.message


@asynccontextmanager
async def killable_jobs(world: BackupWorld, directory: Path) -> AsyncIterator[KillableJobs]:
    """None runs on after the block."""
    processes = JobProcesses(directory)
    with s3_steps(world.s3) as s3, file_steps.file_steps() as files:
        async with postgres_steps(world.postgres) as postgres:
            try:
                yield KillableJobs(world, processes, s3, postgres, files)
            finally:
                processes.close()
