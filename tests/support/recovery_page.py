"""``docs/recovery.md`` as a tired person follows it: its commands are read out of the page and run, in one shell."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.postgres import PostgresProcess
from tests.support.restic import environment
from tests.support.s3 import LOCKED, REGION, S3Process

from odoo_tenancy.api.backup_work import PrepareWork, RecoveryPassword
from odoo_tenancy.api.work import RepositoryPlace
from odoo_tenancy.jobs.prepare import prepare
from odoo_tenancy.services.object_store import Bucket, BucketAddress
from odoo_tenancy.services.restic import derived_password

PAGE = Path(__file__).parents[2] / "docs" / "recovery.md"
DATABASE = "odoo_recovered"
EVERY = range(1, 8)
LOOK_WHETHER_IT_IS_WHOLE = (1, 7)


def steps() -> dict[int, str]:
    """The commands of each step, by its number."""
    page = PAGE.read_text(encoding="utf-8")
    found = re.findall(r"^## (\d+)\..*?^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return {int(number): commands for number, commands in found}


def what_is_left(
    s3: S3Process, postgres: PostgresProcess, key: str, user: str, password: str
) -> dict[str, str]:
    """What a person fills in: the store, the file with the recovery key, and a role on a server."""
    login = s3.root
    return {
        "AWS_ACCESS_KEY_ID": login.access_key_id,
        "AWS_SECRET_ACCESS_KEY": login.secret_access_key,
        "ENDPOINT": s3.endpoint,
        "REGION": REGION,
        "BUCKET": LOCKED,
        "PREFIX": "eu",
        "RECOVERY_KEY": key,
        "PGHOST": postgres.host,
        "PGPORT": str(postgres.port),
        "PGUSER": user,
        "PGPASSWORD": password,
        "PGSSLMODE": "verify-full",
    }


def at_hand(s3: S3Process, postgres: PostgresProcess) -> dict[str, str]:
    """Programs, and the authorities of servers that have one of their own."""
    store, server = str(s3.ca_file), str(postgres.directory / "ca.crt")
    found = environment(RESTIC_CACERT=store, CURL_CA_BUNDLE=store, PGSSLROOTCERT=server)
    return {**found, "PATH": f"{postgres.programs.directory}:{found['PATH']}"}


async def open_with(key: bytes, place: RepositoryPlace, environment: Mapping[str, str]) -> None:
    """Make the repository, which a recovery key opens too."""
    with tempfile.TemporaryDirectory() as folder:
        derived = Path(folder) / "derived"
        derived.write_text(derived_password(key, place.path))
        ids = (RecoveryPassword(id="2026a", password_file=str(derived)),)
        bucket = Bucket(BucketAddress.of(place.store, environment))
        work = PrepareWork(repository=place, recovery=ids)
        await prepare(work, environment=environment, bucket=bucket)


def follow(
    folder: Path,
    given: Mapping[str, str],
    variables: Mapping[str, str],
    chosen: Sequence[int] = EVERY,
) -> str:
    """Do these steps; what they said, and nothing but that may go wrong.

    Args:
        folder: where the person works.
        given: the values of all that the page has an example of, by name.
        variables: :func:`at_hand`.
    """
    known = steps()
    assert list(known) == list(EVERY)
    examples = re.findall(r"\b([A-Z_]+)=(?=[\w/.:-]+)", known[1] + known[3].splitlines()[0])
    assert set(examples) == set(given), "what the page asks for"
    script = "\n".join(["set -euo pipefail", *(_filled(known[number], given) for number in chosen)])
    done = subprocess.run(
        ["bash"], input=script, env=dict(variables), cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def _filled(commands: str, given: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        return f"{found[1]}={_quoted(given[found[1]])}" if found[1] in given else found[0]

    return re.sub(r"\b([A-Z_]+)=[\w/.:-]+", value, commands)


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"
