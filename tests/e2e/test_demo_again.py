"""``make demo`` on a cluster that runs already: it changes nothing, is quick, and what it says to do next works."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.odoo_site import browse
from tests.support.tenants import OPERATOR, Tenants

from devcluster.paths import REPOSITORY

SECONDS = 60.0
"""That it may take when there is nothing to do."""
NAMESPACES = ("tenants", "odoo-acme", "odoo-eu-standard", OPERATOR.namespace, "odoo-data", "traefik")
MOVING = {"Event", "Lease", "PodMetrics"}
"""Kinds that others write all the time."""
CLUSTER_WIDE = (
    "customresourcedefinitions,clusterroles,clusterrolebindings,namespaces,persistentvolumes,hostingpools,"
    "validatingadmissionpolicies,validatingadmissionpolicybindings,storageclasses"
)
MEASURED = {"OdooTenant", "HostingPool"}
"""Kinds whose status tells a measurement now and then."""
SORTED_AGAIN = {"ValidatingAdmissionPolicy"}
"""Kinds with a status that the API server's controller applies in the second in which they are made: the next apply of
theirs sorts the list of who applied what, and changes nothing else."""


@dataclass(frozen=True)
class Again:
    """One more ``make demo``."""

    before: dict[str, str]
    after: dict[str, str]
    seconds: float
    said: str


@pytest.fixture(scope="module")
async def again(tenants: Tenants) -> Again:
    """With everything as it is; the output is what a terminal of no great width would not break."""
    before = versions(tenants)
    started = time.monotonic()
    # As from a shell: not as a part of the make that may run these tests.
    clean = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    done = await asyncio.to_thread(
        subprocess.run,
        ["make", "demo"],
        cwd=REPOSITORY,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    return Again(before, versions(tenants), seconds, done.stdout + done.stderr)


def versions(tenants: Tenants) -> dict[str, str]:
    """Of all objects of the examples, of the operator and of what they stand on: which version each is."""
    kinds = tenants.kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
    listed = [i for i in listing(tenants, ",".join(kinds), "-A") if i["metadata"]["namespace"] in NAMESPACES]
    return {
        f"{item['kind']} {item['metadata'].get('namespace', '')}/{item['metadata']['name']}": version(item)
        for item in [*listed, *listing(tenants, CLUSTER_WIDE)]
        if item["kind"] not in MOVING
    }


def listing(tenants: Tenants, *arguments: str) -> list[dict[str, Any]]:
    found = json.loads(tenants.kubectl("get", *arguments, "--show-managed-fields", "-o", "json"))
    return list(found["items"])


def version(item: dict[str, Any]) -> str:
    """Its resourceVersion; of what is measured all that isn't status instead, and who wrote it when."""
    metadata = dict(item["metadata"])
    if item["kind"] not in MEASURED | SORTED_AGAIN:
        return str(metadata["resourceVersion"])
    writers = [entry for entry in metadata.pop("managedFields") if entry.get("subresource") != "status"]
    if item["kind"] in SORTED_AGAIN:
        writers.clear()
    metadata.pop("resourceVersion")
    return json.dumps([metadata, writers, item["spec"]], sort_keys=True)


async def test_it_changes_nothing(again: Again) -> None:
    changed = {
        name
        for name in again.before.keys() | again.after.keys()
        if again.before.get(name) != again.after.get(name)
    }
    assert not changed
    kinds = {name.split()[0] for name in again.before}
    assert {"OdooTenant", "HostingPool", "Deployment", "Pod", "Secret", "IngressRoute"} <= kinds


async def test_it_is_quick(again: Again) -> None:
    assert again.seconds < SECONDS, again.said


@pytest.mark.parametrize("name", ["acme", "initech"])
async def test_it_names_the_site_and_how_to_get_in(again: Again, name: str) -> None:
    found = re.search(rf"^{name} is Ready: (https://\S+) .*\n +user (\S+), password: (.+)$", again.said, re.M)
    assert found, again.said
    url, user, command = found.groups()
    password = shell(f"{environment(again)}; {command}")
    async with browse(url) as site:
        assert await site.log_in(user, password)


async def test_the_commands_that_it_names_work(again: Again) -> None:
    _, _, rest = again.said.partition("Look around:\n")
    commands = [line.strip() for line in rest.splitlines() if line.startswith("  ")]
    assert len(commands) >= 4, again.said
    for command in commands:
        said = shell(f"{environment(again)}; {command.removesuffix(' -f')}")  # which would follow for ever
        assert said.strip(), command
        assert "No resources found" not in said, command


def environment(again: Again) -> str:
    """The line that lets a shell reach the cluster: it stands before all others, as people go from top to bottom."""
    said = re.search(r"^ +(export KUBECONFIG=.*)$", again.said, re.M)
    assert said, again.said
    assert "kubectl -n" not in again.said[: said.start()]
    return said[1]


def shell(script: str) -> str:
    """What a user's shell says, without anything of the test's."""
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(Path.home())}
    argv = ["bash", "-o", "pipefail", "-ec", script]
    done = subprocess.run(argv, env=clean, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{script}\n{done.stderr}"
    return done.stdout
