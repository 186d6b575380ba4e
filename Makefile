PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test test-fast lint bench mutants clean

demo: $(VENV)/.installed  ## every method on the embedded digits, and their leaderboard
	$(BIN)/suite demo

test: $(VENV)/.installed-test lint  ## everything that is tested, a process of one thread for each core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

test-fast: $(VENV)/.installed-test  ## a quick check: no test that takes long, opens a browser or starts a database
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m "not slow and not browser and not postgres"

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed-bench  ## what we claim about speed, measured here
	for file in benchmarks/*.py; do $(BIN)/python $$file || exit 1; done

mutants: $(VENV)/.installed-test  ## changes of the code that no test notices; ONLY="suite.statistics*": of one module
	$(PIP) install -q --no-compile -c constraints.txt -e .[mutants]
	rm -rf mutants
	OMP_NUM_THREADS=1 $(BIN)/mutmut run $(if $(ONLY),"$(ONLY)")
	$(BIN)/mutmut results --all true | sed -E 's/\.x[^.]*:/:/' | sort | uniq -c
	$(BIN)/mutmut results

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
