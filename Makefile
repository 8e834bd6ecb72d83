# Trunkline. `make help` lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
TOOLS := .venv-protos/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet
STUBS := clients/python/trunkline/v1

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 18

# --- setting up -------------------------------------------------------------------------------------------------------

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Trunkline needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv .venv

.venv/run: .venv/bin/python requirements/run.txt pyproject.toml clients/python/pyproject.toml
	$(PIP) --require-hashes --no-deps -r requirements/run.txt
	$(PIP) --no-deps --no-build-isolation -e clients/python -e .
	touch $@

.venv/dev: .venv/run requirements/dev.txt
	$(PIP) --require-hashes --no-deps -r requirements/dev.txt
	touch $@

.venv-protos/ready: requirements/protos.txt
	$(PYTHON) -m venv .venv-protos
	PIP_DISABLE_PIP_VERSION_CHECK=1 $(TOOLS)/python -m pip install --quiet --require-hashes --no-deps -r $<
	touch $@

.PHONY: install
install: .venv/dev ## Set up everything for work on Trunkline

.PHONY: lock
lock: ## Choose the newest allowed versions again and write them down with their hashes
	$(PYTHON) -m venv .tools/lock
	.tools/lock/bin/python -m pip install --quiet uv
	lock() { .tools/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links --upgrade "$$@"; }
	lock --extra embedded --no-emit-package trunkline-client pyproject.toml requirements/build.in -o requirements/run.txt
	lock -c requirements/run.txt requirements/dev.in -o requirements/dev.txt
	lock requirements/protos.in -o requirements/protos.txt

# --- the contract -----------------------------------------------------------------------------------------------------

.PHONY: protos
protos: .venv-protos/ready ## Format the contract and generate the Python stubs from it
	$(TOOLS)/buf format --write protos
	PATH="$(CURDIR)/$(TOOLS):$$PATH" protos/generate $(STUBS:/trunkline/v1=)
