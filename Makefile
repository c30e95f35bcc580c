# make run    set everything up and do the main job on a real network
# make test   set everything up and run all tests
# make check  the quick gate: format, lint, strict types, import contracts, unit tests
# make plugin a clean environment with the example of a physics plugin: check, run and audit it
# make bench-peers  qdpem beside SeQUeNCe, SimQN and a bare SimPy probe (20 minutes; BENCH="--nodes 3 5" for less)
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt
PEERS = .venv-peers
BENCH ?=
INPUTS = pyproject.toml constraints.txt
PLUGIN = output/physics-plugin
PLUGIN_LINE = physics = { model = \"biased\", parameters = { bias = 10.0 } }

# Bytecode is kept even where the environment forbids it: tests import hundreds of modules in every process.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test lint check plugin bench-peers format clean

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

lint: $(VENV)/.dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# Types are checked beside the tests: the start of either keeps only one core busy.
check: $(VENV)/.dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports
	@$(BIN)/mypy & types=$$!; $(BIN)/python -m pytest -n 2 -m "not slow"; tests=$$?; wait $$types && exit $$tests

plugin:
	@$(PYTHON) -m venv --clear $(PLUGIN)/venv
	@echo "Installing qdpem and the plugin into $(PLUGIN)/venv (about a minute)..."
	@$(PLUGIN)/venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt . ./examples/physics-plugin
	@$(PLUGIN)/venv/bin/qdpem check physics biased --set bias=10
	@awk '{ print } /^name = "quickstart"$$/ { print "$(PLUGIN_LINE)" }' scenarios/quickstart.toml > $(PLUGIN)/biased.toml
	@diff scenarios/quickstart.toml $(PLUGIN)/biased.toml || true
	@$(PLUGIN)/venv/bin/qdpem run $(PLUGIN)/biased.toml --arm local-minhop --set window.measured_s=10 --out $(PLUGIN)/biased.h5
	@$(PLUGIN)/venv/bin/qdpem audit $(PLUGIN)/biased.h5

$(PEERS)/.ready: benchmarks/peers/requirements.txt constraints.txt
	@$(PYTHON) -m venv $(PEERS)
	@echo "Installing the peers into $(PEERS) (some minutes, about 1 GB)..."
	@$(PEERS)/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -r benchmarks/peers/requirements.txt
	@touch $@

bench-peers: $(VENV)/.report $(PEERS)/.ready
	@$(BIN)/python benchmarks/peers/compare.py --peers-python $(PEERS)/bin/python $(BENCH)

format: $(VENV)/.dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(PEERS) build dist *.egg-info
