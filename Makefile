# Two commands: `make demo` and `make test`. Both build what they need, and go on where they were stopped.
ifneq ($(words $(CURDIR)),1)
$(error Snakemake starts no script by a Python whose path has a space: move this folder, now "$(CURDIR)")
endif

SHELL := bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/pip install --disable-pip-version-check -qq
SNAKEMAKE := $(BIN)/snakemake
# The study that `make demo` runs: `make demo STUDY=sts_ibsi ARGS="--config mirror=../shared/data"`.
STUDY ?= phantom
ARGS ?=
REPORT := results/report/$(STUDY)

.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: demo test lint unit workflow test-slurm chaos results bench lock choose restore server

demo: .venv/ready
	$(SNAKEMAKE) --configfile config/$(STUDY).yaml $(ARGS)
	@{ test -f $(REPORT)/report.html && test -z "$$(find $(REPORT) config workflow results/prepare -newer \
	  $(REPORT)/report.html -type f)"; } || \
	  $(SNAKEMAKE) --configfile config/$(STUDY).yaml $(ARGS) --report $(REPORT)/report.html --quiet all
	@echo; cat $(REPORT)/tables/segmentation.md
	@echo; echo "Report:  $(REPORT)/report.html   (one file; open it in a browser)"
	@echo "Runs:    make server   (MLflow on http://127.0.0.1:5000)"

test: lint unit workflow

lint: .venv/checks
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/codespell
	$(BIN)/lint-imports
	@$(SNAKEMAKE) --lint

# Two at a time, one thread each; both must list the tests in the same order, those of a set too.
unit: .venv/checks
	PYTHONHASHSEED=0 OMP_NUM_THREADS=1 ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1 \
	  $(BIN)/pytest -n 2 --dist loadscope -m "not workflow and not slurm and not chaos"

# Snakemake fills the machine by itself, so these run one by one.
workflow: .venv/checks
	$(BIN)/pytest -m workflow

# The profile of the cluster on a real SLURM of one node: root, on Debian. Half an hour.
test-slurm: .venv/checks
	apt-get install -y -qq slurm-wlm slurmdbd munge mariadb-server
	bash tests/slurm/cluster.sh up
	trap 'bash tests/slurm/cluster.sh down' EXIT; $(BIN)/pytest -m slurm --log-cli-level=info

# A study that is killed at random, starved of disk, and put back in time: root, on Debian. Half an hour.
chaos: .venv/checks
	apt-get install -y -qq gcc
	$(BIN)/pytest -m chaos --log-cli-level=info

# A finished study for Git: its tables as one page, and every patient's values. Runs what is missing.
results: .venv/ready
	$(SNAKEMAKE) --configfile config/$(STUDY).yaml $(ARGS) -- $(REPORT)/results.md $(REPORT)/patients.csv
	mkdir -p docs/results
	cp $(REPORT)/results.md docs/results/$(STUDY).md
	cp $(REPORT)/patients.csv docs/results/$(STUDY).csv

# Ours against others, one thread each: prints what it finds and writes docs/benchmarks.md. An hour, on an idle machine.
NOT_TIMED := $(addprefix benchmarks/,compare.py growth.py pairs.py published_images.py report.py)
BENCHMARKS ?= $(filter-out $(NOT_TIMED),$(wildcard benchmarks/*.py))
bench: .venv/checks
	@for script in $(BENCHMARKS); do \
	  echo "== $$script"; OMP_NUM_THREADS=1 ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1 $(BIN)/python $$script; \
	done
	@$(BIN)/python benchmarks/report.py

# MLflow, for a browser and for jobs that share it: on this machine alone, unless MLFLOW_HOST says otherwise (docs/mlflow.md).
TRACK ?= results/track
server: .venv/ready
	@mkdir -p $(TRACK)
	MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow server --workers 1 \
	  --backend-store-uri sqlite:///$(TRACK)/mlflow.db --artifacts-destination $(TRACK)/artifacts $(ARGS)

# Which study DVC runs: writes params.yaml.
choose: .venv/ready
	@$(BIN)/python -m diffufuse.study.vault $(STUDY)

# After a clone: data and results from the DVC remote, with nothing left to rerun. What stays with those who have it, as its
# terms say, is missing; the views, MLflow and the report, are built anew.
restore: STUDY := $(shell sed -n 's/^study: //p' params.yaml)
restore: RUN = $(SNAKEMAKE) --configfile config/$(STUDY).yaml config/changes.yaml
restore: .venv/ready
	@test -n "$$($(BIN)/dvc remote list)" || { echo "No DVC remote is set here, so there is nothing to restore from: ask who" \
	  "ran the study for its address and set it by \`dvc remote add --default --local shared ADDRESS\`, or compute the study" \
	  "by \`make demo\`." >&2; exit 1; }
	$(BIN)/dvc pull --allow-missing
	$(RUN) --touch --quiet -- report
	$(RUN) --quiet -- track
	$(RUN) --report $(REPORT)/report.html --quiet all

# What runs a study. The lock has everything but torch, checked by hash; then the package brings its torch.
.venv/ready: requirements.lock requirements.in pyproject.toml | $(BIN)/pip
	@echo "Building the environment .venv from requirements.lock: a few minutes, once."
	@while sleep 10; do echo "  ... installing"; done & beat=$$!; trap "kill $$beat" EXIT; \
	  $(INSTALL) --no-deps --require-hashes -r requirements.lock; \
	  $(INSTALL) --no-build-isolation --editable .; \
	  $(BIN)/pip check
	@touch $@

# On top of it, what checks the code.
.venv/checks: requirements-checks.lock .venv/ready
	@$(INSTALL) --no-deps --require-hashes -r requirements-checks.lock
	@$(BIN)/pip check
	@touch $@

$(BIN)/pip:
	@found=$$("$(PYTHON)" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3]); \
	  sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null) || { \
	  echo "This needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is $${found:-not there}:" \
	    "name another, as in \`make PYTHON=python3.11\`." >&2; exit 1; }
	@"$(PYTHON)" -m venv .venv

# Resolve the requirements anew, for all Pythons and systems, and all in one, so that what checks fits what runs. torch
# stays out, with the CUDA packages that its builds for a GPU ask for: pip wants a hash of everything or of nothing, and
# which build is right depends on the machine.
COMPILE := $(BIN)/uv pip compile --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
  --no-annotate --no-header --quiet
NO_TORCH := awk '/^[^ ]/ { drop = /^(torch==|triton==|nvidia-|cuda-)/ } !drop'
lock: $(BIN)/pip
	@$(INSTALL) uv
	$(COMPILE) requirements.in requirements-checks.in > .venv/all
	$(COMPILE) -c .venv/all requirements.in | $(NO_TORCH) > .venv/run
	$(COMPILE) -c .venv/all requirements-checks.in $$(sed -n 's/^\([^ =]*\)==.*/--no-emit-package=\1/p' .venv/run) \
	  | $(NO_TORCH) > .venv/check
	@mv .venv/run requirements.lock; mv .venv/check requirements-checks.lock
