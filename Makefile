# Commands for working on this repository. `make` alone lists them.
# Needs: Python 3.11 or newer with its venv module, and make. Everything else is installed into
# .venv from the locked requirements.

PYTHON ?= python3
PORT ?= 8778
JOBS ?= 2
# Tests wait for processes and databases: the faults all the time, others now and then.
TEST_JOBS ?= 3
PYTEST_ARGS ?=
# A test that takes longer hangs: it fails, and shows what each of its threads does. The slowest takes a minute.
TEST_SECONDS ?= 900
# Whether missing database servers may be installed for the tests, by apt-get.
APT ?= yes
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
SOURCES := src tests tools benchmarks distributions examples docs/conf.py

# The tests start hundreds of processes, and each would compile all sources again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test check chance fuzz peer faults format bench bench-full bench-claims bench-disturbed replay lock lock-check port-check reference dist docs clean lint types imports databases audit sbom update-deps test-lowest test-pythons fast tested security

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: port-check $(VENV)/.run ## start Moorage on loopback, with a sample cloud in ./moorage-data (PORT=8778)
	$(BIN)/moorage serve --demo --port $(PORT)

test: $(VENV)/.test $(VENV)/.docs $(VENV)/.lock databases lint ## everything: style, types, rooms, all tests on all databases, coverage, docs
	@$(MAKE) --no-print-directory -j 3 --keep-going tested security types imports

