# Two commands on a fresh machine with Python >= 3.11: `make demo` and `make test`. `make` alone lists the rest.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3; do \
  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$python"; break; }; done)
# Without bytecode every start of `mm` and of a run takes twice as long.
unexport PYTHONDONTWRITEBYTECODE

# uv installs in seconds; where it cannot reach the index that pip is configured for, pip does the same, slower.
install = $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r $(1) \
  || $(BIN)/python -m pip install --quiet --require-hashes -r $(1)

# A file is one worker's; the files with slow tests begin first (see conftest.py). Three workers on two cores: tests of
# processes and clocks wait for most of their time.
pytest = $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: help demo up loops test test-unit test-pipeline test-properties test-faults test-browser check bench lock
help: ## list the targets
	@grep -hE '^[a-z -]+:.*## ' Makefile | sed -E 's/^([a-z-]+)[^#]*## /  make \1	/'

demo: $(VENV)/runtime.done ## offline, no keys: the whole pipeline against the paper exchange, in under two minutes
	$(BIN)/mm demo

up: $(VENV)/runtime.done ## the same with the Dagster UI and schedules, until stopped
	$(BIN)/mm up

test: $(VENV)/dev.done ## every test
	$(pytest)

test-unit test-pipeline test-properties test-faults test-browser: test-%: $(VENV)/dev.done ## one folder of tests; -pipeline, -properties, -faults, -browser likewise
	$(pytest) mm_pipeline_tests/$*

# Workers that begin on a fresh checkout would each compile the loops, 20 s of processor time for the same.
loops: $(VENV)/dev.done
	$(BIN)/python -m pytest --quiet mm_pipeline_tests/unit/test_risk_rows.py mm_pipeline_tests/unit/test_programme.py

check: $(VENV)/dev.done ## lint, format, types, import contracts, locks, links of the papers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python .ci/locks.py check
	$(BIN)/python .ci/links.py

bench: $(VENV)/bench.done ## benchmarks, each a ratio to a named peer
	$(BIN)/python -m mm_pipeline_tests.benchmarks

# Keeps the pinned versions that still fit; `make lock UPGRADE=--upgrade` takes the newest.
COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
  --fork-strategy fewest --python-version 3.11 $(UPGRADE)
lock: $(VENV)/bootstrap.done ## writes the requirements files anew from pyproject.toml
	$(COMPILE) --group pyproject.toml:bootstrap -o requirements-bootstrap.txt
	$(COMPILE) pyproject.toml -o requirements.txt
	$(COMPILE) pyproject.toml --extra dev -c requirements.txt -o requirements-dev.txt
	$(COMPILE) pyproject.toml --extra dev --extra bench -c requirements-dev.txt -o requirements-bench.txt
	$(BIN)/python .ci/locks.py sign

$(VENV)/bootstrap.done: requirements-bootstrap.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or name it: make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV) || $(PYTHON) -m venv --without-pip $(VENV)
	$(BIN)/python -m pip --version >/dev/null 2>&1 && pip="$(BIN)/python -m pip" || pip="$(PYTHON) -m pip --python $(BIN)/python"; \
	  $$pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bootstrap.txt
	touch $@

$(VENV)/runtime.done: requirements.txt pyproject.toml $(VENV)/bootstrap.done
	$(call install,requirements.txt)
	$(BIN)/python -m pip install --quiet --no-index --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/dev.done: requirements-dev.txt $(VENV)/runtime.done
	$(call install,requirements-dev.txt)
	touch $@

$(VENV)/bench.done: requirements-bench.txt $(VENV)/dev.done
	$(call install,requirements-bench.txt)
	touch $@
