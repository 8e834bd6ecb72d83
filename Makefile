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
	lock --extra embedded --extra postgres --no-emit-package trunkline-client pyproject.toml requirements/build.in -o requirements/run.txt
	lock -c requirements/run.txt requirements/dev.in -o requirements/dev.txt
	lock requirements/protos.in -o requirements/protos.txt
	lock requirements/others.in -o requirements/others.txt
	lock requirements/litellm.in -o requirements/litellm.txt

# Real grpcurl and grpc_health_probe, pinned with their checksums in tests/tools. Without Go the tests that need them say so.
.tools/ready: tests/tools/go.mod tests/tools/go.sum
	mkdir -p .tools/bin
	if command -v go >/dev/null; then
	  (cd tests/tools && GOFLAGS=-buildvcs=false GOWORK=off GOBIN="$(CURDIR)/.tools/bin" go install tool)
	else
	  echo "Go is not here: tests with grpcurl and grpc_health_probe will be skipped"
	fi
	touch $@

# Servers and libraries of others, pinned in requirements/others.txt and tests/tools/aimock. Without Node the tests that need it say so.
.venv-others/ready: requirements/others.txt
	$(PYTHON) -m venv .venv-others
	PIP_DISABLE_PIP_VERSION_CHECK=1 .venv-others/bin/python -m pip install --quiet --require-hashes --no-deps -r $<
	touch $@

# A LiteLLM proxy, which `make conformance` and the tests ask where it is there. Three quarters of a gigabyte.
.venv-litellm/ready: requirements/litellm.txt
	$(PYTHON) -m venv .venv-litellm
	PIP_DISABLE_PIP_VERSION_CHECK=1 .venv-litellm/bin/python -m pip install --quiet --require-hashes --no-deps -r $<
	touch $@

.tools/others: .venv-others/ready tests/tools/aimock/package.json tests/tools/aimock/package-lock.json
	mkdir -p .tools/aimock
	cp tests/tools/aimock/package*.json .tools/aimock
	if command -v npm >/dev/null; then
	  (cd .tools/aimock && npm ci --ignore-scripts --no-audit --no-fund --silent)
	else
	  echo "Node is not here: tests with aimock will be skipped"
	fi
	touch $@