# Security and types are looked at meanwhile. The flags of this make are not for those that tests call.
tested: $(VENV)/.test $(VENV)/.docs $(VENV)/.lock
	@rm -f .coverage .coverage.* coverage.json
	MAKEFLAGS= MOORAGE_TEST_PROFILE=test $(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder --cov --cov-report= --timeout $(TEST_SECONDS) $(PYTEST_ARGS) tests
	$(BIN)/coverage json -q
	$(BIN)/python tools/coverage_gate.py coverage.json

check: $(VENV)/.test ## the fast checks, about a minute: SQLite only, no server processes, no coverage
	@$(MAKE) --no-print-directory -j 2 --output-sync=target --keep-going lint types imports fast

peer: $(VENV)/.test ## compare answers with the reference on new random requests (PEER_SECONDS=600; MOORAGE_PEER_SEED=n for one; MOORAGE_PEER_DATABASE=postgresql)
	MOORAGE_PEER_SECONDS=$(PEER_SECONDS) $(BIN)/python -m pytest -q -s $(PYTEST_ARGS) tests/peer/test_peer.py

faults: $(VENV)/.test databases ## kill processes, cut connections and fill disks under load, then audit (FAULTS_SECONDS=600 FAULTS_DATABASE=all; MOORAGE_FAULTS_SEED=n)
	$(BIN)/python -m tests.faults --seconds $(FAULTS_SECONDS) --database $(FAULTS_DATABASE) $(FAULTS_ARGS)

chance: $(VENV)/.test databases ## try all properties with new examples, twelve times as many as `make test` (half an hour)
	MOORAGE_TEST_PROFILE=chance $(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m hypothesis $(PYTEST_ARGS) tests

fuzz: $(VENV)/.test databases ## send random and malformed requests to running services (FUZZ_SECONDS=600 each FUZZ_DATABASE=all; MOORAGE_FUZZ_SEED=n repeats a run)
	MOORAGE_FUZZ_SECONDS=$(FUZZ_SECONDS) MOORAGE_FUZZ_DATABASE=$(FUZZ_DATABASE) MOORAGE_FUZZ_EXAMPLES=50 $(BIN)/python -m pytest -q -s $(PYTEST_ARGS) tests/fuzz

format: $(VENV)/.test ## format the sources
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

bench: $(VENV)/.test databases ## compare the speed with the reference, a few minutes (BENCH_ARGS="--database postgresql")
	$(BIN)/python -m benchmarks.compare $(BENCH_ARGS)

bench-full: $(VENV)/.test databases ## the same at all sizes, an hour or more; writes the figures into the documentation
	$(BIN)/python -m benchmarks.compare --full --publish $(BENCH_ARGS)

bench-claims: $(VENV)/.test databases ## compare claims per second with the reference, two minutes (BENCH_ARGS="--database mariadb")
	$(BIN)/python -m benchmarks.claims $(BENCH_ARGS)

bench-disturbed: $(VENV)/.test databases ## measure what clients notice of a killed worker, a rolling restart and a fail-over, five minutes
	$(BIN)/python -m benchmarks.disturbed $(BENCH_ARGS)

replay: $(VENV)/.run ## replay a cluster trace (REPLAY_ARGS="--trace DIR --pods FILE" for a real one)
	$(BIN)/python tools/replay.py $(REPLAY_ARGS)

lock: $(VENV)/.lock ## write requirements/*.txt again (LOCK_ARGS=--upgrade for newer versions)
	tools/lock.sh $(LOCK_ARGS)

audit: $(VENV)/.audit ## look up known vulnerabilities of all locked versions (needs the network; status 1: found, 2: unknown)
	@$(VENV)/audit/bin/python tools/audit.py requirements/*.txt

sbom: $(VENV)/.audit ## write dist/moorage-<version>.cdx.json: a bill of materials (CycloneDX) of the locked distributions of a service
	@tools/sbom.sh

update-deps: ## lock the newest versions of everything, audit them, and run all tests with them
	$(MAKE) lock LOCK_ARGS=--upgrade
	$(MAKE) audit || test $$? -eq 2 -a -n "$(UNAUDITED)"
	$(MAKE) test

test-lowest: $(VENV)/.lock ## serve a journey and run the fast tests with the oldest versions that pyproject.toml allows (needs the network)
	tools/test_lowest.sh $(PYTEST_ARGS)

test-pythons: $(VENV)/.lock $(VENV)/.test ## serve the wheel and run the fast tests on each supported Python that is installed (PYENV_ROOT; needs the network)
	MOORAGE_PYTHONS_TESTS=tests $(BIN)/python -m pytest -q -rs -n $(JOBS) --dist load $(PYTEST_ARGS) tests/packaging/test_pythons.py

lock-check: $(VENV)/.test ## check that the locks fit pyproject.toml, pin all by hash, and have wheels for each supported Python
	$(BIN)/python -m pytest -q tests/tidy/test_locks.py

reference: $(VENV)/.run ## write the generated pages of docs/reference from the tables of the source
	$(BIN)/python tools/generate_reference.py
	$(BIN)/python tools/generate_operations.py

dist: $(VENV)/.run $(VENV)/.audit ## build wheel, sdist and their bill of materials into ./dist
	@rm -rf dist
	$(BIN)/python -m hatchling build
	for each in distributions/*; do (cd $$each && ../../$(BIN)/python -m hatchling build --directory ../../dist) || exit 1; done
	@tools/sbom.sh
	@ls dist

docs: $(VENV)/.docs ## build the documentation into ./site; a warning is an error (DOCS_REPOSITORY=https://... for edit links)
	$(BIN)/python -m sphinx -W --keep-going -n -q -b html -d site/.doctrees docs site
	@echo "Open site/index.html"

clean: ## remove all generated files, except the data in ./moorage-data
	rm -rf $(VENV) bench-results site dist build .coverage .coverage.* coverage.json \
		.hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

lint: $(VENV)/.test
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)

# Ruff's rules of security, which are the same, are part of `make check`. This takes seconds.
# Even if all is well, it warns of each line of a statement in several lines whose judgement stands on another one.
security: $(VENV)/.test
	@said=$$($(BIN)/bandit --quiet --configfile pyproject.toml --recursive src 2>&1) || { echo "$$said"; exit 1; }

# Side by side with the others: what looks at types has but one process, and so has the end of the tests.
fast: $(VENV)/.test
	$(BIN)/python -m pytest -q -n $(JOBS) -m "not databases and not journey and not slow" --timeout $(TEST_SECONDS) $(PYTEST_ARGS) tests

types: $(VENV)/.test
	$(BIN)/mypy

imports: $(VENV)/.test
	$(BIN)/lint-imports

databases: $(VENV)/.test
	@APT=$(APT) tools/ensure_databases.sh

# Before anything is installed, so with the Python that is there.
port-check:
	@$(PYTHON) tools/port_check.py "$(PORT)"

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
