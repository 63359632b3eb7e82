# Two commands matter: `make demo` and `make test`. Both set up everything they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: demo test tools setup lint lock bench chaos mutants clean
.DEFAULT_GOAL := help

help: ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(STAMP) ## real transactions and a killed leader; then a cheat, a dead leader and a dead committee
	@$(BIN)/python -m examples.demo

test: $(STAMP) tools lint ## linters, type checker, 500 drawn scenarios and the whole test suite
	$(BIN)/sequencer fuzz --seeds 500
	$(BIN)/pytest -n 2 --dist worksteal tests

tools: ## Debian's Prometheus in .tools, for the tests that ask it
	@.ci/tools

lint: $(STAMP) ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

chaos: $(STAMP) ## the seven stock scenarios on real processes, four minutes
	$(BIN)/sequencer chaos run all

mutants: $(STAMP) ## plant every mutant, and write docs/mutants.md anew; hours
	$(BIN)/python -m tests.mutants

bench: $(STAMP) ## every benchmark, each prints what it measured
	$(BIN)/python -m benchmarks

setup: $(STAMP) ## only the virtual environment

$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed: install Python 3.11 or newer, or name it with make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else "Python 3.11 or newer is needed, $(PYTHON) is %d.%d: call make PYTHON=python3.12" % v)'
	@echo "setting up $(VENV), once; this takes half a minute"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command 'make lock' pyproject.toml

lock: ## renew both locks, for work and for images, from the bounds in pyproject.toml (needs uv)
	$(COMPILE) --extra dev -o requirements.lock
	$(COMPILE) --constraint requirements.lock -o deploy/requirements.lock

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis
