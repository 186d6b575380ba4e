PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test lint bench clean

demo: $(VENV)/.installed  ## every method on the embedded digits, and their leaderboard
	$(BIN)/suite demo

test: $(VENV)/.installed-test lint  ## everything that is tested
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed-bench  ## what we claim about speed, measured here
	for file in benchmarks/*.py; do $(BIN)/python $$file || exit 1; done

clean:
	rm -rf $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q --no-compile -c constraints.txt -e .
	touch $@

$(VENV)/.installed-bench: $(VENV)/.installed
	$(PIP) install -q --no-compile -c constraints.txt -e .[bench]
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) install -q --no-compile -c constraints.txt -e .[test]
	touch $@
