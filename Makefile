# Every target first makes sure that both locked environments exist (infra/setup.sh).
# `make demo` and `make test` work on a bare Debian with Python 3.11.

PYTEST := .venv/bin/python -m pytest
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench test-cluster clean

help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 20

$(READY): pyproject.toml uv.lock notebooks/pyproject.toml notebooks/uv.lock infra/setup.sh
	@infra/setup.sh

setup: $(READY) ## both locked environments, nothing else

demo: $(READY) ## the whole story on this machine: data, services, answers, refusals
	@.venv/bin/lab demo

# Tests that open a database run a second time, on a PostgreSQL of their own, where one is installed.
# Not again: gateways and sandboxes, whose database is the same code, and what reads files only.
ON_A_DATABASE = $(shell grep -rlE 'tests\.support\.(databases|desk|logs|marketplace|portal)' \
  tests/unit tests/property tests/integration tests/attacks | grep -vE 'gateway|mutations|growth')

# Two workers pay where tests share nothing. Integration tests share engines within a file, so a file
# stays with one worker; journeys start whole labs, one after the other.
test: $(READY) ## all tests, in their small deterministic size
	@$(PYTEST) -n 2 tests/unit tests/property tests/attacks
	@$(PYTEST) -n 2 --dist loadfile tests/integration
	@if ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; \
	then LAB_TEST_DATABASE=postgresql $(PYTEST) -n 2 $(ON_A_DATABASE); \
	else echo "tests on PostgreSQL skipped: none is installed (Debian: apt-get install postgresql)"; fi
	@$(PYTEST) tests/journeys

check: $(READY) ## format, lint, types, import directions, policies
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@.venv/bin/python -m marketplace.policy check --draft policies/cedar

bench: $(READY) ## the long sizes: every property at length, then the benchmarks
	@LAB_FULL=1 $(PYTEST) -n 2 tests/property
	@.venv/bin/lab bench
	@.venv/bin/lab bench log

test-cluster: $(READY) ## what needs Maven, Go or Kubernetes tools
	@if [ -d tests/cluster ]; then $(PYTEST) tests/cluster; else echo "test-cluster skipped: there is no tests/cluster yet"; fi

clean: ## remove environments and caches (never a lab's home)
	@rm -rf .venv notebooks/.venv .uv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
