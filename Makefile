# Faultlab. `make help` lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SCENARIO ?= chaos/scenarios/raft-leader-partition.yaml
OUT ?=
SEEDS ?= 2000
KIND_CLUSTER ?= faultlab

.DEFAULT_GOAL := help
.PHONY: help install demo test unit sim parity e2e soak lint format types generate lock benchmarks clean \
  golden kind-up kind-load test-kind kind-down kind-logs

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Make .venv with everything that runs, tests and checks the lab

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	  echo "Faultlab needs Python 3.11 to 3.13; try: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "This Python cannot make a venv; on Debian and Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: install ## Cut the leader off, watch it fail over, read the verdict (SCENARIO=FILE for another one)
	@$(BIN)/faultlab run $(SCENARIO) $(if $(OUT),--out $(OUT))

test: unit sim parity e2e ## Every test but the repeated ones: units, simulations, end to end

unit: install ## Only the tests that need no world, two at a time
	$(BIN)/pytest -n 2 --dist loadfile -m "not soak and not e2e" tests/unit

sim: install ## Simulated disasters, SEEDS=2000 of them: promises, and the situations that must have come up
	$(BIN)/faultlab sim raft --seeds $(SEEDS) --all-marks

parity: install ## Compare the embedded API with a kube-apiserver, where this machine has its programs
	$(BIN)/pytest -m parity tests/parity

e2e: install ## Only the tests that run the embedded world, one at a time: they measure
	$(BIN)/pytest -m "e2e and not soak"

soak: install ## The repeated runs: each broken rule ten times, each scenario ten times
	$(BIN)/pytest -m soak --timeout 900

lint: install ## Style, formatting, the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: install ## Rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: install ## mypy, strict
	$(BIN)/mypy

generate: install ## Write the CRDs from the typed resources, for the package and the chart
	$(BIN)/python -m faultlab_operator.api.generate \
	  --output operator/faultlab_operator/api/crds --output charts/faultlab/files/crds
	@if command -v helm >/dev/null; then $(MAKE) --no-print-directory golden; fi

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --custom-compile-command 'make lock'

lock: install ## Write the image's locks anew from pyproject's ranges (LOCK_FLAGS=--upgrade: all of them newest)
	@$(BIN)/pip install --quiet --disable-pip-version-check 'uv>=0.5,<1'
	$(COMPILE) $(LOCK_FLAGS) pyproject.toml --extra node --extra load --extra agent --extra operator \
	  --output-file requirements.lock
	@$(BIN)/python -c 'import tomllib as t; print(*t.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep=chr(10))' \
	  | $(COMPILE) $(LOCK_FLAGS) - --output-file requirements-build.lock

kind-up: ## Make or upgrade a kind cluster with the lab in it (needs docker, kind, kubectl, helm)
	@charts/kind.sh up

kind-load: ## Build the image and load it into the kind cluster's nodes
	@charts/kind.sh load

test-kind: install ## The end-to-end tests and the comparison with the embedded world, on the kind cluster
	$(BIN)/pytest --world kind --kube-context kind-$(KIND_CLUSTER) -m "(e2e or kind or parity) and not soak" \
	  tests/e2e tests/parity tests/unit/image

kind-down: ## Delete the kind cluster
	@charts/kind.sh down

kind-logs: ## Collect logs and states of the kind cluster in results/kind/
	@charts/kind.sh logs

golden: install ## Write the chart's golden file anew, after a change of chart or CRDs
	FAULTLAB_UPDATE_GOLDEN=1 $(BIN)/pytest -q tests/unit/chart/test_rendering.py -k golden

# cluster.py is left out: it wants a running cluster.
benchmarks: install ## Run every program of benchmarks/ that needs no cluster and leave results/benchmarks/*.json
	@mkdir -p results/benchmarks
	@for program in $(filter-out benchmarks/cluster.py,$(wildcard benchmarks/*.py)); do \
	  echo "== $$program"; $(BIN)/python $$program --json results/benchmarks/$$(basename $$program .py).json || exit 1; \
	done

clean: ## Remove the venv, caches and results
	rm -rf $(VENV) results dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
