# `make demo` and `make test` set everything up on a fresh machine; .venv is remade when the dependencies change.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check bench
demo: .venv/.installed
	$(BIN)/python infra/demo/demo.py

# Two processes, each with a Ray of its own; tests of a file stay together, and share what they made.
test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

check: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.installed
	for bench in infra/bench/*.py; do echo "== $$bench"; $(BIN)/python $$bench || exit 1; done

.venv/.installed: pyproject.toml infra/constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint infra/constraints.txt --editable ".[test]"
	touch $@
