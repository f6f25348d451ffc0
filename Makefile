# The front door. `make` lists what there is; everything it needs is cached outside the tree.
SHELL := /bin/bash
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/odoo-tenancy
LOCK := $(firstword $(shell sha256sum requirements-dev.lock | cut -c1-12))
VENV := $(CACHE)/venv-$(LOCK)
PY := $(VENV)/bin/python
WORKERS ?= 3
# Of the integration tests, each with an API server and databases of its own; they wait more than they work.
export PYTHONPATH := $(CURDIR)/operator:$(CURDIR)/dev
export PATH := $(VENV)/bin:$(PATH)

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 20

$(VENV)/.ready: requirements-dev.lock
	@echo "Python packages: installing the locked set into $(VENV)"
	@python3 -m venv $(VENV) && $(VENV)/bin/pip install --quiet --require-hashes --requirement $< \
	  || { echo "Python packages could not be installed. Check 'pip config list' and that python3 is 3.11 or later, then run the same command again." >&2; rm -rf $(VENV); exit 1; }
	@touch $@

.PHONY: venv
venv: $(VENV)/.ready

.PHONY: lock
lock: ## Lock the Python packages anew, within the bounds of pyproject.toml (needs uv)
	uv pip compile pyproject.toml --group dev --generate-hashes --no-annotate --no-header --universal --python-version 3.11 --no-emit-index-url --upgrade --output-file requirements-dev.lock
	uv pip compile pyproject.toml --constraint requirements-dev.lock --generate-hashes --no-annotate --no-header --universal --python-version 3.11 --no-emit-index-url --output-file requirements.lock

.PHONY: crds
crds: venv ## Generate crds/ and docs/reference.md from the models in operator/odoo_tenancy/api
	$(PY) -m odoo_tenancy.api.schema crds
	$(PY) -m odoo_tenancy.api.reference docs/reference.md

# --- Tests ------------------------------------------------------------------------------------------------------------

.PHONY: lint
lint: venv ## ruff: rules and format
	ruff check .
	ruff format --check .

.PHONY: types
types: venv ## mypy, strict
	mypy -p odoo_tenancy -p odoo_addons -p devcluster
	mypy tests

.PHONY: test-unit
test-unit: venv ## Unit tests: seconds, nothing but Python
	$(PY) -m pytest tests/unit

.PHONY: test-integration
test-integration: venv ## On a real API server, etcd, PostgreSQL, PgBouncer, Redis, and two S3 servers (builds them the first time)
	$(PY) -m devcluster tools kubernetes etcd versitygw minio
	$(PY) -m devcluster images postgres:17 redis:7.0 odoo:19.0 pgbouncer:1.24 restic:0.18
	$(PY) -m pytest -n $(WORKERS) --dist loadfile --durations 25 tests/integration

.PHONY: test-e2e
test-e2e: demo ## On the local cluster, with real pods
	$(PY) -m pytest --durations 15 tests/e2e

.PHONY: test
test: venv ## Everything: lint, types, unit, integration, end to end; a cluster that it started it also ends
	$(MAKE) lint types test-unit
	@# The long ones side by side, as each waits more than it works: 43 minutes for both instead of 70 (two cores).
	@set -o pipefail; \
	if ! $(PY) -m devcluster status >/dev/null 2>&1; then \
	  before=$$(mktemp) && $(PY) -m devcluster machine $$before || exit; \
	  trap 'status=$$?; $(MAKE) down && $(PY) -m devcluster machine --compare $$before || status=$$?; \
	    rm -f $$before; exit $$status' EXIT; \
	fi; \
	($(MAKE) test-integration 2>&1 | sed -u 's/^/integration | /') & \
	$(MAKE) test-e2e 2>&1 | sed -u 's/^/end to end  | /'; status=$$?; \
	wait $$! || status=$$?; \
	exit $$status

.PHONY: soak
soak: demo ## What takes long: operator and Jobs killed before and after every one of their outside steps (three hours)
	SOAK=1 $(PY) -m pytest -s tests/integration/jobs/test_*killed.py tests/integration/reconcile/test_*killed.py
	SOAK=1 $(PY) -m pytest -s tests/e2e/test_killed.py

.PHONY: bench
bench: venv ## Measure, and fail where a limit doesn't hold: all, or ONLY=at-rest,warm-start (docs/benchmarks.md)
	@$(PY) -m tests.bench $(ONLY)

# --- The local cluster ------------------------------------------------------------------------------------------------

.PHONY: demo
demo: venv ## A cluster, the operator, and the example tenants Ready; again: only what changed
	@$(PY) -m devcluster demo

.PHONY: up
up: venv ## The cluster alone: Kubernetes, PostgreSQL, Redis, Traefik (kind where Docker answers, else a node of our own)
	@$(PY) -m devcluster up

.PHONY: cloudnative-pg
cloudnative-pg: venv ## CloudNativePG on the cluster that runs ('python -m devcluster no-cloudnative-pg' takes it away)
	@$(PY) -m devcluster cloudnative-pg

.PHONY: object-store
object-store: venv ## An S3 server for backups on the cluster that runs ('python -m devcluster no-object-store' takes it away)
	@$(PY) -m devcluster object-store

.PHONY: down
down: venv ## End the cluster and leave nothing behind but the cache
	@$(PY) -m devcluster down

.PHONY: images
images: venv ## Build the images that the cache lacks
	@$(PY) -m devcluster images
