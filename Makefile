# Each target does all its own set-up: nothing is needed but Python 3.11 or later with venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Where the person's shell forbids it, each of thousands of processes would compile all of seqdev and the tests anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test pythons thorough generations faults load mutants bench bench-host bench-growth bench-journal bench-audits bench-rules lint lock docs clean

demo: $(READY) ## Show the main job on an embedded Postgres
	@$(BIN)/seqdev demo

test: $(READY) ## Run the tests
	@$(BIN)/python -m pytest -n 3 --dist worksteal

pythons: ## Run the tests on each Python from 3.11 to 3.14 that is found
	@for version in 3.11 3.12 3.13 3.14; do \
		if python$$version -c '' 2>/dev/null; then \
			echo "testing on Python $$version …" >&2; \
			$(MAKE) --no-print-directory PYTHON=python$$version VENV=.venv-$$version test || exit 1; \
		else \
			echo "NOT TESTED: Python $$version, which is not on this machine" >&2; \
		fi; \
	done

thorough: $(READY) ## Run the tests that take long, and all cases of those that make test tries some of
	@SEQDEV_TEST_NEW_SESSIONS=1 $(BIN)/python -m pytest -n 3 --dist worksteal -m "thorough and not load"

generations: $(READY) ## Run the tests of tick, enroll and repair on hosts of every generation
	@$(BIN)/python -m tests.world.generations

faults: $(READY) ## Break processes, connections and servers, reconcile every row, write their table in docs/faults.md
	@$(BIN)/python -m tests.faults.run

load: $(READY) ## Run the heavier load tests: 10,000 SIGKILLs, a million messages, a file of 1 GB; write their table
	@$(BIN)/python -m tests.faults.run long

mutants: $(READY) ## Break the code on purpose, and see the tests fail
	@$(BIN)/python -m pytest -m mutants

bench: $(READY) ## Compare a tick with a bare statement and with a row-at-a-time processor
	@$(BIN)/python -m tests.bench.bench

bench-host: $(READY) ## Measure what the host pays for seqdev's indexes, and beside a tick
	@$(BIN)/python -m tests.bench.host

bench-growth: $(READY) ## Measure what commands cost as a host grows, by number of contacts
	@$(BIN)/python -m tests.bench.growth

bench-journal: $(READY) ## Measure what commands cost beside a year of the journal
	@$(BIN)/python -m tests.bench.journal

bench-rules: $(READY) ## Compare a tick with ten rules set with one with none
	@$(BIN)/python -m tests.bench.rules

bench-audits: $(READY) ## Time every audit on a million contacts and three million messages
	@$(BIN)/python -m tests.bench.audits

lint: $(READY) ## Check style, types, import directions and SQL
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/sqlfluff lint --processes 0 sql

lock: $(READY) ## Write requirements.lock anew from pyproject.toml
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-header --all-extras --python-version 3.11 pyproject.toml --output-file requirements.lock

docs: $(READY) ## Write the generated pages of docs/ anew from the code
	@SEQDEV_TEST_WRITE_DOCS=1 $(BIN)/python -m pytest -n 0 tests/contract/test_docs.py tests/contract/test_json_fields.py \
		tests/contract/test_phone_zones.py
	@SEQDEV_TEST_WRITE_DOCS=1 $(BIN)/python -m pytest -n 0 -m thorough tests/contract/test_runbooks.py

clean: ## Remove what the other targets made
	rm -rf $(VENV) .venv-* dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv is missing. On Debian: apt-get install \
	$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; exit 1; }
	@echo "setting up $(VENV) with $$($(PYTHON) --version), once; this takes a minute or two …" >&2
	@$(PYTHON) -m venv $(VENV)
	@echo "installing the $$(grep -c '^[a-z0-9]' requirements.lock) packages of requirements.lock …" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@echo "installing seqdev itself …" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
	@echo "$(VENV) is ready" >&2
