# make run    set everything up and do the main job on a real network
# make test   set everything up and test every law
# make test-all  the same, and the laws again with other numbers (20 minutes)
# make check  the quick gate: format, lint, strict types, import contracts, unit tests
# make wheel  build the wheel into dist, install it without extras into a clean environment, and use it there
# make lowest the quick tests with the lowest versions that pyproject.toml allows
# make pythons  the quick tests on every Python from 3.11 to 3.13 that is here
# make docs   build the pages of docs/ into build/docs, warnings as errors
# make plugin a clean environment with the example of a physics plugin: check, run and audit it
# make bench-peers  qdpem beside SeQUeNCe, SimQN and a bare SimPy probe (20 minutes; BENCH="--nodes 3 5" for less)
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt
PEERS = .venv-peers
# A Python of this version, from the path or from pyenv; empty if there is none.
find_python = $(shell python$(1) -c 'import sys; print(sys.executable)' 2>/dev/null || \
	ls -d $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$(1).*/bin/python 2>/dev/null | tail -1)
# SeQUeNCe 1.3 needs Python 3.12; an older Python gets 0.8.5.
PEERS_PYTHON ?= $(or $(call find_python,3.12),$(PYTHON))
BENCH ?=
QUICK ?= -n 2 -m "not slow and not repeated"
PYTHONS ?= 3.11 3.12 3.13
LOWEST = .venv-lowest
INPUTS = pyproject.toml constraints.txt
PLUGIN = output/physics-plugin
PLUGIN_LINE = physics = { model = \"biased\", parameters = { bias = 10.0 } }

# Bytecode is kept even where the environment forbids it: tests import hundreds of modules in every process.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-all lint check docs wheel lowest pythons plugin bench-peers format clean

$(BIN)/python:
	@$(PYTHON) -m venv $(VENV) || { echo "python3 needs its venv module (Debian: apt install python3-venv)"; exit 1; }

$(VENV)/.report: $(INPUTS) | $(BIN)/python
	@echo "Installing qdpem and what it needs into $(VENV) (about a minute)..."
	@$(INSTALL) -e '.[report,learning]'
	@touch $@

$(VENV)/.dev: $(INPUTS) $(VENV)/.report
	@echo "Installing the test tools into $(VENV)..."
	@$(INSTALL) -e '.[report,learning,dev]'
	@touch $@

$(VENV)/.docs: $(INPUTS) $(VENV)/.report
	@echo "Installing Sphinx into $(VENV)..."
	@$(INSTALL) -e '.[report,docs]'
	@touch $@

run: $(VENV)/.report
	@$(BIN)/qdpem study quickstart

test: $(VENV)/.dev
	@$(BIN)/python -m pytest -n 2 -m "not repeated"

test-all: $(VENV)/.dev
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
	@$(BIN)/mypy & types=$$!; $(BIN)/python -m pytest $(QUICK); tests=$$?; wait $$types && exit $$tests

wheel:
	@PYTHON=$(PYTHON) .ci/wheel

# Without torch, which older and other Pythons often have as gigabytes of CUDA: tests that need it are skipped. Old
# packages call what newer ones deprecate.
lowest:
	@$(PYTHON) -m venv --clear $(LOWEST)
	@$(PYTHON) .ci/lowest.py > $(LOWEST)/lowest.txt
	@echo "Installing the lowest versions into $(LOWEST)..."
	@$(LOWEST)/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -c $(LOWEST)/lowest.txt -e '.[report,dev]'
	@$(LOWEST)/bin/python -m pytest $(QUICK) -W ignore::DeprecationWarning

pythons: $(addprefix python-,$(PYTHONS))

python-%:
	@test -n "$(call find_python,$*)" || echo "no Python $* here"
	@test -z "$(call find_python,$*)" || $(MAKE) --no-print-directory test-on-$*

test-on-%:
	@echo "Installing qdpem and the test tools into .venv-$* ..."
	@$(call find_python,$*) -m venv .venv-$*
	@.venv-$*/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[report,dev]'
	@.venv-$*/bin/python -m pytest $(QUICK)

docs: $(VENV)/.docs
	@$(BIN)/python docs/generator
	@$(BIN)/sphinx-build -E -W --keep-going -n -q -d build/doctrees docs build/docs
	@echo "The pages are in build/docs/index.html"

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
	@$(PEERS_PYTHON) -m venv --clear $(PEERS)
	@echo "Installing the peers into $(PEERS) (some minutes, about 1 GB)..."
	@$(PEERS)/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -r benchmarks/peers/requirements.txt
	@$(PEERS)/bin/python -c "from importlib.metadata import version as v; print('SeQUeNCe', v('sequence'), 'and SimQN', v('qns'))"
	@touch $@

bench-peers: $(VENV)/.report $(PEERS)/.ready
	@$(BIN)/python benchmarks/peers/compare.py --peers-python $(PEERS)/bin/python $(BENCH)

format: $(VENV)/.dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .venv-* build dist *.egg-info
