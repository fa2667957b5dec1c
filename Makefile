# The two commands of the README are `make demo` and `make test`; each sets up all it needs. `make help` lists the rest.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
PY := $(VENV)/bin/python
FUZZ_SECONDS ?= 60
# Several at a time, a file in one process: most tests wait for processes, keyrings and relays. One that dies is not replaced: the
# one in its place may wait for work for ever.
TEST_JOBS ?= -n 4 --dist loadfile --max-worker-restart=0
PYTHON_TESTS ?= --ignore=tests/vault tests
WORLDS ?= 1000
STEPS ?= 500
FIRST ?= 1
COUNT ?= 500
TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
RESULTS := $(TARGET_DIR)/results

# One interpreter for every build that links Python, so that nothing is compiled twice for another one.
export PYO3_PYTHON := $(abspath $(PY))
export CARGO_TERM_PROGRESS_WHEN := never
# Clippy compiles as rustc does and lints on the way: nothing is compiled, or checked, once more for its sake.
export RUSTC_WORKSPACE_WRAPPER := $(shell command -v clippy-driver)
# Where sampled tests begin (tests/sampling.json): another place for each commit, the same one for everybody who tries it.
MDK_SEED ?= $(shell printf '%d' 0x$$(git rev-parse --short=6 HEAD 2>/dev/null || echo 1))
export MDK_SEED

RUST_SOURCES = Cargo.toml Cargo.lock .cargo/config.toml .cargo/openssl/parts.conf rust-toolchain.toml $(shell find crates -name '*.rs' -o -name '*.sql' -o -name Cargo.toml)

.PHONY: help venv build demo quick test test-build test-client test-rust test-recorded test-vault test-python phones lint check check-rust check-python check-documents slowest nightly mutants bench accounts fuzz coverage architecture torture vault-proof memory simulate wheel wheel-tests docs clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

venv: $(VENV)/.tools ## virtual environment with the development tools

$(VENV)/.tools: requirements-dev.txt
	@echo "venv: setting up $(VENV)"
	@python=$$(bash scripts/find_python.sh); "$$python" -m venv --clear $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

build: $(VENV)/.built ## the extension for development, importable in .venv

$(VENV)/.built: $(VENV)/.tools pyproject.toml $(RUST_SOURCES)
	@$(PY) scripts/build.py
	@$(PY) -c 'import mdk'
	@rm -f $(VENV)/.optimized
	@touch $@

# The extension as a wheel has it, in the same place: what measures time needs it.
$(VENV)/.optimized: $(VENV)/.tools pyproject.toml $(RUST_SOURCES)
	@$(PY) scripts/build.py --release
	@$(PY) -c 'import mdk'
	@rm -f $(VENV)/.built
	@touch $@

demo: $(VENV)/.built ## two accounts, an invite, a chat, a restart; offline
	@$(PY) -m mdk demo

# ------------------------------------------------------------------ while you work

quick: lint $(VENV)/.unit-tested ## what a change needs while you work: build, unit tests, fast Python tests, fast lints; two minutes
	@$(MAKE) --no-print-directory $(VENV)/.built
	@echo "quick: Python"
	@$(PY) -m pytest -q $(TEST_JOBS) -m "not slow" $(QUICK_PYTHON)

# The fast Python tests: the engine's facade without its slowest files, and the rules of the house.
QUICK_PYTHON := tests/api tests/house $(addprefix --ignore=tests/api/test_,forks.py pages_written.py)

lint: $(VENV)/.tools
	@cargo fmt --all --check
	@$(VENV)/bin/ruff format --quiet --check . || { echo 'ruff format . would change files'; exit 1; }
	@$(VENV)/bin/ruff check --quiet .

$(VENV)/.unit-tested: $(VENV)/.tools $(RUST_SOURCES)
	@echo "quick: Rust unit tests"
	@$(PY) scripts/rust_tests.py --unit
	@touch $@

# ------------------------------------------------------------------ the gate

# Side by side, also where nobody asked for it: most of the time somebody waits for a process, a keyring or a relay.
test: ## everything that has to pass
	@$(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,--jobs=4 --output-sync=target) $(TESTS)

TESTS := test-rust test-recorded test-vault test-python

test-build: $(VENV)/.tools
	@$(PY) scripts/rust_tests.py --build

test-rust: $(VENV)/.tools
	@echo "test: Rust (sampled from MDK_SEED=$(MDK_SEED))"
	@$(PY) scripts/rust_tests.py

test-recorded: test-build
	@echo "test: recorded traffic under its own clock"
	@$(PY) scripts/recorded_clock.py --quiet

# The vault's tests lock pages as a user's program does; for the others that is a third of their cost.
test-vault: $(VENV)/.built
	@echo "test: Python, the vault (sampled from MDK_SEED=$(MDK_SEED))"
	@mkdir -p $(RESULTS)
	@$(PY) -m pytest -q $(TEST_JOBS) --junitxml=$(RESULTS)/vault.xml tests/vault

test-python: $(VENV)/.built
	@echo "test: Python, all else (sampled from MDK_SEED=$(MDK_SEED))"
	@mkdir -p $(RESULTS)
	@LD_PRELOAD="$$($(PY) scripts/no_mlock.py $(TARGET_DIR))" $(PY) -m pytest -q $(TEST_JOBS) \
		--junitxml=$(RESULTS)/python.xml $(PYTHON_TESTS)

phones: $(VENV)/.built ## every story, example and block of the guide once more, with the times of a user's account: is all shown that is said?
	@MDK_PHONES=1 $(PY) -m pytest -q $(TEST_JOBS) tests/client tests/cli tests/docs

