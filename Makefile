# One command each; every target does its own set-up (.venv, dependencies by hash, system packages where root).
.DEFAULT_GOAL := help
SHELL := /bin/bash
PY := .venv/bin/python
export PYTHON
SCENARIO ?= whole_way
ARGS ?=

.PHONY: help demo test test-line check lint bench bench-line line train diagram lock clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

demo: ## one simulated call, from ring to record: make demo SCENARIO=third_turn ARGS=--fast
	@.ci/setup run
	@$(PY) -m triage demo $(SCENARIO) $(ARGS)

test: ## all tests but those that ring the telephone line; of these the quick ones where its packages and engines are
	@.ci/setup dev
	@$(PY) -m pytest $(ARGS)
	@[ ! -x .venv-line/bin/triage ] || .venv-line/bin/python -m pytest tests/line -m "line and not realtime" $(ARGS)

test-line: line ## types and tests of the telephone line: real engines, real phones; none is skipped
	@.ci/test-line $(ARGS)

line: ## what the telephone line needs: its packages, livekit-server, Redis
	@.ci/setup line
	@.venv-line/bin/python -m triage line install

check: lint ## the inner loop: format, lint, types, import contracts, unit tests (no whole scenarios, engines, wheel)
	@$(PY) -m pytest -m "not realtime and not engine" --ignore=tests/demo --ignore=tests/test_scenarios.py \
		--ignore=tests/test_wheel.py --ignore=tests/test_benchmarks.py --ignore=tests/classifiers/model/test_training.py

lint: ## all of check but the tests
	@.ci/setup dev
	@$(PY) -m ruff format --check -q .
	@$(PY) -m ruff check -q .
	@$(PY) -m mypy --no-error-summary
	@$(PY) -m mypy --no-error-summary tests --exclude tests/line/
	@.venv/bin/lint-imports >.venv/lint-imports.txt 2>&1 || { cat .venv/lint-imports.txt; exit 1; }

bench: ## figures of speed, with n
	@.ci/setup run
	@$(PY) -m benchmarks $(ARGS)

bench-line: line ## figures of the telephone line, with real phones: ten minutes on an idle machine
	@.venv-line/bin/python -m benchmarks.line $(ARGS)

train: ## fit the urgency model from the corpus in the repository; says whether the file changes
	@.ci/setup dev
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(PY) -m classifiers.training.train $(ARGS)

diagram: ## draw the machine into README
	@.ci/setup run
	@$(PY) -m triage diagram --write README.md

lock: ## pin the newest dependencies by hash (needs uv)
	@uv pip compile pyproject.toml --extra dev --extra build --extra train --extra plots --universal --generate-hashes --python-version 3.11 --no-header --no-emit-index-url --no-emit-find-links -q --upgrade -o requirements-dev.txt
	@uv pip compile pyproject.toml --extra build --constraint requirements-dev.txt --universal --generate-hashes --python-version 3.11 --no-header --no-emit-index-url --no-emit-find-links -q -o requirements.txt
	@uv pip compile pyproject.toml --extra dev --extra build --extra worker --extra bench --constraint requirements-dev.txt --universal --generate-hashes --python-version 3.11 --no-header --no-emit-index-url --no-emit-find-links -q -o requirements-line.txt

clean: ## remove everything made here (not the data folder)
	@rm -rf .venv .venv-line build dist out *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage coverage.xml
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
