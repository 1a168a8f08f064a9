# Needs Python 3.11 or newer, or uv; the first command makes .venv, the next ones cost nothing.
.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint run bench cost chaos mutants outage worlds soak fuzz lock clean
BIN := .venv/bin
STAMP := .venv/installed
LUA := build/lua
ARGS ?=

help:  ## show this
	@sed -nE 's/^([a-z-]+):.*##/make \1\t/p' Makefile | expand -t 14

demo: $(STAMP)  ## four simulated days on the real worker: ARGS="--seed 7 --chaos"
	@$(BIN)/softbounce demo $(ARGS)

test: $(STAMP)  ## a contributor's loop, two minutes: ARGS="-k quiet"
	@$(BIN)/python -m pytest -m "not slow" -n auto --maxprocesses 4 -q $(ARGS)

test-all: $(STAMP)  ## the whole test suite, some twenty minutes
	@$(BIN)/python -m pytest -n 2 $(ARGS)

lint: $(STAMP)  ## ruff, mypy, the rooms, the Lua scripts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@rm -rf $(LUA) && $(BIN)/python -m softbounce.store.scripts $(LUA)
	@if command -v luacheck >/dev/null; then set -e; echo "luacheck $(LUA)"; luacheck --no-color -q $(LUA); $(BIN)/python -m checks.lua; \
	else echo "NOT CHECKED: the Lua scripts; luacheck is missing (apt-get install lua-check)"; [ "$$CI" != true ]; fi

run: $(STAMP)  ## the service: worker and durable store in ./data
	@exec $(BIN)/softbounce run $(ARGS)

bench: $(STAMP)  ## beside other queues, in ratios: VERIFY=1 compares counts, ARGS="--short" guards floors, ARGS=--planted
	@case "$(ARGS)" in *--short*|*--planted*) exit;; esac; \
	$(BIN)/python -c 'import dramatiq' 2>/dev/null || { if command -v uv >/dev/null; then \
	  uv pip install --quiet --python $(BIN)/python 'dramatiq>=2.2,<3'; else \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check 'dramatiq>=2.2,<3'; fi; } || true; \
	[ -d build/bullmq/node_modules/bullmq ] || { command -v npm >/dev/null && mkdir -p build/bullmq && \
	  timeout 120 npm install --silent --no-audit --no-fund --prefix build/bullmq bullmq@5; } || true  # what cannot be had is left out, and said
	@$(BIN)/python -m checks.bench $(if $(VERIFY),--verify) $(ARGS)

cost: $(STAMP)  ## what the worst inputs cost the store, in instructions: ARGS="--only recipients"
	@$(BIN)/python -m checks.cost $(ARGS)

chaos: $(STAMP)  ## faults and what they cost: CONTROL=1, SEED=1, REPORT=chaos.json, JUDGE=chaos.json, SCALE=1
	@$(BIN)/python -m checks.chaos --scale $(or $(SCALE),0.7) $(if $(SEED),--seed $(SEED)) $(if $(REPORT),--report $(REPORT)) \
	  $(if $(JUDGE),--judge $(JUDGE)) $(if $(CONTROL),--control) $(ARGS)

outage: $(STAMP)  ## 1,250,000 retries due at once and a cap of 50/s, in virtual time; some ten minutes
	@$(BIN)/python -m checks.outage $(ARGS)

worlds: $(STAMP)  ## what a policy recovers beside an oracle, in simulated worlds: ARGS="--short", ARGS="--policy FILE"
	@$(BIN)/python -m checks.worlds $(ARGS)

mutants: $(STAMP)  ## bugs planted one at a time, and whether the tests notice: ARGS="--sample 15 --seed x"
	@$(BIN)/python -m checks.mutants $(ARGS)

soak: $(STAMP)  ## the same, seed after seed: HOURS=8
	@$(BIN)/python -m checks.chaos --hours $(or $(HOURS),8) $(ARGS)

fuzz: $(STAMP)  ## a coverage-guided fuzzer on what comes from outside: SECONDS=60
	@$(BIN)/python -c 'import atheris' 2>/dev/null || { if command -v uv >/dev/null; then \
	  uv pip install --quiet --python $(BIN)/python 'atheris>=3,<4'; else \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check 'atheris>=3,<4'; fi; } || true  # few platforms have it
	@$(BIN)/python -m checks.fuzz --seconds $(or $(SECONDS),60) $(ARGS)

lock:  ## write requirements.lock anew (needs uv)
	@set -e; copy=$$(mktemp -d); trap 'rm -rf $$copy' EXIT; cp pyproject.toml $$copy; touch $$copy/README.md $$copy/LICENSE; \
	uv export --quiet --directory $$copy --no-emit-project --all-extras --group dev --no-annotate --no-header \
	  --format requirements-txt --output-file requirements.lock; cp $$copy/requirements.lock .

clean:  ## remove what was built; ./data stays
	rm -rf .venv build dist .*_cache .hypothesis src/*.egg-info
	find src checks tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml requirements.lock
	@set -e; if command -v uv >/dev/null; then \
	  uv venv --quiet --clear --python '>=3.11' .venv; \
	  uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock; \
	  uv pip install --quiet --python $(BIN)/python --no-deps -e .; \
	else \
	  for python in python3 python3.13 python3.12 python3.11 python3.14 none; do \
	    if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; done; \
	  if [ "$$python" = none ]; then echo "Python 3.11 or newer is needed, or uv" >&2; exit 1; fi; \
	  if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo "$$python cannot make a virtual environment: install python3-venv (apt-get install python3-venv)" >&2; exit 1; fi; \
	  echo "installing into .venv, about half a minute"; \
	  "$$python" -m venv --clear .venv; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .; \
	fi
	@touch $@
