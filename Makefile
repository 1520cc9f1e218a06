# The front desk. `make` lists what there is; every target sets up what it needs and skips what is done.
# Needs Python 3.11 or newer with its venv module, and nothing else. PYTHON=... chooses another interpreter.

VENV := .venv
RUN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$p && break; done)
# What is installed is named by the digest of what it was installed from: an unchanged lock is never installed again.
RUNTIME := $(VENV)/.runtime-$(shell cat requirements.lock pyproject.toml | cksum | tr -dc 0-9)
DEVELOPMENT := $(VENV)/.development-$(shell cat requirements-dev.lock pyproject.toml | cksum | tr -dc 0-9)
# The kernels want a C compiler: where there is none, a package brings one (100 MB).
COMPILER := $(shell command -v $${CC:-cc} gcc clang >/dev/null 2>&1 || echo ziglang==0.17.1)
BENCHMARKS ?= $(filter-out $(addprefix benchmarks/,measuring.py pairing.py corpora.py figures.py),$(sort $(wildcard benchmarks/[a-z]*.py)))

export PIP_DISABLE_PIP_VERSION_CHECK := 1
.DEFAULT_GOAL := help
.PHONY: help demo demo-full test check bench docs lock clean install

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(RUNTIME)  ## create .venv with the locked dependencies and llmagentos

demo: $(RUNTIME)  ## learn two skills on this machine, refuse a harmful one, write a report (about 10 minutes)
	$(RUN)/llmagentos models pull
	$(RUN)/llmagentos demo --out reports/demo

demo-full: $(RUNTIME)  ## the demo with a third skill and 300 held-out tasks a cell (about 45 minutes)
	$(RUN)/llmagentos models pull
	$(RUN)/llmagentos demo --full --out reports/demo-full

test: $(DEVELOPMENT)  ## run the tests
	$(RUN)/python -m pytest

check: $(DEVELOPMENT)  ## format, lint, types, architecture and documentation
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports
	$(RUN)/python -m pytest tests/test_docs.py tests/test_architecture.py tests/test_imports.py

bench: $(DEVELOPMENT)  ## run the benchmarks (hours; units done are kept); BENCHMARKS=benchmarks/decode.py ARGS=--fresh
	@for file in $(BENCHMARKS); do echo "== $$file"; $(RUN)/python $$file $(ARGS) || exit 1; done

docs: $(DEVELOPMENT)  ## write docs/cli.md from the commands, docs/figures.md from the results of benchmarks
	$(RUN)/python -m llmagentos.cli.reference > docs/cli.md.new && mv docs/cli.md.new docs/cli.md
	$(RUN)/python benchmarks/figures.py > docs/figures.md.new && mv docs/figures.md.new docs/figures.md
	$(RUN)/python -m pytest tests/test_docs.py tests/benchmarks/test_figures.py

lock: $(DEVELOPMENT)  ## resolve pyproject.toml again and write both locks
	$(RUN)/python -m pip install --quiet --dry-run --ignore-installed --report - . \
		| $(RUN)/python .ci/lock.py > requirements.lock.new && mv requirements.lock.new requirements.lock
	$(RUN)/python -m pip install --quiet --dry-run --ignore-installed --report - '.[dev]' \
		| $(RUN)/python .ci/lock.py > requirements-dev.lock.new && mv requirements-dev.lock.new requirements-dev.lock

clean:  ## remove .venv, caches and build folders; reports and the home stay
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache src/*.egg-info

$(VENV)/.created:
	@test -n "$(PYTHON)" || { echo "LLMAgentOS needs Python 3.11 or newer with its venv module, and none was found." >&2; \
		echo "On Debian or Ubuntu: sudo apt install python3-venv. Another one: make PYTHON=/path/to/python3" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	@touch $@

$(RUNTIME): $(VENV)/.created
	$(RUN)/python -m pip install -r requirements.lock $(COMPILER)
	$(RUN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.runtime-* && touch $@

$(DEVELOPMENT): $(VENV)/.created
	$(RUN)/python -m pip install -r requirements-dev.lock $(COMPILER)
	$(RUN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.development-* $(VENV)/.runtime-* && touch $@ $(RUNTIME)
