"""Backup, restore and verification of about a gigabyte of database and a gigabyte of files, each beside what a script
would do: ``pg_dump``, ``tar``, ``zstd``, ``pg_restore`` and the same S3 server.

Our Jobs are the real ones, as processes of this machine. PostgreSQL, MinIO and restic are real.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TypeVar

from tests.bench.big_tenant import FILES, BigTenant
from tests.bench.figures import Figure
from tests.bench.local import REPEATS
from tests.bench.process import ROOT
from tests.support.backups import Storage, backup_work, job_environment, manifest_of
from tests.support.postgres import PostgresProcess, installed_versions, running_postgres
from tests.support.s3 import REGION, S3Process, running_minio
from tests.support.small_odoo import SmallOdoo, small_odoo

from odoo_tenancy.api.backup_work import DUMP, BackupOutcome
from odoo_tenancy.api.meta import ApiModel
from odoo_tenancy.api.restore_work import RestoreOutcome, RestoreWork
from odoo_tenancy.api.verify_work import VerifyOutcome, VerifyWork
from odoo_tenancy.api.work import DatabasePlace

MEBIBYTES = int(os.environ.get("BENCH_BACKUP_MEBIBYTES", "1024"))
"""Of the database, and of the files."""

BYTES_LIMIT = 0.40
FILES_LIMIT = 0.25
RESTORE_LIMIT = 1.15
VERIFY_LIMIT = 1.0

_DUMP = 'pg_dump -Fc -Z0 -d "$DSN" | zstd -q -T0 | "$PYTHON" -m tests.bench.s3_pipe put "$BUCKET" "$PLACE/dump.zst"'
_TAR = (
    'tar -C "$FILES" -c . | zstd -q -T0 | "$PYTHON" -m tests.bench.s3_pipe put "$BUCKET" "$PLACE/files.zst"'
)
_RESTORE = """
( "$PYTHON" -m tests.bench.s3_pipe get "$BUCKET" "$PLACE/dump.zst" | zstd -q -d > "$SCRATCH/dump"
  pg_restore -j2 -d "$DSN" "$SCRATCH/dump" ) &
"$PYTHON" -m tests.bench.s3_pipe get "$BUCKET" "$PLACE/files.zst" | zstd -q -d | tar -C "$FILES" -x
wait %1
"""
_RESTIC = 'restic -q --no-lock --no-cache --cacert "$AWS_CA_BUNDLE"'
_LOADS = {
    "file": f'''
        {_RESTIC} restore "$DUMP:/" --target "$SCRATCH/file"
        pg_restore -j2 --no-owner -d "$DSN" "$SCRATCH/file/{DUMP}"''',
    "pipe": f'''{_RESTIC} dump "$DUMP" "/{DUMP}" | pg_restore --no-owner -d "$DSN"''',
    "folder": f'''
        {_RESTIC} restore "latest:$SCRATCH/folder" --tag folder --target "$SCRATCH/back"
        pg_restore -j2 --no-owner -d "$DSN" "$SCRATCH/back"''',
}
"""How a stored dump gets into a database: ours, through a pipe, and one of ``pg_dump -Fd``."""
_STORE_FOLDER = f'''
    pg_dump -Fd -Z0 -j2 -d "$DSN" -f "$SCRATCH/folder"
    {_RESTIC.replace("--no-lock ", "")} backup --tag folder "$SCRATCH/folder"'''

Left = TypeVar("Left", bound=ApiModel)


@dataclass(frozen=True)
class Cost:
    """Of one run."""

    seconds: float
    cpu_seconds: float
    """Of the programs, not of the servers."""
    sent: int = 0
    """Bytes that the bucket has more."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds, self.sent + other.sent
        )

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s, {self.cpu_seconds:.1f} CPU s, {self.sent / 1e6:.1f} MB sent"


@dataclass(frozen=True)
class Ours:
    """A run of one of our Jobs."""

    cost: Cost
    steps: Mapping[str, float]
    """Seconds of each."""


@dataclass(frozen=True)
class Theirs:
    """What the script did."""

    database: Cost
    files: Cost

    @property
    def both(self) -> Cost:
        return self.database + self.files


@dataclass
class Rounds:
    """What was measured, by turns."""

    first: list[tuple[Ours, Theirs]] = field(default_factory=list)
    again: list[tuple[Ours, Theirs]] = field(default_factory=list)
    restore: list[tuple[Ours, Cost]] = field(default_factory=list)
    loads: list[Mapping[str, Cost]] = field(default_factory=list)
    verify: list[Ours] = field(default_factory=list)


def run() -> list[Figure]:
    """About ten minutes."""
    rounds = Rounds()
    with (
        TemporaryDirectory(prefix="odoo-tenancy-bench-") as folder,
        running_postgres(max(installed_versions().items())[1]) as postgres,
        running_minio() as s3,
    ):
        Path(folder).chmod(0o755)
        for number in range(REPEATS):
            here = Path(folder) / str(number)
            here.mkdir()
            with small_odoo(postgres, here) as odoo:
                _round(Bench(odoo, postgres, s3, here), rounds)
    return [*_backup_figures("first", rounds.first), *_again(rounds.again), *_restores(rounds)]


