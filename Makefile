# Every verb of the project. `make` alone lists them.
.DEFAULT_GOAL := help
PY := .venv/bin/python
# more than two cores: tests wait a good part of their time
TEST_WORKERS ?= 3
SEED ?= 1
PHONES ?= 20
HOURS ?= 8
WHOLE ?= 100
EACH ?= 25
JOBS ?= 2

.PHONY: help run parts test test-pg15 check format demo week simulate sweep bench peers openapi audit venv pins hooks clean

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

run: .run-packages ## try it out: database, S3, worker and server on this machine, with demo staff
	@$(PY) -m server run --demo

parts: .run-packages ## only the database and S3, for developing; prints where they are
	@$(PY) -m server parts

test: .dev-packages ## every test, against a real PostgreSQL and a real S3
	@$(PY) -m pytest -n $(TEST_WORKERS) --dist loadscope --no-loadscope-reorder $(ARGS)

POSTGRES_BIN ?= /usr/lib/postgresql/15/bin
test-pg15: .dev-packages ## the tests of storage against the oldest PostgreSQL that is supported (Debian's postgresql-15)
	@test -x $(POSTGRES_BIN)/postgres || { echo "没有 PostgreSQL 15：apt-get install postgresql-15，或用 POSTGRES_BIN=... 指定。 No PostgreSQL 15: install it, or name its bin folder."; exit 1; }
	@POSTGRES_BIN=$(POSTGRES_BIN) $(PY) -m pytest tests/storage -n $(TEST_WORKERS) --dist loadscope --no-loadscope-reorder $(ARGS)

check: .dev-packages ## formatter, linters, types, floors
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@.venv/bin/basedpyright --level error
	@.venv/bin/lint-imports --no-logo

format: .dev-packages ## format the code and mend what linters can mend
	@$(PY) -m ruff check --fix --quiet . || true
	@$(PY) -m ruff format .

demo: .run-packages ## watch a patrol day: 16 phones without signal, a killed server, and the proof that nothing was lost
	@$(PY) -m demo $(ARGS)

week: .run-packages ## the demo day and the week after it: whistle, deadlines, colours, a draw, an unannounced visit, a rebound
	@$(PY) -m demo --week $(ARGS)

simulate: .dev-packages ## many phones through bad networks and crashes: SEED=1 PHONES=20 HOURS=8
	@$(PY) -m tests.simulator --seed $(SEED) --phones $(PHONES) --hours $(HOURS)

sweep: .dev-packages ## new seeds of the whole mix and each scenario, logged; goes on where it was stopped: WHOLE=100 EACH=25 JOBS=2
	@$(PY) -m tests.simulator.sweep --whole $(WHOLE) --each $(EACH) --jobs $(JOBS)

bench: .dev-packages ## measure ours on this machine
	@$(PY) -m bench $(ARGS)

peers: .dev-packages ## measure ours beside peers and the physical limit
	@$(PY) bench/peers/run_all.py $(ARGS)

openapi: .dev-packages ## write contracts/openapi.json anew
	@$(PY) -m server openapi

audit: .run-packages ## replay the journal and compare it with the records
	@$(PY) -m server audit

venv: .dev-packages ## create .venv with everything pinned (product, tests, linters)

# The pins are made by uv, which is not needed otherwise. No address is written: whoever installs says where from.
PIN := uv pip compile --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11 --quiet pyproject.toml
pins: ## resolve the requirements files anew (needs uv)
	@$(PIN) --extra otel -o requirements.txt
	@$(PIN) --extra otel --extra sso --group dev -c requirements.txt -o requirements-dev.txt

hooks: ## run `check` before every commit, from now on
	@git config core.hooksPath bin/hooks

clean: ## forget caches; .venv and .data stay
	@rm -rf .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

.PHONY: .run-packages .dev-packages
.run-packages:
	@bin/venv run
.dev-packages:
	@bin/venv dev
