VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= python3
MODEL  ?= demo
PROMPT ?=
BUILD  := build/engine

.DEFAULT_GOAL := help
.PHONY: help run test check dev engine types format wheel clean

help: ## list the tasks
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## */\t/'

run: $(VENV)/base.stamp ## chat with MODEL (the demo model), or answer PROMPT
	@$(BIN)/ktd run $(MODEL) $(if $(PROMPT),"$(PROMPT)",$(if $(shell test -t 0 && echo tty),,"What is 12 + 30?"))

test: $(VENV)/dev.stamp ## run the whole test suite
	$(BIN)/python -P -m pytest -q

check: $(VENV)/dev.stamp types ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	git ls-files 'engine_cpp/*.h' 'engine_cpp/*.cpp' 'engine_cpp/*.inl' | xargs $(BIN)/clang-format --dry-run --Werror

types:
	$(BIN)/python packaging/link_tree.py
	MYPYPATH=build/types $(BIN)/python -m mypy -p ktd

format: $(VENV)/dev.stamp ## format all code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	git ls-files 'engine_cpp/*.h' 'engine_cpp/*.cpp' 'engine_cpp/*.inl' | xargs $(BIN)/clang-format -i

wheel: $(VENV)/dev.stamp ## build a wheel into dist/
	$(BIN)/python -m pip wheel -q --no-deps -w dist .

clean: ## remove what was built
	rm -rf build dist $(VENV)
