"""What each case's tenant becomes, in full, as YAML that a reviewer can read.

``GOLDEN=write pytest tests/unit/desired/test_golden.py`` writes it anew; look at the difference before
committing it.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
import yaml

from odoo_tenancy.api.meta import Manifest
from odoo_tenancy.cluster.objects import ObjectRef
from odoo_tenancy.desired import pool, tenant
from odoo_tenancy.desired.context import PoolFacts, TenantContext

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.name.removesuffix(".input.yaml") for path in GOLDEN.glob("*.input.yaml"))
CREDENTIAL = "credential-of-"
"""What every credential of the cases begins with."""


def stages(ctx: TenantContext) -> dict[str, list[Manifest]]:
    return {
        "fences": tenant.fences(ctx),
        "volume": tenant.volume(ctx),
        "configuration": tenant.configuration(ctx),
        "initialization": tenant.initialization(ctx),
        "installation": tenant.installation(ctx),
        "image_check": tenant.image_check(ctx),
        "administrator": tenant.administrator(ctx),
        "reporting": tenant.reporting(ctx),
        "workload": tenant.workload(ctx),
        "routing": tenant.routing(ctx),
    }


def everything(ctx: TenantContext) -> list[Manifest]:
    return [manifest for manifests in stages(ctx).values() for manifest in manifests]


def readable(manifest: Manifest) -> Manifest:
    """With Secrets decoded, and without the scripts' text, which stands in ``jobs/``."""
    if manifest["kind"] == "Secret":
        decoded = {key: base64.b64decode(value).decode() for key, value in manifest["data"].items()}
        return {**manifest, "data": {key: f"(decoded)\n{text}" for key, text in decoded.items()}}
    if manifest["kind"] == "ConfigMap":
        return {**manifest, "data": dict.fromkeys(manifest["data"], "(see jobs/)")}
    return manifest


class _Readable(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Readable.add_representer(str, _text)


def rendered(ctx: TenantContext, show: Collection[str]) -> str:
    """``show``: only these kinds; empty shows all."""
    parts = ["# status.effective\n" + yaml.dump(ctx.effective.status(), Dumper=_Readable)]
    for stage, manifests in stages(ctx).items():
        shown = [manifest for manifest in manifests if not show or manifest["kind"] in show]
        for number, manifest in enumerate(shown):
            title = f"# {stage}\n" if number == 0 else ""
            parts.append(title + yaml.dump(readable(manifest), Dumper=_Readable, width=120))
    return "---\n".join(parts)


def load(case: str) -> dict[str, Any]:
    return dict(yaml.safe_load((GOLDEN / f"{case}.input.yaml").read_text()))


def context_of(case: str, make_context: Callable[..., TenantContext]) -> TenantContext:
    return make_context(**{key: value for key, value in load(case).items() if key != "show"})


def compare(path: Path, got: str) -> None:
    if os.environ.get("GOLDEN") == "write":
        path.write_text(got)
    assert got == path.read_text(), f"{path.name} differs: GOLDEN=write writes it anew"


@pytest.mark.parametrize("case", CASES)
def test_a_tenant_becomes_what_its_golden_file_says(case, make_context, monkeypatch):
    # A digest over the scripts' text would change with every comment in them.
    monkeypatch.setattr("odoo_tenancy.desired.scripts.digest", lambda: "(digest of the scripts)")
    compare(
        GOLDEN / f"{case}.output.yaml", rendered(context_of(case, make_context), load(case).get("show", ()))
    )


def test_a_pool_becomes_what_its_golden_file_says(make_pool):
    manifests = pool.build(PoolFacts(make_pool()))
    compare(GOLDEN / "pool.output.yaml", "---\n".join(yaml.dump(m, Dumper=_Readable) for m in manifests))


@pytest.mark.parametrize("case", CASES)
def test_the_same_input_gives_the_same_manifests(case, make_context):
    assert everything(context_of(case, make_context)) == everything(context_of(case, make_context))


@pytest.mark.parametrize("case", CASES)
def test_credentials_are_in_secrets_only(case, make_context):
    ctx = context_of(case, make_context)
    for manifest in everything(ctx):
        if manifest["kind"] != "Secret":
            text = json.dumps(manifest)
            assert CREDENTIAL not in text
            assert base64.b64encode(CREDENTIAL.encode())[:-4].decode() not in text
    assert CREDENTIAL not in repr(ctx)


def test_credentials_do_reach_the_secrets(make_context):
    secrets = [m for m in everything(context_of("autoscaling", make_context)) if m["kind"] == "Secret"]
    text = json.dumps([readable(secret) for secret in secrets])
    for what in ("database", "master", "admin", "registry", "mail-server"):
        assert f"{CREDENTIAL}the-{what}" in text


@pytest.mark.parametrize("case", CASES)
def test_every_child_says_whose_it_is(case, make_context):
    ctx = context_of(case, make_context)
    for manifest in everything(ctx):
        marks = manifest["metadata"]["labels"]
        assert marks["odootenancy.io/tenant"] == "acme"
        assert marks["odootenancy.io/tenant-namespace"] == "tenants"
        assert marks["odootenancy.io/tenant-uid"] == ctx.uid
        assert marks["odootenancy.io/pool"] == "eu-standard"
        assert marks["app.kubernetes.io/managed-by"] == "odoo-tenancy"
        assert marks["app.kubernetes.io/component"]


@pytest.mark.parametrize("case", CASES)
def test_no_two_manifests_are_of_one_object(case, make_context):
    manifests = everything(context_of(case, make_context))
    assert len({ObjectRef.of(manifest) for manifest in manifests}) == len(manifests)
