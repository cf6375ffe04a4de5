# On a fresh machine with Python >= 3.11 and pip: `make demo`, `make test`.
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
BIN = $(VENV)/bin
export OMP_WAIT_POLICY = PASSIVE
export PIP_DISABLE_PIP_VERSION_CHECK = 1
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check lint docs format release clean

# torch comes first and pinned, so that nothing after it can pull in another build. The rest uv installs, sooner than pip; pip
# does where uv cannot, as behind a mirror that only pip knows. A module is compiled when it is first imported, as a fifth of what is
# installed ever is; this needs bytecode to be written, whatever the environment says.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt uv
	$(BIN)/pip install -q --no-compile -c constraints.txt $(TORCH)
	$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e ".[dev]" \
	  || $(BIN)/pip install -q --no-compile -c constraints.txt -e ".[dev]"
	touch $@

# one process compiles what several would compile at the same time
$(VENV)/.compiled: $(VENV)/.installed
	$(BIN)/python -m pytest --collect-only -qq >$(VENV)/tests.txt
	touch $@

demo: $(VENV)/.installed
	$(BIN)/shattering demo

test: $(VENV)/.compiled
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

check: lint docs

lint: $(VENV)/.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright
	$(BIN)/codespell

docs: $(VENV)/.installed
	$(BIN)/sphinx-build -W --keep-going -q docs docs/_build

format: $(VENV)/.installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# builds what is released, and tries it in a fresh environment; some minutes
release:
	TORCH="$(TORCH)" $(PYTHON) release/release.py $(if $(URL),--url $(URL))

clean:
	rm -rf dist $(VENV) docs/_build docs/auto_gallery docs/api runs report.html
