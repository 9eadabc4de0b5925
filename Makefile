# Two commands for a stranger: `make demo` shows it working, `make test` tests it. Both build .venv first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CLIENTS ?= 0
STAMP  := $(VENV)/.installed
CORE   := --include='proxy/core/*' --fail-under=100
REST   := --omit='proxy/core/*,proxy/sandbox/*' --fail-under=95

.PHONY: venv demo lint types test test-long bench bench-quick clean

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[sandbox,dev]'
	@touch $(STAMP)

demo: venv
	@$(BIN)/shape-proxy demo --clients $(CLIENTS)

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv
	$(BIN)/mypy

# The coverage reports speak only when they fail, so that pytest's summary stays the last line.
test: lint types
	$(BIN)/pytest -n 2 --dist loadfile --cov --cov-report=
	@$(BIN)/coverage report $(CORE) >coverage-core.txt || { cat coverage-core.txt; exit 1; }
	@$(BIN)/coverage report $(REST) >coverage-rest.txt || { cat coverage-rest.txt; exit 1; }

test-long: venv
	HYPOTHESIS_PROFILE=long $(BIN)/pytest -n 2 --timeout 900 tests/core tests/share
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	$(BIN)/python -m tests.core.filters.fuzz_atheris

bench-quick: venv
	$(BIN)/python -m bench all --quick

bench: venv
	$(BIN)/python -m bench all

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* coverage-*.txt