@dataclass
class Bench:
    """One tenant, and its places in the store: the Jobs' and the script's."""

    odoo: SmallOdoo
    postgres: PostgresProcess
    s3: S3Process
    folder: Path
    made: BackupOutcome | None = None

    def __post_init__(self) -> None:
        self.storage = Storage.new(self.s3, self.folder)
        self.plain = f"plain/{self.odoo.name}"
        self.environment = job_environment(self.odoo, self.storage)

    def backup(self, name: str) -> Ours:
        """By our Job."""
        work = backup_work(self.odoo, self.storage, name)
        cost, self.made = self._job("backup", work, BackupOutcome)
        return Ours(cost, self.made.steps)

    def script(self) -> Theirs:
        """By the script."""
        return Theirs(self._shell(_DUMP, self.odoo.name), self._shell(_TAR, self.odoo.name))

    def restore(self) -> Ours:
        """By our Job, into a new database and folder."""
        assert self.made is not None
        name = f"{self.odoo.name}_ours"
        work = RestoreWork(
            restore="bench",
            backup="bench",
            repository=self.storage.place,
            manifest_key=self.made.manifest_key,
            manifest_sha256=self.made.manifest_sha256,
            database=self._place(name),
            filestores=str(self.odoo.filestore.parent),
            folder=name,
            scratch=str(self._folder("scratch")),
        )
        with self._database(name):
            cost, left = self._job("restore", work, RestoreOutcome)
        return Ours(cost, left.figures.seconds)

    def restore_by_script(self) -> Cost:
        """Likewise."""
        name = f"{self.odoo.name}_theirs"
        with self._database(name):
            return self._shell(_RESTORE, name, FILES=str(self._folder("theirs")))

    def loads(self) -> dict[str, Cost]:
        """The dump into a new database by each way, and nothing compared."""
        assert self.made is not None
        document = asyncio.run(manifest_of(self.made, self.storage))
        place = self.storage.place
        restic = {
            "DUMP": document.snapshots.database,
            "RESTIC_REPOSITORY": f"s3:{place.store.endpoint}/{place.store.bucket}/{place.path}",
            "RESTIC_PASSWORD_FILE": place.password_file,
        }
        self._shell(_STORE_FOLDER, self.odoo.name, **restic)
        costs = {}
        for way, script in _LOADS.items():
            name = f"{self.odoo.name}_{way}"
            with self._database(name):
                costs[way] = self._shell(script, name, **restic)
        return costs

    def verify(self) -> Ours:
        """All of the dump and of the files, of which nothing was proven before; of the rest of the repository what a
        policy has read by default."""
        assert self.made is not None
        work = VerifyWork(
            backup="bench",
            level="Consistency",
            read_data_percent=5,
            repository=self.storage.place,
            manifest_key=self.made.manifest_key,
            manifest_sha256=self.made.manifest_sha256,
            ledger_key=f"{self.storage.prefix}/proven/filestore.json",
            scratch=str(self._folder("scratch")),
        )
        cost, left = self._job("verify", work, VerifyOutcome)
        return Ours(cost, left.figures.seconds)

    def _job(self, module: str, work: ApiModel, kind: type[Left]) -> tuple[Cost, Left]:
        here = self._folder(f"job-{module}-{time.monotonic_ns()}")
        (here / "job").mkdir()
        (here / "job" / "work.json").write_text(work.model_dump_json(by_alias=True))
        before = self._stored(self.storage.prefix)
        job = [sys.executable, "-m", "tests.support.job_process", f"odoo_tenancy.jobs.{module}", str(here)]
        paths = f"{ROOT / 'operator'}:{ROOT / 'dev'}:{ROOT}"
        # The superuser's: it may make what a restore makes.
        login = {"PGPASSWORD": self.postgres.superuser_password} if module == "restore" else {}
        cost = _run(job, {**self.environment, **login, "PYTHONPATH": paths})
        left = kind.model_validate_json((here / "termination-log").read_bytes())
        sent = self._stored(self.storage.prefix) - before
        return Cost(cost.seconds, cost.cpu_seconds, sent), left

    def _shell(self, script: str, database: str, **more: str) -> Cost:
        environment = {
            **self.environment,
            "PYTHON": sys.executable,
            "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'dev'}:{ROOT}",
            "DSN": self.postgres.superuser_dsn.replace("dbname=postgres", f"dbname={database}"),
            "PGPASSWORD": self.postgres.superuser_password,
            "FILES": str(self.odoo.filestore),
            "SCRATCH": str(self._folder("scratch")),
            "BUCKET": self.storage.bucket_name,
            "PLACE": self.plain,
            "AWS_ENDPOINT_URL": self.s3.endpoint,
            "AWS_CA_BUNDLE": str(self.s3.ca_file),
            "AWS_DEFAULT_REGION": REGION,
            **more,
        }
        before = self._stored(self.plain)
        cost = _run(["bash", "-euo", "pipefail", "-c", script], environment)
        return Cost(cost.seconds, cost.cpu_seconds, self._stored(self.plain) - before)

    def _stored(self, prefix: str) -> int:
        """Bytes below a prefix, all versions."""
        pages = self.s3.client().get_paginator("list_object_versions")
        found = pages.paginate(Bucket=self.storage.bucket_name, Prefix=prefix)
        return sum(version["Size"] for page in found for version in page.get("Versions", []))

    def _folder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return folder

    def _place(self, name: str) -> DatabasePlace:
        ca_file = str(self.postgres.directory / "ca.crt")
        return DatabasePlace(
            host=self.postgres.host, port=self.postgres.port, user="postgres", name=name, ca_file=ca_file
        )

    @contextmanager
    def _database(self, name: str) -> Iterator[None]:
        """An empty one, gone with the block."""
        with self.postgres.superuser() as admin:
            admin.execute(f'CREATE DATABASE "{name}" TEMPLATE template0'.encode())
        try:
            yield
        finally:
            with self.postgres.superuser() as admin:
                admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def _round(bench: Bench, rounds: Rounds) -> None:
    """A tenant's life: made, backed up, changed, backed up, restored, verified; ours and theirs in turn."""
    tenant = BigTenant(bench.odoo, MEBIBYTES)
    tenant.make()
    asyncio.run(bench.storage.repository().init())
    rounds.first.append((bench.backup("first"), bench.script()))
    tenant.change()
    rounds.again.append((bench.backup("again"), bench.script()))
    rounds.restore.append((bench.restore(), bench.restore_by_script()))
    rounds.loads.append(bench.loads())
    rounds.verify.append(bench.verify())


