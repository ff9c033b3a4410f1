# One door to everything that is run by hand or by CI. `make` alone lists the targets.
#
#   constraints.txt, pyproject.toml --venv--> $(VENV) --> test, test-all, check, campaign, bench, repro
#
# Variables: PYTHON (makes the venv), VENV (where it is), ARGS (passed on to pytest, dvc repro or the benchmark).

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(abspath $(VENV))/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check

# DVC starts `reprogrok` by name, so the venv comes first on PATH; nothing reports home.
RUN := PATH="$(BIN):$$PATH" DVC_NO_ANALYTICS=1

.DEFAULT_GOAL := help
.PHONY: help venv repro test test-all pages check campaign ledger bench pins clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

venv: $(STAMP) ## Create .venv with the pinned set (PYTHON=python3.13 picks another Python)

# The stamp is touched last: an interrupted installation is done again, never taken for a finished one.
$(STAMP): constraints.txt pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "error: there is no $(PYTHON); name a Python of version 3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: Python 3.11 or newer is needed, $(PYTHON) is $$("$(PYTHON)" -V 2>&1); try: make PYTHON=python3.12" >&2; exit 2; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: $(PYTHON) has no venv module (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 2; }
	@echo "Installing the pinned set into $(VENV) (minutes the first time) ..."
	@"$(PYTHON)" -m venv "$(VENV)"
	@$(PIP) -qq install -c constraints.txt -e '.[dev]'
	@touch "$@"

repro: venv ## Run the pipeline (dvc repro) and print its outcome
	@$(RUN) dvc repro $(ARGS)
	@$(RUN) reprogrok compare evaluations/e15.json
	@$(RUN) reprogrok compare runs/c12-5-mini runs/power-add-mini

test: venv ## Run the quick tier of the tests (ARGS="-k exam" selects some)
	@$(RUN) OMP_NUM_THREADS=1 pytest -n 2 --dist worksteal $(ARGS)

test-all: venv ## Run all tests: the quick tier, soundness of certificates, long attacks, compiled training
	@$(RUN) OMP_NUM_THREADS=1 pytest -n 2 --dist worksteal -m "" $(ARGS)

pages: venv ## Write the parts of docs/ that follow from the code
	@$(BIN)/python tests/generated_pages.py

check: venv ## Lint, formatting, types, and the form of dvc.yaml
	@$(RUN) ruff check --quiet .
	@$(RUN) ruff format --quiet --check .
	@$(RUN) mypy
	@if [ -e dvc.yaml ]; then $(RUN) dvc stage list --all --fail >/dev/null; fi

campaign: venv ## Simulated studies (ARGS=calibration), attacks on a training run (attacks), certificates of small models (certificates)
	@$(RUN) OMP_NUM_THREADS=1 python tests/campaign $(ARGS)

ledger: venv ## Judge all claims by what is committed and write audit/LEDGER.md
	@$(RUN) reprogrok audit --no-runs --ledger audit/LEDGER.md >/dev/null; case $$? in 0|1|3) ;; *) exit 2 ;; esac

bench: venv ## Measure speed against the plain reference
	@$(RUN) python benchmarks/bench.py $(ARGS)

pins: venv ## Write constraints.txt anew from what the venv holds
	@sed -n '/^#/p' constraints.txt >constraints.txt.part
	@$(PIP) freeze --all --exclude-editable --exclude pip 2>/dev/null >>constraints.txt.part
	@sed -i.bak -e 's/^torch==\([^+]*\)+.*/torch==\1/' constraints.txt.part && rm constraints.txt.part.bak
	@if grep -n ' @ ' constraints.txt.part; then echo "error: these have no version to pin" >&2; exit 2; fi
	@mv constraints.txt.part constraints.txt
	@touch "$(STAMP)"

clean: ## Remove what tools leave behind (runs, the DVC cache and the venv stay)
	@rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	@find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
