# The only entry point: `make` lists what it can do. Longer shell lives in scripts/.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

TBDIAG := .venv/bin/tbdiag
DEV := scripts/dev.sh

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup: ## .venv with tbdiag and what it needs to run, nothing more
	@scripts/setup-venv.sh .venv

.PHONY: run
run: setup ## diagnose a local sandbox; SCENARIO=name gives it a fault
	@$(TBDIAG) check --sandbox $(SCENARIO)

.PHONY: sandbox
sandbox: setup ## serve a local sandbox until Ctrl-C; SCENARIO=name gives it a fault
	@$(TBDIAG) sandbox run $(SCENARIO)

.PHONY: test
test: ## the whole suite on Python 3.11, 3.12 and 3.13; PYTHONS="3.12" TESTS=name limit it
	@scripts/system-packages.sh
	@scripts/setup-thingsboard.sh
	@scripts/test-matrix.sh $(if $(TESTS),-k "$(TESTS)")

.PHONY: check
check: ## formatting, lint, types, generated files
	@$(DEV) ruff format --check
	@$(DEV) ruff check
	@$(DEV) mypy
	@$(DEV) python -m tbdiag._generate --check

.PHONY: format
format: ## rewrite the code as `make check` wants it
	@$(DEV) ruff check --fix --quiet
	@$(DEV) ruff format --quiet

.PHONY: docs
docs: ## write the generated files anew: docs/rules.md, docs/report.schema.json
	@$(DEV) python -m tbdiag._generate

.PHONY: sample-chains
sample-chains: ## issue the certificates of sample_chains/ anew
	@$(DEV) python -m tests.make_sample_chains

.PHONY: bench
bench: setup ## time tbdiag against openssl and mosquitto_pub
	@scripts/system-packages.sh
	@.venv/bin/python benchmarks/single.py

.PHONY: bench-fleet
bench-fleet: setup ## time tbdiag fleet against openssl and, where it is installed, blackbox_exporter
	@scripts/system-packages.sh
	@.venv/bin/python benchmarks/fleet.py

.PHONY: fuzz
fuzz: ## feed broken input to every reader; FUZZ_SECONDS=60 for each, TARGETS="ca_file" limits them
	@scripts/fuzz.sh $(TARGETS)

.PHONY: audit
audit: ## look for known vulnerabilities in the dependencies; asks a database on the network
	@scripts/audit.sh

.PHONY: clean
clean: ## remove the environments, caches and build results
	@rm -rf .venv .venv-* .venv*.lock build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache fuzz/found
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