# Environments with Python clients of another time.
.tools/clients/ready: tests/compatibility/environment clients/python/pyproject.toml $(wildcard $(STUBS)/*.py)
	mkdir -p $(@D)
	for kind in previous oldest; do PYTHON=$(PYTHON) tests/compatibility/environment $$kind $(@D)/$$kind; done
	touch $@

# The embedded model's weights, in the user's cache. Without them the tests that need them say so.
.tools/weights: .venv/run
	mkdir -p .tools
	$(BIN)/trunkline model pull || echo "The weights cannot be fetched: tests with the embedded model will be skipped"
	touch $@

# --- using it ---------------------------------------------------------------------------------------------------------

.PHONY: demo
demo: .venv/run ## Set everything up, start Trunkline and stream a real model's answer
	$(BIN)/trunkline demo

.PHONY: serve
serve: .venv/run ## Start the gateway with trunkline.yaml, if there is one, and the environment
	$(BIN)/trunkline serve

# --- the contract -----------------------------------------------------------------------------------------------------

.PHONY: protos
protos: .venv-protos/ready ## Format the contract and generate the stubs from it
	$(TOOLS)/buf format --write protos
	PATH="$(CURDIR)/$(TOOLS):$$PATH" protos/generate $(STUBS:/trunkline/v1=)
	PATH="$(CURDIR)/$(TOOLS):$$PATH" protos/generate-go clients/go
	if command -v npm >/dev/null; then
	  rm -rf clients/typescript/src/generated && mkdir clients/typescript/src/generated
	  PATH="$(CURDIR)/$(TOOLS):$$PATH" clients/typescript/generate clients/typescript/src/generated
	else
	  echo "Node is not here: the TypeScript stubs are as they were, and CI will say so"
	fi

dist/trunkline.binpb: .venv-protos/ready $(wildcard protos/trunkline/v1/*.proto)
	mkdir -p $(@D)
	$(TOOLS)/buf build protos --as-file-descriptor-set -o $@

.PHONY: descriptors
descriptors: dist/trunkline.binpb ## Build dist/trunkline.binpb, from which every language's stubs can be generated

.PHONY: sync-client
sync-client: .venv/dev ## Generate the synchronous Python client from the asynchronous one
	$(BIN)/python clients/python/generate_sync.py

.PHONY: check-protos
check-protos: .venv-protos/ready
	$(TOOLS)/buf format --diff --exit-code protos
	$(TOOLS)/buf lint
	PATH="$(CURDIR)/$(TOOLS):$$PATH" protos/breaking
	PATH="$(CURDIR)/$(TOOLS):$$PATH" protos/check/compile

# --- the price book ---------------------------------------------------------------------------------------------------

# Read as data; never installed. One platform's wheels, so that one hash is enough: the tables in them are the same.
.tools/prices/ready: .venv/bin/python requirements/prices.txt
	rm -rf $(@D)
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary=:all: --python-version 3.11 --platform manylinux_2_28_x86_64 \
	  --dest $(@D) -r requirements/prices.txt
	touch $@

.PHONY: prices
prices: .venv/dev .tools/prices/ready ## Build the packaged price book from its pinned source and our corrections
	$(BIN)/python -m pricebook.build .tools/prices/genai_prices-*.whl
	$(BIN)/python -m pricebook.extract .tools/prices/litellm-*.whl tests/prices/litellm_extract.json

.PHONY: prices-check
prices-check: prices ## Hold the price book to what it is built from, and to a source that it was not built from
	git diff --exit-code --stat server/trunkline_server/prices/book.json tests/prices/litellm_extract.json
	$(BIN)/python -m pricebook.check .tools/prices/litellm-*.whl

# --- the data on models -----------------------------------------------------------------------------------------------

.PHONY: models
models: .venv/dev .tools/prices/ready ## Build the packaged data on models from pinned sources and our overrides
	PYTHONPATH=server $(BIN)/python -m modelbook.build .tools/prices/genai_prices-*.whl .tools/prices/litellm-*.whl

.PHONY: models-check
models-check: models ## Hold the packaged data on models to what it is built from
	git diff --exit-code --stat server/trunkline_server/models/models.json

# --- checks and tests -------------------------------------------------------------------------------------------------

.PHONY: format
format: .venv/dev ## Format the code and mend what can be mended
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

.PHONY: check
check: .venv/dev check-protos ## Formatting, lint, types, and the contract in every language
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

.PHONY: test
test: .venv/dev .venv-protos/ready .tools/ready .tools/others .tools/clients/ready .tools/weights ## Set everything up and run the tests
	$(BIN)/pytest --numprocesses 2 --dist worksteal

.PHONY: conformance
conformance: .venv/dev .tools/others ## Hold every dialect to recorded traffic; CORPUS=DIR for another folder, DUMP=FILE for what was decoded
	PYTHONPATH=tests $(BIN)/python -m conformance $(if $(CORPUS),,--live) $(if $(CORPUS),"$(CORPUS)") $(if $(DUMP),--dump "$(DUMP)")

.PHONY: fuzz
fuzz: .venv/dev ## Damage answers and read them, 600 seconds for each dialect; SECONDS=N, DIALECT=NAME for one of them
	PYTHONPATH=tests $(BIN)/python -m fuzz --seconds $(or $(SECONDS),600) $(if $(DIALECT),--dialect $(DIALECT))

.PHONY: properties
properties: .venv/dev ## Look at the properties of decoders and framers a hundred times longer than the tests do
	$(BIN)/pytest --numprocesses 2 --hypothesis-profile=long --timeout=0 tests/wire tests/dialects/test_*properties.py tests/dialects/test_limits.py

.PHONY: crash
crash: .venv/dev ## Kill gateways at every step and at KILLS=200 random moments, and judge their ledgers; SEED=N to repeat
	PYTHONPATH=tests $(BIN)/python -m crash --kills $(or $(KILLS),200) $(if $(SEED),--seed $(SEED))

.PHONY: mutants
mutants: .venv/dev ## Plant bugs in a copy of the server and see the tests find each; ONLY=TEXT for those with it in their name
	PYTHONPATH=tests $(BIN)/python -m mutants $(if $(ONLY),"$(ONLY)")

.PHONY: clients
clients: .venv/dev descriptors ## Build every language's client, run its cases against a gateway, then all at once for SECONDS=10; ONLY="go java"
	PYTHONPATH=tests $(BIN)/python -m matrix --seconds $(or $(SECONDS),10) $(if $(ONLY),--only $(ONLY)) $(if $(STRICT),--strict)

.PHONY: client-oldest
client-oldest: .venv/dev .tools/clients/ready ## Run the last release's Python client, and today's on the oldest libraries that it allows
	$(BIN)/pytest -n0 tests/compatibility

.PHONY: chaos
chaos: .venv/dev ## Bring trouble to providers for SECONDS=180 under load, cancel 1,000 streams, and judge; SEED=N to repeat
	PYTHONPATH=tests $(BIN)/python -m chaos --seconds $(or $(SECONDS),180) $(if $(SEED),--seed $(SEED))

.PHONY: coverage
coverage: .venv/dev .venv-protos/ready .tools/ready .tools/others .tools/clients/ready .tools/weights ## Run the tests and show which lines they never reach
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage report --show-missing --skip-covered

.PHONY: bench
bench: .venv/dev ## Compare with a bare server that does the same translation: CPU, latency, memory
	PYTHONPATH=tests $(BIN)/python -m bench

.PHONY: bench-quick
bench-quick: .venv/dev ## The same in a minute, without judging the figures
	PYTHONPATH=tests $(BIN)/python -m bench --quick --no-bars

.PHONY: simulate
simulate: .venv/dev ## Let simulated providers fail in every way, in virtual time, and hold the bars; SEEDS=N, ONLY=NAME
	PYTHONPATH=tests $(BIN)/python -m simulation --seeds $(or $(SEEDS),3) $(if $(ONLY),--only $(ONLY))

.PHONY: bench-layers
bench-layers: .venv/dev ## Microseconds of each layer, per call and per event
	PYTHONPATH=tests $(BIN)/python -m bench.layers
	PYTHONPATH=tests $(BIN)/python -m bench.machines
	PYTHONPATH=tests $(BIN)/python -m bench.estimates

.PHONY: bench-steps
bench-steps: .venv/dev ## Bytecodes that a unary call takes, by function: free of noise; GUARD=plain, limits or budget
	PYTHONPATH=tests $(BIN)/python -m bench.steps $(or $(GUARD),limits)

.PHONY: bench-routing
bench-routing: .venv/dev ## What choosing a model for each call is worth, replayed over tables of answers; TABLE=FILE for one of yours
	PYTHONPATH=tests $(BIN)/python -m bench_routing $(if $(TABLE),"$(TABLE)")

.PHONY: bench-usage
bench-usage: .venv/dev ## Milliseconds of UsageStats over a million attempts, held to its bars; ATTEMPTS=N for another number
	PYTHONPATH=tests $(BIN)/python -m bench.usage $(or $(ATTEMPTS),1000000)

.PHONY: clean
clean: ## Remove everything that was built or installed here
	rm -rf .venv .venv-protos .venv-others .venv-litellm .tools .fuzz build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis clients/typescript/dist clients/typescript/node_modules
