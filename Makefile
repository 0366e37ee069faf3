# Every tool of the project behind one word. `make` alone lists them.
#
# Paths here are relative on purpose: the project may stand in any folder, also one with spaces.

SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

PY := .venv/bin/python
INSTALLED := .venv/.installed
SOURCES := src tests benchmarks scripts
# What an environment needs to be trusted: that it runs, and that it was made for this very folder.
ifneq ($(shell { $(PY) -c '' && cat $(INSTALLED); } 2>/dev/null),$(CURDIR))
STALE := stale
endif

##@ Run

.PHONY: up
up: setup ## Start everything and keep it running; Ctrl-C stops it
	@exec $(PY) -m tradewind up

.PHONY: replay
replay: setup ## Send the sample shop's old orders to the platform that is running
	@exec $(PY) -m tradewind replay

##@ Check

.PHONY: test
test: check ## Every check and every test
	@$(PY) -m pytest tests -m "not alone and not long" -n 2 --dist loadfile
	@exec $(PY) -m pytest tests -m "alone and not long"

.PHONY: test-fast
test-fast: setup ## The tests that need no database: seconds
	@exec $(PY) -m pytest tests/kernel tests/architecture tests/platform/test_settings.py \
		$$(ls tests/contexts/*/test_rules*.py)

.PHONY: check
check: setup ## Format, lint, security rules, types, import contracts, dependencies
	@.venv/bin/ruff format --check --quiet $(SOURCES) || { echo "Run: make fix" >&2; exit 1; }
	@.venv/bin/ruff check --quiet $(SOURCES)
	@$(PY) -m mypy --no-error-summary
	@told=$$($(PY) -c 'from importlinter.cli import lint_imports_command as run; run()' --no-logo) \
		|| { echo "$$told"; exit 1; }
	@$(PY) scripts/audit_dependencies.py

.PHONY: fix
fix: setup ## Repair what a machine can repair
	@.venv/bin/ruff format --quiet $(SOURCES)
	@.venv/bin/ruff check --fix --quiet $(SOURCES)

.PHONY: bench
bench: setup ## The headline figures, each against a partner in the same run
	@exec $(PY) -m benchmarks

.PHONY: simulate
simulate: setup ## The bus under faults, from one seed: make simulate SEED=123
	@TRADEWIND_SIMULATION_SEED='$(SEED)' exec $(PY) -m pytest tests/simulation

.PHONY: docs
docs: setup ## Draw the pages of docs/ that come from the code
	@exec $(PY) -m tradewind.testing.drawing

# Hypothesis takes other examples and the simulation other faults with every seed.
.PHONY: verify
verify: check ## Every test ten times, each time with other examples and faults (hours)
	@for seed in 1 2 3 4 5 6 7 8 9 10; do \
		echo "seed $$seed"; \
		TRADEWIND_SIMULATION_SEED=$$seed \
			$(PY) -m pytest tests -m "not long" --hypothesis-seed=$$seed || exit 1; \
	done
	@$(PY) -m pytest tests -m long
	@exec $(PY) -m tradewind check oversell --seconds 780

##@ House

.PHONY: setup
setup: $(INSTALLED) ## Install what is needed, into this folder only

$(INSTALLED): uv.lock pyproject.toml scripts/setup scripts/install.py $(STALE)
	@PYTHON='$(PYTHON)' sh scripts/setup

.PHONY: stale
stale:

.PHONY: clean
clean: ## Remove what was installed and cached; your data in .tradewind stays
	@rm -rf .venv .tools .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist
	@find src tests benchmarks scripts -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile
