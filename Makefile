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
	@echo 'make dev              run the whole scheduler here; options: make dev DEV_ARGS="--port 3100 --json"'
	@echo 'make sam              the API under sam local start-api; options: make sam SAM_ARGS="--port 3100"'
	@echo 'make sam-down         end the stores that make sam left running'
	@echo 'make self-hosted-env  write the secrets that docker compose up needs'
	@echo 'make test             every test that needs no container; options: make test PYTEST_ARGS="-k retry -x"'
	@echo 'make test-sam         build, functions and API in containers of SAM, and the compose files'
	@echo 'make test-selfhost    the self-hosted system in its containers'
	@echo 'make test-localstack  the tests of AWS targets and alerts on LocalStack 4.14'
	@echo 'make lint             ruff, mypy, import-linter, cfn-lint'
	@echo 'make scan             checkov: what is deployed, against the known mistakes of infrastructure'
	@echo 'make snapshot         write down what SAM makes of the template, for the test and the reviewer that compare it'
	@echo 'make cost-docs        renew the outputs in docs/cost.md'
	@echo 'make build            layer and functions for Lambda, without a container; option: ARCH=x86_64 (default arm64)'
	@echo 'make size             how large layer and functions are, and what takes their import'
	@echo 'make bench            measure everything beside limits and peers, about 40 minutes, into docs/benchmarks.md'
	@echo 'make bench-quick      the same in short, only we and the limits; fails when a ratio to a limit has collapsed'
	@echo 'make bench-cold       cold starts under the runtime interface emulator, beside what they cannot do without'
	@echo 'make engine           make sure that a Docker engine and docker compose answer'
	@echo 'make lambda-base      make sure that the base image of Lambda is there'
	@echo 'make clean            remove the environment, the data and every cache'

dev: $(READY) ## Run the stack until Ctrl-C
	@exec $(BIN)/python -m dev --end-with-parent $(DEV_ARGS)

