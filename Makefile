# The two commands of the README are `make demo` and `make test`; each sets up all it needs. `make help` lists the rest.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
PY := $(VENV)/bin/python
FUZZ_SECONDS ?= 60
# Three at a time, a file in one process: many wait for processes, keyrings and relays. One that dies is not replaced: the one
# in its place may wait for work for ever.
TEST_JOBS ?= -n 3 --dist loadfile --max-worker-restart=0
SHUFFLES ?= $(or $(MDK_SHUFFLES),200)
WORLDS ?= 1000
STEPS ?= 500
FIRST ?= 1
COUNT ?= 500
CORES := $(shell getconf _NPROCESSORS_ONLN)
# A long test in as many processes as there are cores: those of one process would wait for each other (tests/kit/shares.rs).
IN_PARTS = seq 0 $$(($(CORES) - 1)) | xargs -P $(CORES) -I PART env MDK_THREADS=1 MDK_PARTS=$(CORES) MDK_PART=PART
TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))

# One interpreter for every build that links Python, so that nothing is compiled twice for another one.
export PYO3_PYTHON := $(abspath $(PY))
export CARGO_TERM_PROGRESS_WHEN := never

RUST_SOURCES = Cargo.toml Cargo.lock .cargo/config.toml rust-toolchain.toml $(shell find crates -name '*.rs' -o -name '*.sql' -o -name Cargo.toml)
# The extension is tested from Python: a Rust test program cannot link it without an interpreter's library.
CARGO_TESTED := --workspace --exclude mdk-python --exclude mdk-floor

.PHONY: help venv build demo test test-build test-client test-rust test-recorded test-python check check-rust check-python check-documents bench accounts fuzz coverage torture vault-proof scenarios orders simulate wheel docs clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

venv: $(VENV)/.tools ## virtual environment with the development tools

$(VENV)/.tools: requirements-dev.txt
	@echo "venv: setting up $(VENV)"
	@python=$$(bash scripts/find_python.sh); "$$python" -m venv --clear $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

build: $(VENV)/.built ## optimized extension, importable in .venv

$(VENV)/.built: $(VENV)/.tools pyproject.toml $(RUST_SOURCES)
	@echo "build: the extension, optimized (the first time takes some minutes)"
	@VIRTUAL_ENV=$(abspath $(VENV)) $(VENV)/bin/maturin develop --release --locked --quiet >$(VENV)/build.log 2>&1 \
	  || { cat $(VENV)/build.log >&2; exit 1; }
	@$(PY) -c 'import mdk'
	@touch $@

demo: $(VENV)/.built ## two accounts, an invite, a chat, a restart; offline
	@$(PY) -m mdk demo

test: test-rust test-recorded test-python ## everything that has to pass

# (TEST_PROGRAMS chooses some of them)
test-build:
	@cargo test --quiet --locked --no-run $(CARGO_TESTED) $(TEST_PROGRAMS)

test-rust: $(VENV)/.tools
	@echo "test: Rust"
	@$(PY) scripts/rust_tests.py $(CARGO_TESTED)

test-recorded: $(VENV)/.tools
	@echo "test: recorded traffic under its own clock"
	@$(PY) scripts/recorded_clock.py --quiet

test-python: $(VENV)/.built
	@echo "test: Python"
	@$(PY) -m pytest -q $(TEST_JOBS)

# More of them than processors: what these tests do is mostly to wait for relays, each for its own.
test-client: $(VENV)/.built ## the client's tests alone, Rust and Python, with the command line's
	@RUST_TEST_THREADS=6 $(PY) scripts/rust_tests.py -p mdk-client
	@$(PY) -m pytest -q -n 5 --dist loadfile --max-worker-restart=0 tests/client tests/cli

check: check-rust check-python check-documents ## formats, lints, types, stubs, licences, coverage table

# Cargo shares out the cores itself: what --jobs says to it, it cannot use here.
check-rust: $(VENV)/.tools
	@echo "check: format and lints of Rust"
	@cargo fmt --all --check
	@env -u MAKEFLAGS -u MFLAGS cargo clippy --quiet --locked --workspace --all-targets -- -D warnings

check-python: $(VENV)/.built
	@echo "check: format, lints, types and stubs of Python"
	@$(VENV)/bin/ruff format --quiet --check . || { echo 'ruff format . would change files'; exit 1; }
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/mypy
	@$(PY) -m mypy.stubtest mdk $(if $(wildcard tests/stubtest-allow.txt),--allowlist tests/stubtest-allow.txt)
	@$(PY) scripts/verify_types.py

