# Everything a new machine needs: Python 3.11 or newer, git, make and a package index.
#   make demo    three real fine-tunes of a real model, each judged: ship it or not?
#   make test    linters, types and the whole test suite
#   make lint    linters and types alone
#   make docs    the documentation as a site, in site/index.html

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Two torch threads that spin beside another process run up to 30 times slower.
export OMP_WAIT_POLICY := PASSIVE
export GOMP_SPINCOUNT := 1000
export HF_HUB_DISABLE_TELEMETRY := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: demo test lint docs clean

demo: $(STAMP)
	@$(BIN)/tunegate demo $(DEMO)

test: lint
	$(BIN)/python -m pytest tests -m "not slow" -n 2 -q
	$(BIN)/python -m pytest tests -m slow -q

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP)
	$(BIN)/python docs/reference/make_cli.py
	$(BIN)/python docs/reference/make_metrics.py
	$(BIN)/python docs/reference/make_python.py
	$(BIN)/python docs/reference/make_suite_file.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tunegate needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[all,proxy]' --group dev
	@touch $(STAMP)

clean:
	rm -rf $(VENV) .tunegate dist site
