# make demo    install, run configs/quickstart.yaml, say where the report is
# make test    the whole test suite (`.ci/run` calls exactly this)
# make check   lint, types and the fast tests, in under a minute
# make bench   the benchmarks, or one group: make bench ONLY=sweep

VENV ?= .venv
BIN := $(VENV)/bin
# The first interpreter that runs, is 3.11 or newer and can make virtual environments.
PYTHON ?= $(shell for p in python3.11 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; break; }; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
CONFIG ?= configs/quickstart.yaml

.PHONY: demo test check lint bench clean

demo: $(VENV)/.demo
	@run=$$($(BIN)/heliostat run $(CONFIG) $(ARGS)); status=$$?; \
	if [ -n "$$run" ]; then echo "The report is at $$run/report/index.html"; fi; exit $$status

# Whatever starts a real Ray has the machine to itself; all else runs two files at a time.
REAL := tests/faults tests/smoke tests/gpu
BESIDE := -n 2 --dist loadfile $(addprefix --ignore=,$(REAL))

test: $(VENV)/.dev
	@$(BIN)/python -m pytest $(BESIDE) $(ARGS)
	@$(BIN)/python -m pytest $(REAL) $(ARGS)

check: $(VENV)/.dev lint
	@$(BIN)/python -m pytest -q -m "not slow" $(BESIDE) $(ARGS)

lint: $(VENV)/.dev
	@$(BIN)/ruff check src tests jobs
	@$(BIN)/mypy

bench: $(VENV)/.dev
	@$(BIN)/python -m pytest -q -s -o python_files="bench_*.py" --timeout 3600 tests/bench $(if $(ONLY),-k $(ONLY)) $(ARGS)

clean:
	@rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
	@find src tests jobs -name __pycache__ -type d -prune -exec rm -rf {} +

# torch comes first: what compiles or probes against it during installation finds it there.
$(VENV)/.torch: constraints.txt
	@if [ -z "$(PYTHON)" ]; then echo "error: Python 3.11 or newer with venv is needed; install python3.11 and python3.11-venv, or set PYTHON=/path/to/python." >&2; exit 2; fi
	@if [ ! -x $(BIN)/python ]; then echo "Making $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); fi
	@echo "Installing $$(grep '^torch==' constraints.txt) (a few minutes the first time)"
	@$(PIP) install "$$(grep '^torch==' constraints.txt)" -c constraints.txt
	@touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	@echo "Installing heliostat[demo]"
	@$(PIP) install -c constraints.txt -e ".[demo]"
	@touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	@echo "Installing heliostat[demo,dev]"
	@$(PIP) install -c constraints.txt -e ".[demo,dev]"
	@touch $@ $(VENV)/.demo
