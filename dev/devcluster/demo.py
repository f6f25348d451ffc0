"""``make demo``: the operator and the example tenants on a running cluster, and how to look around."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import yaml
from rich.console import Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table

from devcluster.images import OPERATOR_IMAGE
from devcluster.kubectl import Kubectl
from devcluster.paths import REPOSITORY
from devcluster.services import HTTPS_PORT
from devcluster.steps import StepFailed, console, step

_NAMESPACE, _DEPLOYMENT = "odoo-tenancy-system", "odoo-tenancy-operator"
_EXAMPLES = str(REPOSITORY / "examples")
_SECONDS = 900.0


@dataclass(frozen=True)
class Tenant:
    """What the demo shows of an OdooTenant."""

    namespace: str
    name: str
    phase: str
    ready: bool
    message: str
    url: str


def install_operator(kubectl: Kubectl) -> None:
    """Apply ``manifests/overlays/local``, and restart the operator where its image is another than before."""
    overlay = str(REPOSITORY / "manifests" / "overlays" / "local")
    objects = list(yaml.safe_load_all(kubectl.do("Operator", "kustomize", overlay)))
    deployment = next(each for each in objects if each["kind"] == "Deployment")
    # The tag is always the same; a changed annotation is what rolls the new image out.
    annotations = deployment["spec"]["template"]["metadata"].setdefault("annotations", {})
    annotations["odootenancy.io/dev-image"] = OPERATOR_IMAGE.key
    kubectl.apply_objects("the operator", objects)
    kubectl.rollout(_NAMESPACE, f"deployment/{_DEPLOYMENT}")


def show(kubectl: Kubectl) -> None:
    """Apply ``examples/``, wait until every tenant is Ready, and say where to look.

    Raises:
        StepFailed: a tenant did not get Ready in time; says what its condition says.
    """
    with step("Example tenants"):
        kubectl.do("Examples", "apply", "--server-side", "-k", _EXAMPLES)
        tenants = _wait(kubectl)
    introduce(kubectl, tenants)


def introduce(kubectl: Kubectl, tenants: list[Tenant]) -> None:
    """Say where the tenants are, how to get in and what to look at: in an order in which each command works."""
    console.print("\nIn your shell, so that the commands below find the cluster:")
    found = f"  export KUBECONFIG={kubectl.kubeconfig} PATH={kubectl.program.parent}:$PATH"
    console.print(found, markup=False)
    for tenant in tenants:
        _introduce(tenant)
    _next_steps(tenants[0])


def _wait(kubectl: Kubectl) -> list[Tenant]:
    started = time.monotonic()
    said: dict[str, str] = {}
    tenants: list[Tenant] = []
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while True:
            try:
                tenants = _tenants(kubectl)
            except StepFailed as failure:  # a busy API server is asked again
                if time.monotonic() - started > _SECONDS:
                    raise
                console.print(f"  {failure.why}", markup=False)
            if tenants and all(tenant.ready for tenant in tenants):
                return tenants
            if console.is_terminal:
                live.update(_table(tenants, time.monotonic() - started))
            else:
                _say_changes(tenants, said)
            if time.monotonic() - started > _SECONDS:
                raise _too_late(kubectl, tenants)
            time.sleep(0.5)


def _tenants(kubectl: Kubectl) -> list[Tenant]:
    items = json.loads(kubectl.ask("get", "-k", _EXAMPLES, "-o", "json") or '{"items": []}')["items"]
    return [_tenant(item) for item in items if item["kind"] == "OdooTenant"]


def _tenant(item: dict[str, Any]) -> Tenant:
    status = item.get("status", {})
    ready: dict[str, Any] = next((c for c in status.get("conditions", []) if c["type"] == "Ready"), {})
    return Tenant(
        namespace=item["metadata"]["namespace"],
        name=item["metadata"]["name"],
        phase=status.get("phase", "Pending"),
        ready=ready.get("status") == "True"
        and ready.get("observedGeneration") == item["metadata"]["generation"],
        message=ready.get("message", ""),
        url=status.get("url", ""),
    )


def _table(tenants: list[Tenant], seconds: float) -> Group:
    table = Table(box=None)
    for title in ("tenant", "phase", "what it waits for"):
        table.add_column(title, overflow="fold")
    for tenant in tenants:
        table.add_row(tenant.name, tenant.phase, "" if tenant.ready else tenant.message[:160])
    return Group(Spinner("dots", f"{seconds:.0f} s"), table)


def _say_changes(tenants: list[Tenant], said: dict[str, str]) -> None:
    for tenant in tenants:
        line = f"  {tenant.name}: {tenant.phase} {tenant.message}".rstrip()
        if said.get(tenant.name) != line:
            said[tenant.name] = line
            console.print(line, markup=False)


def _too_late(kubectl: Kubectl, tenants: list[Tenant]) -> StepFailed:
    late = [f"{tenant.name} ({tenant.phase}): {tenant.message}" for tenant in tenants if not tenant.ready]
    log = kubectl.says("-n", _NAMESPACE, "logs", f"deployment/{_DEPLOYMENT}", "--tail=5")
    why = "\n".join(["Not Ready:", *late, "The operator's last words:", log])
    first = next((tenant.name for tenant in tenants if not tenant.ready), "")
    return StepFailed("Example tenants", why, f"kubectl -n tenants describe odootenant {first}")


def _introduce(tenant: Tenant) -> None:
    port = "" if HTTPS_PORT == 443 else f":{HTTPS_PORT}"
    read = f"kubectl -n {tenant.namespace} get secret {tenant.name}-admin -o jsonpath='{{.data.password}}'"
    console.print(
        f"[bold green]{tenant.name}[/] is Ready: [bold]{tenant.url}{port}[/] (a self-signed certificate)"
    )
    console.print(f"  user admin, password: {read} | base64 -d", markup=False)


def _next_steps(tenant: Tenant) -> None:
    lines = [
        "",
        "Look around:",
        "  kubectl get odootenants,hostingpools -A",
        f"  kubectl -n {tenant.namespace} describe odootenant {tenant.name}",
        f"  kubectl get pods -A -l odootenancy.io/tenant={tenant.name}",
        f"  kubectl -n {_NAMESPACE} logs deployment/{_DEPLOYMENT} -f",
        "Try: delete one of its Deployments, or change its odoo.conf, and watch it come back.",
        "'make down' takes everything away.",
    ]
    console.print("\n".join(lines), markup=False)
