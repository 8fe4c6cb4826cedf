# `make dev` and `make test` need Python 3.12 and make, nothing else.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV := VIRTUAL_ENV=$(VENV) UV_PYTHON_DOWNLOADS=never UV_NO_CONFIG=1 $(BIN)/uv

.PHONY: help dev test lint clean

help: ## This list
	@echo 'make dev     run the whole scheduler here; options: make dev DEV_ARGS="--port 3100 --json"'
	@echo 'make test    run every test;               options: make test PYTEST_ARGS="-k retry -x"'
	@echo 'make lint    ruff, mypy, import-linter, cfn-lint'
	@echo 'make bench   measure everything beside limits and peers, about an hour, into docs/benchmarks.md'
	@echo 'make clean   remove the environment, the data and every cache'

dev: $(READY) ## Run the stack until Ctrl-C
	@exec $(BIN)/python -m dev --end-with-parent $(DEV_ARGS)

test: $(READY) ## Run every test
	@exec $(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

lint: $(READY) ## Check style, types, the direction of imports and the template
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/cfn-lint template.yaml

clean: ## Remove what is not in the repository
	rm -rf $(VENV) .data .aws-sam .coverage* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment is as it should be while this file is newer than what it was made from. uv's sync removes what the
# requirements do not list, this project among it, so the project comes last.
$(READY): requirements/bootstrap.txt requirements/dev.txt pyproject.toml
	@python=''; for each in python3.12 python3 python; do \
	  if $$each -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' >/dev/null 2>&1; then python=$$each; break; fi; done; \
	if [ -z "$$python" ]; then echo 'Python 3.12 is needed on PATH, as python3.12 or python3.' >&2; exit 1; fi; \
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' >/dev/null 2>&1 || { \
	  echo 'Making the environment in $(VENV), once ...'; \
	  $$python -m venv --clear $(VENV) || { echo 'Python 3.12 lacks venv: on Debian and Ubuntu install python3.12-venv.' >&2; exit 1; }; }
	@$(BIN)/uv --version >/dev/null 2>&1 || \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# Benchmarks -----------------------------------------------------------------------------------------------------------

.PHONY: bench

bench: $(READY) ## Measure everything beside limits and peers, and write docs/benchmarks.md
	@exec $(BIN)/scheduler bench all --report $(BENCH_ARGS)