def _run(command: Sequence[str], environment: Mapping[str, str]) -> Cost:
    """One command, to its end.

    Raises:
        RuntimeError: it failed.
    """
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise RuntimeError(f"{command[-2:]} ended with {done.returncode}: {done.stdout} {done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(seconds, cpu)


def _backup_figures(which: str, runs: Sequence[tuple[Ours, Theirs]]) -> list[Figure]:
    """Beside theirs, as ratios; told, not judged."""
    name = f"backup-{which}"
    details = {
        "tenant": f"{MEBIBYTES} MiB of database, {MEBIBYTES} MiB in {FILES} files",
        "ours": [f"{ours.cost} ({json.dumps(dict(ours.steps))})" for ours, _ in runs],
        "theirs": [f"database {theirs.database}; files {theirs.files}" for _, theirs in runs],
    }
    return [
        Figure(
            f"{name}/seconds", _ratio(runs, lambda c: c.seconds), "of pg_dump and tar | zstd", None, details
        ),
        Figure(f"{name}/cpu", _ratio(runs, lambda c: c.cpu_seconds), "of theirs"),
        Figure(f"{name}/bytes-sent", _ratio(runs, lambda c: c.sent), "of theirs"),
    ]


def _again(runs: Sequence[tuple[Ours, Theirs]]) -> list[Figure]:
    seconds, cpu, sent = _backup_figures("again", runs)
    judged = Figure(sent.name, sent.value, sent.unit, BYTES_LIMIT)
    files = median(ours.steps["filestore"] / theirs.files.seconds for ours, theirs in runs)
    return [
        seconds,
        cpu,
        judged,
        Figure("backup-again/filestore-seconds", files, "of tar | zstd", FILES_LIMIT),
    ]


def _restores(rounds: Rounds) -> list[Figure]:
    restore = median(ours.cost.seconds / theirs.seconds for ours, theirs in rounds.restore)
    verify = median(
        verified.cost.seconds / restored.cost.seconds
        for verified, (restored, _) in zip(rounds.verify, rounds.restore, strict=True)
    )
    details = {
        "ours": [f"{ours.cost} ({json.dumps(dict(ours.steps))})" for ours, _ in rounds.restore],
        "theirs": [str(theirs) for _, theirs in rounds.restore],
    }
    verified = {
        "each": [f"{each.cost} ({json.dumps(dict(each.steps))})" for each in rounds.verify],
        "restore": [f"{ours.cost.seconds:.1f} s" for ours, _ in rounds.restore],
    }
    return [
        Figure("restore/seconds", restore, "of download and pg_restore -j2", RESTORE_LIMIT, details),
        *(
            Figure(
                f"restore/from-a-{way}",
                median(each[way].seconds / each["file"].seconds for each in rounds.loads),
                "of a file and pg_restore -j2",
                None,
                {each: [str(costs[each]) for costs in rounds.loads] for each in ("file", way)},
            )
            for way in ("pipe", "folder")
        ),
        Figure("verify/seconds", verify, "of our restore", VERIFY_LIMIT, verified),
    ]


def _ratio(runs: Sequence[tuple[Ours, Theirs]], of: Callable[[Cost], float]) -> float:
    return median(of(ours.cost) / of(theirs.both) for ours, theirs in runs)