slowest: $(VENV)/.tools ## the 20 slowest tests of the last run
	@$(PY) scripts/slowest.py $(RESULTS)/python.xml $(RESULTS)/vault.xml target/nextest/default/junit.xml

test-client: $(VENV)/.built ## the tests of the client and its relay alone, Rust and Python, with the command line's
	@$(PY) scripts/rust_tests.py --package mdk-client --package mdk-relay
	@$(PY) -m pytest -q $(TEST_JOBS) tests/client tests/cli

check: check-rust check-python check-documents ## formats, lints, types, stubs, licences, coverage table

check-rust: lint test-build $(VENV)/.built
	@echo "check: lints of Rust"
	@$(PY) scripts/rust_tests.py --lints $(VENV)/.warnings

check-python: lint $(VENV)/.built
	@echo "check: types and stubs of Python"
	@$(VENV)/bin/mypy
	@$(PY) -m mypy.stubtest mdk $(if $(wildcard tests/stubtest-allow.txt),--allowlist tests/stubtest-allow.txt)
	@$(PY) scripts/verify_types.py

check-documents: $(VENV)/.tools
	@echo "check: licences, sources and generated tables"
	@$(PY) scripts/licences.py
	@if cargo deny --version >/dev/null 2>&1; then cargo deny --log-level error check; \
	  else echo "check: advisories not looked up, cargo-deny is not installed"; fi
	@$(PY) scripts/coverage.py --check
	@$(PY) scripts/architecture.py --check
	@$(PY) scripts/vault_proof.py --check

# ------------------------------------------------------------------ the night

# Each part says how it ended; all of them run, whatever one says.
nightly: ## everything at full length: all samples, torture, orders, simulated worlds, fuzzing, mutants, benchmarks, the wheel
	@$(PY) scripts/nightly.py

mutants: $(VENV)/.built ## breaks 30 rules and promises one at a time; the tests of its area have to notice each
	@$(PY) scripts/mutants.py

bench: $(VENV)/.optimized ## ours, the peer and the floor (BENCH=quick for a short run, BENCH_ARGS=--check to hold the targets)
	@$(PY) benches/run.py $(if $(filter quick,$(BENCH)),--quick) $(BENCH_ARGS)

accounts: $(VENV)/.optimized ## COUNT accounts in one process: start-up, memory, idle time, connections (BENCH_ARGS=--check to hold the targets)
	@$(PY) benches/accounts.py --count $(COUNT) $(BENCH_ARGS)

fuzz: $(VENV)/.tools ## every fuzz target for FUZZ_SECONDS (FUZZ_ARGS=--night for ten million inputs, --keep for fuzz/kept)
	@$(PY) fuzz/run.py --seconds $(FUZZ_SECONDS) $(FUZZ_ARGS) || { code=$$?; \
	  [ $$code -eq 3 ] && echo "fuzz: not run, there is no nightly toolchain" || exit $$code; }

coverage: $(VENV)/.tools ## docs/coverage.md: every protocol rule, where it is enforced, what tests it
	@$(PY) scripts/coverage.py

architecture: $(VENV)/.tools ## the map in ARCHITECTURE.md: crates, their floors, what each folder is for
	@$(PY) scripts/architecture.py

vault-proof: $(VENV)/.built ## docs/vault-proof.md: which test shows each statement about the vault, from a run of them
	@$(PY) -m pytest -q $(TEST_JOBS) tests/vault --junitxml=$(VENV)/vault.xml || true
	@$(PY) scripts/vault_proof.py $(VENV)/vault.xml

torture: $(VENV)/.built ## kills and faults at every call, 2,000 random kills, losses of power, threads, a million messages; hours
	@$(PY) -m tests.vault.torture.run

memory: $(VENV)/.optimized ## memory scans and long lives of the optimized extension
	@$(PY) -m pytest -q $(TEST_JOBS) tests/vault/test_memory.py tests/vault/test_memory_whole.py tests/vault/test_locked_memory.py tests/vault/test_long_run.py

simulate: $(VENV)/.tools ## WORLDS seeded worlds of STEPS steps from seed FIRST in JOBS processes, and one that is broken on purpose
	@echo "simulate: $(WORLDS) worlds of $(STEPS) steps"
	@$(PY) scripts/simulate.py --worlds $(WORLDS) --steps $(STEPS) --first $(FIRST) $(addprefix --jobs ,$(JOBS)) $(addprefix --summary ,$(SUMMARY))
	@cargo test --profile long --quiet --locked -p mdk-core --features broken-order --test all a_broken_order -- --nocapture

docs: $(VENV)/.built ## the generated parts of the documents: API reference, pictures
	@$(PY) scripts/api_reference.py
	@$(PY) scripts/pictures.py

wheel: $(VENV)/.wheel-tools ## sdist and abi3 wheel in dist, looked at and tried (WHEEL_ARGS=--no-zig for this machine alone)
	@$(PY) scripts/wheel.py build $(WHEEL_ARGS)
	@$(PY) scripts/wheel.py check
	@$(PY) scripts/wheel.py smoke

wheel-tests: $(VENV)/.wheel-tools ## the tests against the wheel in dist, away from the checkout
	@$(PY) scripts/wheel_tests.py

$(VENV)/.wheel-tools: $(VENV)/.tools requirements-wheel.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-wheel.txt
	@touch $@

clean: ## everything that was built or set up here
	@rm -rf $(VENV) .peer dist python/mdk/*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis fuzz/libfuzzer/target
	@find . -name __pycache__ -not -path './target/*' -prune -exec rm -rf {} +
	@if [ -z "$${CARGO_TARGET_DIR:-}" ]; then cargo clean --quiet; else echo "clean: left $(TARGET_DIR) alone, it was set from outside"; fi
