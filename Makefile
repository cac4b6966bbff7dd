# Two commands for newcomers: `make demo` and `make test`. Both set up whatever they need.

PYTHON ?= python3
PY := .venv/bin/python
# The platform binary itself: the npm shim is slower and may end before its child does. The shell finds it, once
# it is there.
FORGE := node_modules/@foundry-rs/forge-*-*/bin/forge
SOURCES = foundry.toml $(shell find contracts/src contracts/devnet contracts/protocols -name '*.sol' 2>/dev/null)
COMPILED := $(addprefix out/,$(addsuffix /.stamp,aave omnikeeper morpho))
ARTIFACTS := keeper/contracts/artifacts/.stamp

.PHONY: demo test lint lint-python lint-contracts bench deep setup build tools packages compiled devnet clean
.DEFAULT_GOAL := demo

demo: build
	@.venv/bin/keeper demo

test: build devnet
	@$(PY) tools/run_tests.py

lint: setup
	@$(MAKE) --no-print-directory --jobs=2 lint-contracts lint-python

lint-python:
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

lint-contracts: .venv-slither/.stamp
	@$(FORGE) fmt --check
	@$(PY) tools/slither.py

bench: build devnet
	@$(PY) bench/run.py $(if $(ONLY),--only $(ONLY))

deep: build devnet
	@$(PY) tools/deep.py $(if $(SEED),--seed $(SEED))

setup: tools
	@$(MAKE) --no-print-directory --jobs=3 packages

# Contracts compile while Python's packages are downloaded; one compiler per profile, each a single thread.
build: tools
	@$(MAKE) --no-print-directory --jobs=3 compiled

# First, and one after the other: what is missing is said in one line.
tools:
	@[ -e .venv/.stamp ] || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "make: Python 3.11 or newer is needed, found $$($(PYTHON) --version 2>&1 | head -n 1). Name another: make PYTHON=python3.12" >&2; exit 2; }
	@[ -e node_modules/.stamp ] || { command -v node >/dev/null 2>&1 && node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)'; } || \
		{ echo "make: Node 20 or newer is needed, found $$(node --version 2>/dev/null || echo none). Install it and its npm, then run make again" >&2; exit 2; }

# What builds of the package leave in this folder names the entry points of that day, and would hide the
# installed ones from any Python that is started here.
packages: .venv/.stamp node_modules/.stamp
	@rm -rf omnikeeper.egg-info

compiled: packages $(ARTIFACTS)

# The local chain: built once for its inputs, then loaded.
devnet: build
	@$(PY) -m keeper.ops.cli devnet build

.venv/.stamp: requirements.txt pyproject.toml
	@echo "· Python packages into .venv"
	@$(PYTHON) -m venv .venv
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Of its own: slither and the keeper need different versions of web3.
.venv-slither/.stamp: requirements/slither.txt
	@echo "· slither into .venv-slither"
	@$(PYTHON) -m venv .venv-slither
	@.venv-slither/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# Not `npm ci`: it refuses a lock that lacks Foundry's binaries for platforms other than its author's.
node_modules/.stamp: package.json package-lock.json
	@echo "· npm packages into node_modules"
	@npm install --silent --no-save --legacy-peer-deps --ignore-scripts --no-audit --no-fund
	@touch $@

$(COMPILED): out/%/.stamp: $(SOURCES) node_modules/.stamp
	@echo "· Contracts: $*"
	@FOUNDRY_PROFILE=$(subst omnikeeper,default,$*) $(FORGE) build --quiet $(if $(filter omnikeeper,$*),--skip test)
	@touch $@

$(ARTIFACTS): $(COMPILED) keeper/contracts/export.py .venv/.stamp
	@$(PY) -m keeper.contracts.export
	@touch $@

clean:
	rm -rf .venv .venv-slither node_modules out cache .devnet .deep keeper/contracts/artifacts keeper/contracts/solidity *.egg-info
