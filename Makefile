# make run    set everything up and do the main job on a real network
# make test   set everything up and run all tests
# make check  the quick gate: format, lint, strict types, import contracts, unit tests
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt
INPUTS = pyproject.toml constraints.txt

.PHONY: run test check format clean

$(BIN)/python:
	@$(PYTHON) -m venv $(VENV) || { echo "python3 needs its venv module (Debian: apt install python3-venv)"; exit 1; }

$(VENV)/.report: $(INPUTS) | $(BIN)/python
	@echo "Installing qdpem and what it needs into $(VENV) (about a minute)..."
	@$(INSTALL) -e '.[report]'
	@touch $@

$(VENV)/.dev: $(INPUTS) $(VENV)/.report
	@echo "Installing the test tools into $(VENV)..."
	@$(INSTALL) -e '.[report,dev]'
	@touch $@

run: $(VENV)/.report
	@$(BIN)/qdpem study scenarios/quickstart.toml

test: $(VENV)/.dev
	@$(BIN)/python -m pytest -n 2

check: $(VENV)/.dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -n 2 -m "not slow"

format: $(VENV)/.dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist *.egg-info
