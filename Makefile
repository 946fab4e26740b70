# Two commands: `make demo` and `make test`. Both build what they need, and go on where they were stopped.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
BIN := .venv/bin
SNAKEMAKE := $(BIN)/snakemake
# The study that `make demo` runs: `make demo STUDY=sts_ibsi ARGS="--config mirror=../shared/data"`.
STUDY ?= phantom
ARGS ?=
REPORT := results/report/$(STUDY)

.DELETE_ON_ERROR:
.PHONY: demo test lint results bench lock restore ui

# One run at a time in one folder; the lock goes with the process that holds it, however that one ends.
demo: .venv/ready
	@mkdir -p results
	@flock --nonblock --conflict-exit-code 75 results/.run.lock $(MAKE) --no-print-directory run || \
	  { test $$? -ne 75 || echo "Another run is under way in this folder; wait for it, or stop it."; exit 1; }
	@echo; cat $(REPORT)/tables/segmentation.md
	@echo; echo "Report:  $(REPORT)/report.html   (one file; open it in a browser)"
	@echo "Runs:    make ui   (MLflow on http://127.0.0.1:5000)"

.PHONY: run
run:
	@$(SNAKEMAKE) --configfile config/$(STUDY).yaml --unlock $(ARGS) >/dev/null 2>&1 || true
	$(SNAKEMAKE) --configfile config/$(STUDY).yaml $(ARGS)
	@{ test -f $(REPORT)/report.html && test -z "$$(find $(REPORT) -type f -newer $(REPORT)/report.html)"; } || \
	  $(SNAKEMAKE) --configfile config/$(STUDY).yaml $(ARGS) --report $(REPORT)/report.html --quiet all

test: .venv/ready lint
	$(BIN)/pytest

lint: .venv/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/codespell
	@$(SNAKEMAKE) --lint

# A finished study's tables as one page for the documentation: `make results STUDY=sts_ibsi`. Runs what is missing.
results: .venv/ready
	@mkdir -p results
	@flock --nonblock --conflict-exit-code 75 results/.run.lock \
	  $(SNAKEMAKE) --configfile config/$(STUDY).yaml $(ARGS) -- $(REPORT)/results.md || \
	  { test $$? -ne 75 || echo "Another run is under way in this folder; wait for it, or stop it."; exit 1; }
	mkdir -p docs/results && cp $(REPORT)/results.md docs/results/$(STUDY).md

# Ours against others, one thread each: prints what it finds and writes docs/benchmarks.md. An hour, on an idle machine.
BENCHMARKS ?= $(filter-out benchmarks/compare.py benchmarks/pairs.py benchmarks/report.py,$(wildcard benchmarks/*.py))
bench: .venv/ready
	@for script in $(BENCHMARKS); do \
	  echo "== $$script"; OMP_NUM_THREADS=1 ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1 $(BIN)/python $$script; \
	done
	@$(BIN)/python benchmarks/report.py

# The runs as MLflow shows them.
ui: .venv/ready
	$(BIN)/mlflow ui --backend-store-uri sqlite:///results/track/mlflow.db

# After a clone: data and results from the DVC remote, with nothing left to rerun.
restore: .venv/ready
	$(BIN)/dvc pull
	$(SNAKEMAKE) --configfile config/$(STUDY).yaml --touch --quiet

.venv/ready: requirements.lock pyproject.toml
	@echo "Building the environment .venv from requirements.lock: a few minutes, once."
	@$(PYTHON) -m venv .venv
	@while sleep 10; do echo "  ... installing"; done & beat=$$!; trap "kill $$beat" EXIT; \
	  $(BIN)/pip install --disable-pip-version-check -qq -r requirements.lock && $(BIN)/pip check
	@$(BIN)/pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Resolve requirements.in anew; the lock names no CUDA packages, torch's own metadata brings them where they belong.
lock: .venv/ready
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile requirements.in --python-version 3.11 --no-annotate --no-header --quiet \
	  | sed -e '/^nvidia-/d' -e '/^cuda-/d' -e '/^triton==/d' -e 's/+cpu//' > requirements.lock.new
	@mv requirements.lock.new requirements.lock
