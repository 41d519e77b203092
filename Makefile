# GitPulse: every target needs Python 3.11+ and git alone, and no root, unless it says otherwise.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SUITE  ?=
N      ?=
ARGS   ?=
SCREENSHOTS ?=
# Tests in which minutes of alerts go by, and little else: they run beside each other, before the others.
WAITING := $(wildcard tests/cluster/test_alerts*.py)
LOCK   := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command 'make locks'
# `--strict`: what could not be looked up is a failure, for it says nothing.
AUDIT  := $(BIN)/uv tool run --quiet --from pip-audit==2.10.1 pip-audit --strict --require-hashes --disable-pip --progress-spinner off

.DEFAULT_GOAL := help
.PHONY: help setup demo test chart-test kind-test browser-test docs-test docs-site check audit format docs bench soak clean locks images

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## Make the virtual environment (.venv) and install everything into it

# Made anew when the dependencies change; the marker is written last, so an interrupted setup starts over.
$(VENV)/.ready: pyproject.toml service/gitpulse_service/dashboard/npm/package-lock.json
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "GitPulse needs Python 3.11 or newer; this is $$($(PYTHON) -V). Try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	@echo "Setting up $(VENV): GitPulse, its libraries, an embedded Redis and PostgreSQL, test tools (about a minute, once)" >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -e '.[dev]' | sed -un 's/^Collecting \([^ ]*\).*/  \1/p; s/^Installing collected.*/  installing/p' >&2
	@$(BIN)/gitpulse --version >/dev/null && touch $@

demo: setup ## Run all of GitPulse on this machine (ONCE=1: check the numbers and end)
	@$(BIN)/gitpulse demo $(if $(ONCE),--once) $(ARGS)

test: setup ## Run all tests that need no root (ARGS=… goes to pytest)
	@PYTHONPATH=tests $(BIN)/python -m harness.controlplane
	@PYTHONPATH=tests $(BIN)/python -m harness.chart
	@PYTHONPATH=tests $(BIN)/python -m harness.schemas
	@PYTHONPATH=tests $(BIN)/python -m harness.gitlab_ci
	@$(if $(ARGS),,$(BIN)/python -m pytest -n 4 $(WAITING))
	@$(BIN)/python -m pytest $(or $(ARGS),-n 2 --dist loadfile $(WAITING:%=--ignore=%))

chart-test: setup ## Test the chart without a cluster (ARGS=… goes to pytest)
	@PYTHONPATH=tests $(BIN)/python -m harness.chart
	@$(BIN)/python -m pytest tests/chart -m 'not cluster' $(ARGS)

kind-test: setup ## Test the chart in a real cluster; needs Docker (ARGS=… goes to pytest)
	@PYTHONPATH=tests $(BIN)/python -m harness.chart
	@PYTHONPATH=tests $(BIN)/python -m harness.kind
	@$(BIN)/python -m pytest tests/kind -m kind $(ARGS)

browser-test: setup ## Test the dashboard in Chromium (SCREENSHOTS=1: make docs/images anew; ARGS=… goes to pytest)
	@SCREENSHOTS=$(SCREENSHOTS) $(BIN)/python -m pytest tests/browser $(ARGS)

check: setup ## Lint, types, import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

audit: setup ## Look for known vulnerabilities in what images are made of (locks/); needs PyPI's advisories
	@for part in operator service build; do $(AUDIT) -r locks/$$part.txt || exit 1; done

format: setup ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

locks: setup ## Resolve anew what images are made of (locks/)
	@for part in operator service simulator; do $(LOCK) pyproject.toml --extra $$part -o locks/$$part.txt || exit 1; done
	@$(LOCK) locks/build.in -o locks/build.txt

images: setup ## Build the two images with Docker (BASE_IMAGE=… in the place of Python's)
	@PYTHONPATH=tests $(BIN)/python -m harness.images

docs-test: setup ## Run what the documentation shows, and build its site (ARGS=… goes to pytest)
	@PYTHONPATH=tests $(BIN)/python -m harness.controlplane
	@PYTHONPATH=tests $(BIN)/python -m harness.chart
	@$(BIN)/python -m pytest tests/docs tests/test_reference.py $(ARGS)

docs-site: setup ## Build the documentation as a site into .site/html; a warning fails it
	@$(BIN)/python docs/website.py

docs: setup ## Write the documentation's pages that are made from the source
	@$(BIN)/python docs/reference.py
	@$(BIN)/python docs/schemas.py
	@$(BIN)/python docs/doctor.py
	@$(BIN)/python docs/values.py

bench: setup ## Measure (SUITE=receiver|worker|operator|dashboard, N=…)
	@$(BIN)/python -m bench bench $(SUITE) $(N)

soak: setup ## Run long (SUITE=receiver|fuzz|numbers|operator|rotation, N=rounds)
	@$(BIN)/python -m bench soak $(SUITE) $(N)

clean: ## Remove the virtual environment and caches
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .fuzz