test: $(READY) ## Run every test
	@exec $(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

lint: $(READY) ## Check style, types, the direction of imports and the template
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/cfn-lint template.yaml stacks/*.yaml

clean: ## Remove what is not in the repository
	rm -rf $(VENV) .tools .data .aws-sam .coverage* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
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

# What is deployed: the scanner, too large for the environment that `make dev` waits for, and the transformed template.
CHECKOV_HOME := .tools/checkov
CHECKOV_READY := $(CHECKOV_HOME)/.ready

.PHONY: scan snapshot

# Nothing is fetched to scan. Exceptions are beside the resources, with their reasons.
scan: $(CHECKOV_READY) ## Scan the templates, and what SAM makes of the main one
	@$(BIN)/python -m tests.infrastructure.snapshot --check
	@$(CHECKOV_HOME)/bin/checkov --skip-download --compact --quiet --framework cloudformation \
	  --file template.yaml stacks/stores.yaml stacks/monitoring.yaml tests/infrastructure/transformed.json
	@echo 'checkov finds nothing that is not justified beside the resource'

snapshot: $(READY) ## Write the transformed template down: tests/infrastructure/transformed.json
	@$(BIN)/python -m tests.infrastructure.snapshot

$(CHECKOV_READY): requirements/scan.txt $(READY)
	@echo 'Installing checkov in $(CHECKOV_HOME), once, a few minutes ...'
	@$(BIN)/python -m venv --clear --without-pip $(CHECKOV_HOME)
	@UV_PYTHON_DOWNLOADS=never UV_NO_CONFIG=1 $(BIN)/uv pip sync --quiet --python $(CHECKOV_HOME)/bin/python --require-hashes requirements/scan.txt
	@touch $@

# What runs in containers, and SAM CLI, which is too large for the environment that `make dev` waits for.
SAM_HOME := .tools/sam
SAM_READY := $(SAM_HOME)/.ready
SAM := SAM_CLI_TELEMETRY=0 $(SAM_HOME)/bin/sam

.PHONY: engine lambda-base

engine: ## A Docker engine that answers, and docker compose
	@containers/engine

lambda-base: engine $(READY) ## Lambda's base image: pulled, or a stand-in where no registry can be reached
	@containers/lambda-base >/dev/null

$(SAM_READY): requirements/sam.txt | $(READY)
	@echo 'Installing SAM CLI in $(SAM_HOME), once, about a minute ...'
	@$(BIN)/python -m venv --clear --without-pip $(SAM_HOME)
	@UV_PYTHON_DOWNLOADS=never UV_NO_CONFIG=1 $(BIN)/uv pip sync --quiet --python $(SAM_HOME)/bin/python --require-hashes requirements/sam.txt
	@touch $@

# The API in SAM's containers, the stores in compose's.
.PHONY: sam sam-down test-sam

sam: $(SAM_READY) ## Run the API under `sam local start-api`, with everything around it, until Ctrl-C
	@exec $(BIN)/python -m dev.sam --end-with-parent $(SAM_ARGS)

sam-down: $(READY) ## End the stores that `make sam` left running
	@exec $(BIN)/python -m dev.sam --down $(SAM_ARGS)

test-sam: engine $(SAM_READY) ## Test build, functions and API in SAM's containers, and the compose files
	@exec $(BIN)/python -m pytest tests/sam -m sam -v --capture=tee-sys --durations=12 $(PYTEST_ARGS)

# For a deploy; what runs here wants HOST_ARCH. SAM's own cache does not know that the layer is made from requirements and
# migrations too, so it stays off: all of it takes ten seconds.
HOST_ARCH := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x86_64)
ARCH ?= arm64

.PHONY: build
build: $(SAM_READY) ## Layer and functions for Lambda, in .aws-sam/build
	@ARCHITECTURE=$(ARCH) $(SAM) build --parallel --parameter-overrides Architecture=$(ARCH)

.PHONY: size bench-cold

size: $(READY) ## How large layer and functions are, and what takes their import
	@$(BIN)/scheduler bench footprint --architecture $(ARCH)
	@[ $(ARCH) = $(HOST_ARCH) ] || $(BIN)/scheduler bench footprint --architecture $(HOST_ARCH)

bench-cold: $(SAM_READY) lambda-base ## Every function's cold start, beside the bare imports that it cannot do without
	@exec $(BIN)/scheduler bench cold $(BENCH_ARGS)

# AWS on LocalStack -------------------------------------------------------------------------------------------------
# An environment of its own: its dependencies are pinned to the time of its release.
LOCALSTACK := .tools/localstack

.PHONY: test-localstack

test-localstack: $(READY) $(LOCALSTACK)/.ready ## The tests of AWS targets and alerts on LocalStack, which they start and end
	@exec $(BIN)/python -m pytest -m localstack $(PYTEST_ARGS)

$(LOCALSTACK)/.ready: requirements/localstack.txt | $(READY)
	@echo 'Making the environment of LocalStack in $(LOCALSTACK), once ...'
	@$(UV) venv --quiet --clear --python $(BIN)/python $(LOCALSTACK)
	@$(UV) pip sync --quiet --python $(LOCALSTACK)/bin/python --require-hashes requirements/localstack.txt
	@touch $@

.PHONY: cost-docs

cost-docs: $(READY) ## Renew the outputs in docs/cost.md
	@$(BIN)/python -m dev.examples docs/cost.md

# Self-hosting: the whole scheduler in containers (docker-compose.yml).
.PHONY: self-hosted-env test-selfhost

self-hosted-env: ## Write an .env with the secrets that docker-compose.yml needs; never over one that is there
	@if [ -e .env ]; then echo '.env is there, and stays as it is. It needs SIGNING_KEY and POSTGRES_PASSWORD.'; else \
	  random() { od -An -v -tx1 -N "$$1" /dev/urandom | tr -d ' \n'; }; umask 077; \
	  printf '# Keep SIGNING_KEY safe, and with the backups: every webhook secret comes from it.\nSIGNING_KEY=%s\nPOSTGRES_PASSWORD=%s\n' \
	    "$$(random 32)" "$$(random 24)" >.env.new && mv .env.new .env && echo 'Written: .env'; fi

test-selfhost: engine $(READY) ## Test docker-compose.yml: build, deliveries, hardening, outages; needs a Docker engine
	@PATH="$(CURDIR)/$(BIN):$$PATH" containers/images.sh .data/images.env postgres redis python
	@exec $(BIN)/python -m pytest tests/selfhost --durations=10 --timeout 600 $(PYTEST_ARGS)

# Benchmarks -----------------------------------------------------------------------------------------------------------

.PHONY: bench bench-quick

bench: $(READY) ## Measure everything beside limits and peers, and write docs/benchmarks.md
	@exec $(BIN)/scheduler bench all --report $(BENCH_ARGS)

bench-quick: $(READY) ## About a minute, without peers: exit code 1 when a ratio to a limit is below its bound
	@exec $(BIN)/scheduler bench all --quick $(BENCH_ARGS)
