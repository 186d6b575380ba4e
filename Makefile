PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install -q --no-compile -c constraints.txt
TORCH_INDEX ?=  # where torch and torchvision come from, instead of the ordinary index: a page of PyTorch's own

.PHONY: demo test test-fast lint bench docs mutants clean

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
	$(BIN)/mypy benchmarks

bench: $(VENV)/.installed-bench  ## what we claim about speed, measured here
	for file in benchmarks/*.py; do $(BIN)/python $$file || exit 1; done

docs: $(VENV)/.installed-docs  ## the documentation as a site, in site/; fails on a warning
	$(BIN)/mkdocs build --strict --quiet

mutants: $(VENV)/.installed-test  ## changes of the code that no test notices; ONLY="suite.statistics*": of one module
	$(INSTALL) -e .[mutants]
	rm -rf mutants
	OMP_NUM_THREADS=1 $(BIN)/mutmut run $(if $(ONLY),"$(ONLY)")
	$(BIN)/mutmut results --all true | sed -E 's/\.x[^.]*:/:/' | sort | uniq -c
	$(BIN)/mutmut results

clean:
	rm -rf $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(if $(strip $(TORCH_INDEX)),$(INSTALL) --no-deps --index-url $(TORCH_INDEX) torch torchvision)
	$(INSTALL) -e .[all]
	touch $@

$(VENV)/.installed-bench: $(VENV)/.installed
	$(INSTALL) -e .[bench]
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(INSTALL) -e .[test]
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) install -q --no-compile -c constraints.txt -e .[docs]
	touch $@
