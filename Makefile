# Everything here works on a fresh Debian or Ubuntu with: python3 (3.11+) python3-venv python3-dev g++ make
VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= python3
MODEL  ?= demo
PROMPT ?=
CXX_FILES = $(shell find engine_cpp engine/gpu tests/engine_gpu -name '*.h' -o -name '*.cpp' -o -name '*.inl' -o -name '*.cuh')

export MODEL PROMPT

.DEFAULT_GOAL := help
.PHONY: help base run test check dev engine lint types rules format wheel clean

help: ## list the tasks
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## */\t/'

run: base ## chat with MODEL (default: the demo model); answer PROMPT instead when it is given
	@if [ -n "$$PROMPT" ]; then exec $(BIN)/ktd run "$$MODEL" "$$PROMPT" </dev/null; \
	elif [ -t 0 ] && [ -t 1 ]; then exec $(BIN)/ktd run "$$MODEL"; \
	else exec $(BIN)/ktd run "$$MODEL" "What is 12 + 30?" </dev/null; fi

test: dev ## run the whole test suite (ARGS="-k name" for a part)
	$(BIN)/python -P -m pytest -q $(ARGS)

check: dev lint types rules ## lint, format, types and import rules

wheel: dev ## build a wheel into dist/ and run the whole suite against it in a new venv
	$(BIN)/python packaging/check_wheel.py

engine: base ## build the C++ engine again after an edit

dev: ## prepare .venv for development
	@$(PYTHON) packaging/bootstrap.py dev

base:
	@$(PYTHON) packaging/bootstrap.py base

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@echo clang-format --dry-run -Werror engine_cpp/...
	@$(BIN)/clang-format --dry-run -Werror $(CXX_FILES)

types:
	$(BIN)/python packaging/link_tree.py
	MYPYPATH=build/types $(BIN)/python -m mypy -p ktd

rules:
	$(BIN)/python -P -m pytest -q tests/test_architecture.py

format: dev ## format all code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	@$(BIN)/clang-format -i $(CXX_FILES)

clean: ## remove what was built
	rm -rf build dist $(VENV)
