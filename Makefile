# All that is done with this repository. `make` alone shows this list.
# Needs: Python 3.11 or newer with its venv module, and make. Everything else is installed into
# .venv from the locked requirements.

PYTHON ?= python3
JOBS ?= 2
# One of them mostly waits for the faults that it makes.
TEST_JOBS ?= 3
PYTEST_ARGS ?=
PEER_SECONDS ?= 600
BENCH_ARGS ?=
REPLAY_ARGS ?=
FUZZ_SECONDS ?= 600
FUZZ_DATABASE ?= all
FAULTS_SECONDS ?= 600
FAULTS_DATABASE ?= all
FAULTS_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --require-hashes
SOURCES := src tests tools benchmarks

# The tests start hundreds of processes, and each would compile all sources again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test check fuzz peer faults format bench bench-full bench-claims bench-disturbed replay lock lock-check reference dist docs clean lint types imports databases audit sbom update-deps test-lowest fast

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.run ## start Moorage on loopback, with a sample cloud in ./moorage-data
	$(BIN)/moorage serve --demo

test: $(VENV)/.test $(VENV)/.docs databases lint types imports ## everything: style, types, rooms, all tests on all databases, coverage, docs
	@rm -f .coverage .coverage.* coverage.json
	MOORAGE_TEST_PROFILE=test $(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder --cov --cov-report= $(PYTEST_ARGS) tests
	$(BIN)/coverage json -q
	$(BIN)/python tools/coverage_gate.py coverage.json
	$(BIN)/mkdocs build --quiet --strict

check: $(VENV)/.test ## the same in under a minute: SQLite only, no server processes, no coverage
	@$(MAKE) --no-print-directory -j 2 --output-sync=target --keep-going lint types imports fast

peer: $(VENV)/.test ## compare with the reference on fresh random requests (PEER_SECONDS=600; MOORAGE_PEER_SEED=n for one; MOORAGE_PEER_DATABASE=postgresql)
	MOORAGE_PEER_SECONDS=$(PEER_SECONDS) $(BIN)/python -m pytest -q -s $(PYTEST_ARGS) tests/peer/test_peer.py

faults: $(VENV)/.test databases ## kill, cut and fill what it runs on, and audit (FAULTS_SECONDS=600 FAULTS_DATABASE=all; MOORAGE_FAULTS_SEED=n)
	$(BIN)/python -m tests.faults --seconds $(FAULTS_SECONDS) --database $(FAULTS_DATABASE) $(FAULTS_ARGS)

fuzz: $(VENV)/.test databases ## odd requests to running services (FUZZ_SECONDS=600 each FUZZ_DATABASE=all; MOORAGE_FUZZ_SEED=n repeats a run)
	MOORAGE_FUZZ_SECONDS=$(FUZZ_SECONDS) MOORAGE_FUZZ_DATABASE=$(FUZZ_DATABASE) MOORAGE_FUZZ_EXAMPLES=50 $(BIN)/python -m pytest -q -s $(PYTEST_ARGS) tests/fuzz

format: $(VENV)/.test ## put the sources into the agreed form
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

bench: $(VENV)/.test databases ## Moorage beside the reference, a few minutes (BENCH_ARGS="--database postgresql")
	$(BIN)/python -m benchmarks.compare $(BENCH_ARGS)

bench-full: $(VENV)/.test databases ## all sizes, an hour or more; the figures go into the documentation
	$(BIN)/python -m benchmarks.compare --full --publish $(BENCH_ARGS)

bench-claims: $(VENV)/.test databases ## claims per second beside the reference, two minutes (BENCH_ARGS="--database mariadb")
	$(BIN)/python -m benchmarks.claims $(BENCH_ARGS)

bench-disturbed: $(VENV)/.test databases ## what clients notice of a killed worker, a roll, a fail-over, five minutes
	$(BIN)/python -m benchmarks.disturbed $(BENCH_ARGS)

replay: $(VENV)/.run ## replay a cluster trace (REPLAY_ARGS="--trace DIR --pods FILE" for a real one)
	$(BIN)/python tools/replay.py $(REPLAY_ARGS)

lock: $(VENV)/.lock ## write requirements/*.txt again (LOCK_ARGS=--upgrade for newer versions)
	tools/lock.sh $(LOCK_ARGS)

audit: $(VENV)/.audit ## look all locked versions up among known vulnerabilities (needs the network; 1: found, 2: not known)
	@$(VENV)/audit/bin/python tools/audit.py requirements/*.txt

sbom: $(VENV)/.audit ## write dist/moorage-<version>.cdx.json: a bill of materials (CycloneDX) of what is locked to run with
	@tools/sbom.sh

update-deps: ## lock the newest versions of everything, audit them, and run all tests with them
	$(MAKE) lock LOCK_ARGS=--upgrade
	$(MAKE) audit || test $$? -eq 2 -a -n "$(UNAUDITED)"
	$(MAKE) test

test-lowest: $(VENV)/.run ## run the fast tests with the oldest versions that pyproject.toml allows (needs the network)
	tools/test_lowest.sh $(PYTEST_ARGS)

lock-check: $(VENV)/.test ## see that the locks match pyproject.toml and pin everything by hash
	$(BIN)/python -m pytest -q tests/tidy/test_locks.py

reference: $(VENV)/.run ## write docs/reference/api again from the tables of the source
	$(BIN)/python tools/generate_reference.py
	$(BIN)/python tools/generate_operations.py

dist: $(VENV)/.run $(VENV)/.audit ## build wheel, sdist and their bill of materials into ./dist
	@rm -rf dist
	$(BIN)/python -m hatchling build
	@tools/sbom.sh
	@ls dist

docs: $(VENV)/.docs ## build the documentation into ./site
	$(BIN)/mkdocs build --strict
	@echo "Open site/index.html"

clean: ## remove what is made here, except the data in ./moorage-data
	rm -rf $(VENV) bench-results site dist build .coverage .coverage.* coverage.json \
		.hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

lint: $(VENV)/.test
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive src

# Side by side with the others: what looks at types has but one process, and so has the end of the tests.
fast: $(VENV)/.test
	$(BIN)/python -m pytest -q -n $(JOBS) -m "not databases and not journey and not slow" $(PYTEST_ARGS) tests

types: $(VENV)/.test
	$(BIN)/mypy

imports: $(VENV)/.test
	$(BIN)/lint-imports

databases: $(VENV)/.test
	@tools/ensure_databases.sh

# Each stamp says that the venv holds the set of the same name as it is locked now.

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Moorage needs Python 3.11 or newer. Say which: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Making $(VENV) (a minute or two, the first time only)"
	@$(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "Python's venv module does not work here (Debian, Ubuntu: install python3-venv)"; exit 1; }
	@touch $@

$(VENV)/.pip: requirements/pip.txt | $(VENV)/.python
	@$(INSTALL) -r requirements/pip.txt
	@touch $@

$(VENV)/.run: requirements/run.txt requirements/build.txt pyproject.toml | $(VENV)/.pip
	@$(INSTALL) -r requirements/run.txt -r requirements/build.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: requirements/test.txt $(VENV)/.run
	@$(INSTALL) -r requirements/test.txt
	@touch $@

$(VENV)/.docs: requirements/docs.txt $(VENV)/.run
	@$(INSTALL) -r requirements/docs.txt
	@touch $@

# In an environment of its own: what looks at the locks shall not be bound by what it looks at.
$(VENV)/.audit: requirements/audit.txt | $(VENV)/.python
	@$(PYTHON) -m venv $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements/audit.txt
	@touch $@

$(VENV)/.lock: requirements/lock.txt $(VENV)/.run
	@$(INSTALL) -r requirements/lock.txt
	@touch $@