check-documents: $(VENV)/.tools
	@echo "check: licences, sources and generated tables"
	@$(PY) scripts/licences.py
	@if cargo deny --version >/dev/null 2>&1; then cargo deny --log-level error check; \
	  else echo "check: advisories not looked up, cargo-deny is not installed"; fi
	@$(PY) scripts/coverage.py --check
	@$(PY) scripts/vault_proof.py --check

bench: $(VENV)/.built ## ours, the peer and the floor (BENCH=quick for a short run, BENCH_ARGS=--check to hold the targets)
	@$(PY) benches/run.py $(if $(filter quick,$(BENCH)),--quick) $(BENCH_ARGS)

accounts: $(VENV)/.built ## COUNT accounts in one process: start-up, memory, idle time, connections (BENCH_ARGS=--check to hold the targets)
	@$(PY) benches/accounts.py --count $(COUNT) $(BENCH_ARGS)

fuzz: $(VENV)/.tools ## every fuzz target for FUZZ_SECONDS
	@$(PY) fuzz/run.py --seconds $(FUZZ_SECONDS) || { code=$$?; \
	  [ $$code -eq 3 ] && echo "fuzz: not run, there is no nightly toolchain" || exit $$code; }

coverage: $(VENV)/.tools ## docs/coverage.md: every protocol rule, where it is enforced, what tests it
	@$(PY) scripts/coverage.py

vault-proof: $(VENV)/.built ## docs/vault-proof.md: which test shows each statement about the vault, from a run of them
	@$(PY) -m pytest -q $(TEST_JOBS) tests/vault --junitxml=$(VENV)/vault.xml || true
	@$(PY) scripts/vault_proof.py $(VENV)/vault.xml

torture: $(VENV)/.built ## kills and faults at every call, 2,000 random kills, losses of power, threads, a million messages: hours
	@$(PY) -m tests.vault.torture.run

scenarios: ## every scenario of MDK_SCENARIOS (or of tests/vectors) and policy case, plain and SHUFFLES times shuffled
	@echo "scenarios: plain, and $(SHUFFLES) times shuffled"
	@MDK_SHUFFLES=$(SHUFFLES) cargo test --release --quiet --locked -p mdk-core --test all scenarios:: -- --nocapture
	@MDK_SHUFFLES=$(SHUFFLES) cargo test --release --quiet --locked -p mdk-core --lib every_recorded_policy_case

orders: $(VENV)/.tools ## long runs: 10,000 shuffles of a log, 500 orders of the recorded stories, every order of a race
	@$(PY) scripts/recorded_clock.py --release --quiet
	@cargo test --release --quiet --locked -p mdk-core --no-run --test all
	@$(IN_PARTS) MDK_SHUFFLES=10000 cargo test --release --quiet --locked -p mdk-core --test all converge::shuffles:: -- --nocapture
	@$(IN_PARTS) MDK_RACES=1 cargo test --release --quiet --locked -p mdk-core --test all converge::races:: -- --nocapture

simulate: $(VENV)/.tools ## WORLDS seeded worlds of STEPS steps from seed FIRST in JOBS processes, and one that is broken on purpose
	@echo "simulate: $(WORLDS) worlds of $(STEPS) steps"
	@$(PY) scripts/simulate.py --worlds $(WORLDS) --steps $(STEPS) --first $(FIRST) $(addprefix --jobs ,$(JOBS)) $(addprefix --summary ,$(SUMMARY))
	@cargo test --release --quiet --locked -p mdk-core --features broken-order --test all a_broken_order -- --nocapture

docs: $(VENV)/.built ## the generated parts of the documents: API reference, pictures
	@$(PY) scripts/api_reference.py
	@$(PY) scripts/pictures.py

wheel: $(VENV)/.wheel-tools ## sdist and abi3 wheel in dist, looked at and tried (WHEEL_ARGS=--no-zig for this machine alone)
	@$(PY) scripts/wheel.py build $(WHEEL_ARGS)
	@$(PY) scripts/wheel.py check
	@$(PY) scripts/wheel.py smoke

$(VENV)/.wheel-tools: $(VENV)/.tools requirements-wheel.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-wheel.txt
	@touch $@

clean: ## everything that was built or set up here
	@rm -rf $(VENV) .peer dist python/mdk/*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis fuzz/target
	@find . -name __pycache__ -not -path './target/*' -prune -exec rm -rf {} +
	@if [ -z "$${CARGO_TARGET_DIR:-}" ]; then cargo clean --quiet; else echo "clean: left $(TARGET_DIR) alone, it was set from outside"; fi
