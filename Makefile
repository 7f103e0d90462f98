# Every verb of the project. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PY := .venv/bin/python
PYTEST_WORKERS ?= 2
.PHONY: help venv venv-dev
help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
venv: ## create .venv with everything pinned (product, tests, linters)
	@bin/venv dev
