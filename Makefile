# Everything a new machine needs: Python 3.11 or newer, git, make and a package index.
#   make demo    three real fine-tunes of a real model, each judged: ship it or not?
#   make test      linters, types and the test suite: before a commit
#   make test-all  that and the long proofs: before a release
#   make lint      linters and types alone
#   make docs      the documentation as a site, in site/index.html
#   make matrix    the wheel beside the trainers and servers that people have: before a release
#   make lock      dev-constraints.txt again, from today's package index

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Two torch threads that spin beside another process run up to 30 times slower.
export OMP_WAIT_POLICY := PASSIVE
export GOMP_SPINCOUNT := 1000
export HF_HUB_DISABLE_TELEMETRY := 1
export TOKENIZERS_PARALLELISM := false
# Without byte code on disk every process of the tests compiles all our modules again.
unexport PYTHONDONTWRITEBYTECODE

# Three workers of one thread for two cores: a fifth of the time the tests wait for a server, a
# browser or a process. A worker that has nothing left takes tests from the others.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests -n 3 --dist worksteal -q --durations=20
PIP := $(BIN)/python -m pip
DEVELOPMENT := --editable '.[all,proxy]' --group dev
PINNED := $(DEVELOPMENT) --constraint dev-constraints.txt

.PHONY: demo test test-all matrix lint docs lock clean

demo: $(STAMP)
	@$(BIN)/tunegate demo $(DEMO)

test: lint
	$(PYTEST) -m "not long"

test-all: lint
	$(BIN)/python -m benchmarks.test_all

matrix: $(STAMP)
	$(PIP) install --quiet 'uv>=0.8'
	$(BIN)/python -m benchmarks.matrix

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

docs: $(STAMP)
	$(BIN)/python docs/reference/make_schemas.py
	$(BIN)/python docs/reference/make_cli.py
	$(BIN)/python docs/reference/make_metrics.py
	$(BIN)/python docs/reference/make_python.py
	$(BIN)/python docs/reference/make_suite_file.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

$(STAMP): pyproject.toml dev-constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tunegate needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	if command -v uv >/dev/null && uv pip install --python $(BIN)/python --quiet $(PINNED); then :; else \
	  $(PIP) install --quiet --upgrade 'pip>=25.1' && $(PIP) install --quiet $(PINNED); \
	fi
	@touch $(STAMP)

lock:
	rm -rf .venv-lock
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	.venv-lock/bin/python -m pip install --quiet $(DEVELOPMENT)
	.venv-lock/bin/python -m pip freeze --exclude-editable > .venv-lock/frozen.txt
	sed -E 's/\+(cpu|cu[0-9]+)$$//; s/^((mkdocs-material|pymdown-extensions)==.*)/\1; python_full_version >= "3.11.5"/' \
	  .venv-lock/frozen.txt > dev-constraints.txt
	rm -rf .venv-lock

clean:
	rm -rf $(VENV) .tunegate dist site
