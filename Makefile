.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
DISTRIBUTIONS := libs/cairn[app,data,fast,sql,s3,local] libs/chassis[postgres] libs/modelkit services/registry services/trainer \
	services/validator services/deployer services/monitor services/governance_auditor services/gateway

# Compiled once, our own folders are imported sooner by the hundreds of processes that start here.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

$(VENV)/installed: requirements.lock $(wildcard libs/*/pyproject.toml services/*/pyproject.toml)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Cairn needs Python 3.11 or newer; set PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)
	$(RUN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(RUN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index \
		$(foreach folder,$(DISTRIBUTIONS),-e ./$(folder))
	@touch $@

.PHONY: setup
setup: $(VENV)/installed ## make the environment from requirements.lock

.PHONY: demo
demo: setup ## show the whole loop on a real dataset (KEEP=--keep leaves it running)
	$(RUN)/cairn demo $(KEEP)

.PHONY: test
test: setup ## run every test but those that take minutes
	$(RUN)/python -m pytest -q -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: test-long
test-long: setup ## run the tests that take minutes
	$(RUN)/python -m pytest -q -m long $(ARGS)

.PHONY: check
check: setup ## lint, types, import rules, schemas, compose file
	$(RUN)/ruff check --quiet --output-format concise .
	$(RUN)/ruff format --check --quiet .
	$(RUN)/mypy
	$(RUN)/python -m cairn.schemas drift
	$(RUN)/cairn schemas check
	$(RUN)/python -m pytest -q tests/architecture
	$(MAKE) --no-print-directory compose-check

.PHONY: schemas
schemas: setup ## write schemas/, docs/events.md from the catalogue
	$(RUN)/python -m cairn.schemas write

.PHONY: compose-check
compose-check: setup ## validate docker-compose.yml (with docker compose too, where it exists)
	$(RUN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(RUN)/python -m pytest -q tests/deploy
	@if docker compose version >/dev/null 2>&1; then docker compose --env-file deploy/example.env config --quiet; \
	else echo "docker compose is not here: its own check was left out"; fi

.PHONY: bench
bench: setup ## run the benchmarks, each beside its floor
	$(RUN)/python -m benchmarks

.PHONY: lock
lock: ## make requirements.lock anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet \
		--no-emit-index-url --no-emit-find-links $(foreach name,sdk chassis modelkit registry trainer validator \
		deployer monitor governance-auditor gateway,--no-emit-package cairn-$(name)) requirements.in -o requirements.lock

.PHONY: clean
clean: ## delete the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
