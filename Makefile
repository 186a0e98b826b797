# Everything here works on a fresh machine with Python 3.11+, pip and make; the first target that needs it
# creates .venv and installs what constraints.txt pins.
#
#   make bench [SUITE=smoke] [BUDGET=2ep] [MODELS=resnet34,resnet50] [DATASET=folder:PATH] [OUT=DIR]
#   make sources [BUDGET=1ep] [MODELS=se_resnet50,resnet50] [DATASET=folder:PATH] [OUT=DIR]
#   make headline [MINUTES=9] [PIECES="suites sweep"] [DATASET=folder:PATH] [OUT=DIR]
#   make test [ALL=1] | lint | latency | bench-harness [ROWS="step pipeline"] [MINUTES=9] | faults [KILLS=20] | report [OUT=DIR]
#   make mutants [ONLY=TEXT] | docs | setup | clean

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

SUITE ?=
BUDGET ?=
MODELS ?=
DATASET ?=
OUT ?=
ROWS ?=
MINUTES ?=
PIECES ?=
KILLS ?=
ONLY ?=
ALL ?=
WORKERS = $(shell echo $$(($$(nproc 2>/dev/null || echo 1) + 1)))  # some tests wait for processes
RESULTS = $(or $(OUT),results/$(or $(SUITE),$(if $(wildcard results/cifar10/records.jsonl),cifar10,smoke)))

.DEFAULT_GOAL := help
FLAGS = $(if $(BUDGET),--budget '$(BUDGET)') $(if $(MODELS),--models '$(MODELS)') \
  $(if $(DATASET),--dataset '$(DATASET)') $(if $(OUT),--out '$(OUT)')

.PHONY: help setup bench sources headline test lint latency bench-harness faults mutants report docs clean

help: ## Show what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

setup: $(READY) ## Create .venv and install the tested versions

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

bench: $(READY) ## Run a suite: cifar10 where CUDA is, smoke elsewhere
	$(BIN)/resbench bench $(SUITE) $(FLAGS)

sources: $(READY) ## Run each source's own experiment; at small budgets where there is no CUDA
	$(BIN)/resbench bench sources $(FLAGS)

headline: $(READY) ## All that a GPU is to answer about the five networks, some minutes a call
	$(BIN)/python -m benchmarks.headline $(PIECES) $(if $(MINUTES),--minutes '$(MINUTES)') \
	  $(if $(DATASET),--dataset '$(DATASET)') $(if $(OUT),--out '$(OUT)')

test: $(READY) ## Run the tests; with ALL=1 also those that take long
	$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 $(if $(ALL),,-m 'not slow')

lint: $(READY) ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

latency: $(READY) ## Time forward and backward of every network with pytest-benchmark
	@mkdir -p results/latency
	$(BIN)/python -m pytest benchmarks/test_latency.py --benchmark-only --benchmark-time-unit=ms \
	  --benchmark-columns=min,median,mean,stddev,max,rounds --benchmark-json=results/latency/latency.json

bench-harness: $(READY) ## Measure what the harness costs: ratios to a bare step, to a DataLoader, to timm, to the floor
	$(BIN)/python -m benchmarks.harness $(ROWS) $(if $(MINUTES),--minutes '$(MINUTES)') $(if $(OUT),--out '$(OUT)')

faults: $(READY) ## Kill, starve and break a small suite, and compare what is left with an undisturbed run
	$(BIN)/python -m benchmarks.faults $(if $(KILLS),--kills '$(KILLS)')
	$(BIN)/python -m benchmarks.faults cluster

mutants: $(READY) ## Plant small bugs one at a time, and see that the tests notice each
	$(BIN)/python -m benchmarks.mutants $(if $(ONLY),--only '$(ONLY)')

report: $(READY) ## Rebuild the tables and plots of a results folder
	$(BIN)/resbench report '$(RESULTS)'

docs: $(READY) ## Rebuild the committed results' pages, and what README.md and METHOD.md show of them
	$(BIN)/python -m benchmarks.docs

clean: ## Remove the environment and caches, not the results
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
