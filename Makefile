.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
DISTRIBUTIONS := libs/cairn[s3,local] libs/chassis[postgres] libs/modelkit services/registry services/trainer \
	services/validator services/deployer services/monitor services/governance_auditor

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
