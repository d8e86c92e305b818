# Everything a developer or the CI does has a target here; `make` alone lists them.
# A machine needs Python 3.11 with its venv module, and make. The rest comes with `make setup`.

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-headless test test-all check failure-modes bench lock clean
# The targets share one environment and one database folder.
.NOTPARALLEL:

# A caller's own Python paths must not leak into the environment.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP

# The first of these that really runs and is new enough (a pyenv shim may exist and not run).
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

RUN := .venv/bin/python
# Two processes share the tests as tests/conftest.py says: a file at a time, what takes longest first.
BOTH := -n 2 --no-loadscope-reorder --durations=25 --durations-min=5

help: ## list the targets
	@echo 'Comptoir. Start with: make setup && make demo'
	@echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1|\2/' | \
		while IFS='|' read -r name text; do printf '%-15s %s\n' "$$name" "$$text"; done

setup: ## create .venv with all packages pinned by hash (2 to 5 minutes once, then nothing)
	@test -n "$(PYTHON)" || { echo 'No Python 3.11 or later found. Install one, or: make setup PYTHON=/path/to/python3.11' >&2; exit 1; }
	@$(PYTHON) tools/setup_venv.py

demo: setup ## a merchant in a box: four shops, EBP, Sage, Ciel, Airflow and a scripted day
	@.venv/bin/comptoir demo

demo-headless: setup ## the same day without a browser, to the end, and exit
	@.venv/bin/comptoir demo --headless

test: setup ## all tests but the slow ones and those against peers (under 10 minutes)
	@$(RUN) -m pytest $(BOTH) -m "not slow and not peer"

test-all: setup ## every test, the slow ones and those against peers too
	@$(RUN) -m pytest $(BOTH)

check: setup ## lint, format, strict types, architecture, ports, lock
	@$(RUN) tools/check.py

failure-modes: setup ## which tests hold which row of docs/failure-modes.md
	@$(RUN) tools/failure_modes.py

bench: setup ## benchmarks: ratios against plain loops, peers and the bare limit
	@$(RUN) -m bench

lock: setup ## make requirements/dev.lock anew from pyproject.toml (UPGRADE=1: newest versions)
	@$(RUN) tools/lock.py $(if $(UPGRADE),--upgrade)

clean: ## remove caches and build results (not .venv, never data under .comptoir)
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage htmlcov
	@find core connectors dags tests tools bench -type d -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
