# Two commands: `make study` and `make test`. Both make .venv from the lock file first.
PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || echo 2)
CONFIG ?= config/config.yaml
VENV := .venv
BIN := $(VENV)/bin
SNAKEMAKE := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --cores $(CORES) --configfile $(CONFIG)

.PHONY: study plan test faults slurm lint docs unlock clean

study: $(VENV)/.ready  ## run the studies of CONFIG to the report
	@$(BIN)/python -m ntkpipe plan --config $(CONFIG) --cores $(CORES)
	@$(SNAKEMAKE) || { echo "stopped; the same command goes on from here (if the folder is locked: make unlock)"; exit 1; }
	@echo "open report/index.html in the results folder (default: results/); datasets: <study>/*.zarr"

plan: $(VENV)/.ready  ## say what `make study` would do
	@$(BIN)/python -m ntkpipe plan --config $(CONFIG) --cores $(CORES)

test: $(VENV)/.ready lint  ## lint, unit, law and workflow tests
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -n $(CORES) --dist worksteal -m "not fault and not slurm"

faults: $(VENV)/.ready  ## the two tables of docs/faults.md: kills, full disks, damage, other Pythons
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -n $(CORES) --dist worksteal -m fault

slurm: $(VENV)/.ready  ## profiles/slurm on a real Slurm of one node (installed where root has apt-get, else skipped)
	tests/slurm/install
	@# where Slurm is installed the tests fail if it does not come up; else they are skipped, with what is missing
	NTKPIPE_SLURM=$$(command -v slurmctld >/dev/null && echo required) PATH="$(CURDIR)/$(BIN):$$PATH" \
		$(BIN)/python -m pytest -m slurm tests/slurm

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --lint
	@$(BIN)/python -m ntkpipe keys | diff - config/README.md || { echo "config/README.md is stale: make docs"; exit 1; }

docs: $(VENV)/.ready  ## write config/README.md from the config model
	$(BIN)/python -m ntkpipe keys > config/README.md

unlock: $(VENV)/.ready  ## after kill -9 of a run
	$(SNAKEMAKE) --unlock

lock:  ## make the lock file anew (needs uv)
	uv pip compile --universal --python-version 3.11 --extra dev --generate-hashes --no-header pyproject.toml -o requirements.lock

clean:
	rm -rf results .snakemake

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "ntkpipe needs Python 3.11 to 3.13; this is " + sys.version.split()[0] + " (choose one: make PYTHON=python3.12 ...)")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@
