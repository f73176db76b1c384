# Every target sets up what it needs: .venv for the project, .venv-interop for other
# implementations of the API, which the tests talk to.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready
INTEROP := .venv-interop/.ready
BENCH := .venv-bench/.ready
SOURCES := $(wildcard *.py) trio_dispatch proto tests docs
# One module's tests stay together, so that they share its fixtures.
PYTEST := -m pytest -n auto --dist worksteal
# Otherwise each program that a test starts compiles the library.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test test-browser test-long test-all test-lowest coverage check lint types imports generated proto docs \
	pictures bench soak clean

help:
	@echo "make demo          watch dispatches being created, started and stopped"
	@echo "make test          run the tests; a part of them: ARGS=tests/grpc"
	@echo "make test-browser  use the live page in Chromium, if it is installed"
	@echo "make test-long     run them with many more random cases"
	@echo "make test-all      run them on every installed Python from 3.11 on"
	@echo "make test-lowest   run them with the lowest versions of the dependencies"
	@echo "make coverage      run the tests and report the lines that they do not reach"
	@echo "make check         lint, types, import contracts, generated code, documentation"
	@echo "make proto         generate code from proto/"
	@echo "make docs          build the documentation"
	@echo "make pictures      draw the picture of the README again"
	@echo "make bench         run the benchmarks side by side with the peers; a first look: ARGS=--quick"
	@echo "make soak          run two hours of dispatchers, service and faults on virtual time: ARGS='--minutes 120'"
	@echo "make clean         remove everything that was made"

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "trio-dispatch needs Python 3.11 or later; choose one with make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[cli,local-time,otel,pictures,postgres,protobuf,service,testing,web]' --group dev
	@touch $@

$(INTEROP): tests/interop/requirements.txt
	$(PYTHON) -m venv --clear .venv-interop
	.venv-interop/bin/python -m pip install --quiet --upgrade pip
	.venv-interop/bin/python -m pip install --quiet --requirement tests/interop/requirements.txt
	@touch $@

$(BENCH): tests/benchmarks/requirements.txt
	$(PYTHON) -m venv --clear .venv-bench
	.venv-bench/bin/python -m pip install --quiet --upgrade pip
	.venv-bench/bin/python -m pip install --quiet --requirement tests/benchmarks/requirements.txt
	@touch $@

demo: $(STAMP)
	$(BIN)/trio-dispatch demo

test: $(STAMP) $(INTEROP)
	$(BIN)/python $(PYTEST) --ignore=tests/web/browser $(ARGS)

test-browser: $(STAMP)
	$(BIN)/python $(PYTEST) tests/web/browser $(ARGS)

test-long: $(STAMP) $(INTEROP)
	TRIO_DISPATCH_LONG=1 $(BIN)/python $(PYTEST) $(ARGS)

test-all: $(INTEROP)
	.ci/every-python $(ARGS)

test-lowest: $(INTEROP)
	.ci/lowest-dependencies $(ARGS)

# Not pytest-cov: pytest imports the plugin of trio-dispatch before pytest-cov begins to measure.
coverage: $(STAMP) $(INTEROP)
	$(BIN)/coverage erase
	$(BIN)/coverage run $(PYTEST) $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: lint types imports generated docs

lint: $(STAMP)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: $(STAMP)
	$(BIN)/mypy $(SOURCES)

imports: $(STAMP)
	$(BIN)/lint-imports

generated: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m proto.check

proto: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m proto.generate

docs: $(STAMP)
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

pictures: $(STAMP)
	$(BIN)/python docs/pictures/make.py

bench: $(STAMP) $(BENCH)
	$(BIN)/python -m tests.benchmarks.run $(or $(ARGS),--write)

soak: $(STAMP)
	$(BIN)/python -m tests.soak.virtual $(ARGS)

clean:
	rm -rf .venv .venv-* build dist docs/_build .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache \
		.ruff_cache .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
