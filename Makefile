# Dark Tower's recipes. `make help` lists them.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

TARGET := $(or $(CARGO_TARGET_DIR),target)
NPM := npm --prefix web --silent
CORE_WASM := web/sdk/src/core.wasm
SOUND_WASM := web/sdk/src/sound.wasm
# The same binaries serve every test; each thing is compiled once.
export DARKTOWER_BIN ?= $(abspath $(TARGET)/debug/darktower)
export DARKTOWER_BOT ?= $(abspath $(TARGET)/debug/darktower-bot)

.PHONY: help setup up test check check-rust check-web build-rust build-web web-core \
	test-rust test-web test-browser test-core bench-join bench-fanout bench-control bench-network bench-peers chaos sim fuzz fuzz-corpora gen fmt clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what is missing (system packages, npm packages, WASM target)
	@./scripts/setup.sh

up: setup web-core ## Build everything and start it; Ctrl-C stops it
	@$(NPM) run build
	@cargo build --quiet --profile quick --package darktower --bin darktower
	@exec $(TARGET)/quick/darktower

# Checks come first because they fail fast; the browser comes last because it
# needs everything else.
test: setup ## Run every check and every test, browsers included
	@$(MAKE) --no-print-directory check-rust
	@$(MAKE) --no-print-directory web-core
	@$(MAKE) --no-print-directory check-web build-web
	@$(MAKE) --no-print-directory test-rust
	@$(MAKE) --no-print-directory test-core
	@$(MAKE) --no-print-directory test-web
	@$(MAKE) --no-print-directory test-browser

check: setup check-rust web-core check-web ## Format, lints, rules of the house, types

check-rust: ## Rust: format, lints, generated code, rules of the house
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	cargo xtask gen --check
	cargo xtask tidy
	cargo update --workspace --locked --quiet --manifest-path bench/peers/Cargo.toml

check-web: ## Web: types and components
	$(NPM) run check

build-rust: ## Build every crate, test and binary for development
	cargo build --workspace --all-targets --quiet

build-web: web-core ## Build the web app into web/app/dist
	$(NPM) run build

web-core: ## Build the cores for the browser
	@./scripts/build-web-core.sh

test-rust: build-rust ## Rust tests: unit, pair, loopback, real processes, corpora
	@if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --workspace; \
	else \
		cargo test --workspace --all-targets; \
	fi

test-core: build-rust ## The browser's core against all vectors and against the native build
	@./scripts/build-web-core.sh target/web-core/vectors.wasm -- --features vectors
	@node scripts/check-web-core.mjs target/web-core/vectors.wasm $(TARGET)/debug/vectors-end

test-web: web-core ## Web unit tests
	$(NPM) test

test-browser: build-rust build-web ## Real browsers against the real program
	$(NPM) run e2e

# One after the other: two would share the processors. `make bench-join JOINS=3` for a look.
JOINS ?=
SPANS ?= $(abspath bench/results/join-$(shell date +%F)-spans.txt)
bench-join: setup web-core build-web ## Measure joins over the impairing link (8 minutes, once it is built)
	@echo "building the programs"
	@cargo build --release --quiet --package darktower --package darktower-client \
		--package darktower-load --package darktower-link --bins
	@rm -f $(SPANS)
	@echo "native joins"
	@DARKTOWER_BIN=$(abspath $(TARGET)/release/darktower) $(TARGET)/release/bench-join --spans $(SPANS) \
		$(if $(JOINS),-n $(JOINS))
	@echo "joins of browsers"
	@DARKTOWER_BIN=$(abspath $(TARGET)/release/darktower) \
		DARKTOWER_BOT=$(abspath $(TARGET)/release/darktower-bot) \
		DARKTOWER_LINK=$(abspath $(TARGET)/release/darktower-link) \
		BENCH_SPANS=$(abspath $(TARGET)/release/bench-spans) \
		$(NPM) run bench-join -w e2e -- --spans $(SPANS) $(if $(JOINS),--n $(JOINS))
	@echo "the trees of spans are in $(SPANS)"

ROWS ?=
FANOUT := cargo build --release --quiet --package darktower --package darktower-load --bins
bench-fanout: ## Measure what a forwarded frame costs: make bench-fanout [ROWS="--row video-1x100 --seconds 20"]
	$(FANOUT)
	DARKTOWER_BIN=$(abspath $(TARGET)/release/darktower) $(TARGET)/release/bench-fanout $(ROWS)

CONTROL ?=
bench-control: setup ## What one meeting and one global controller carry (4 minutes, once it is built): make bench-control [CONTROL="--meetings 100,200"]
	cargo build --release --quiet --package darktower --package darktower-bench-control --bins
	DARKTOWER_BIN=$(abspath $(TARGET)/release/darktower) $(TARGET)/release/bench-control $(CONTROL)

PEERS ?=
bench-peers: ## The same frames through other systems, side by side (builds them first, many minutes): make bench-peers [PEERS="--seconds 20"]
	$(FANOUT)
	@./scripts/build-peers.sh $(abspath $(TARGET))/peers
	DARKTOWER_BIN=$(abspath $(TARGET)/release/darktower) $(TARGET)/peers/build/release/darktower-peers \
		--moq-relay $(TARGET)/peers/bin/moq-relay $(PEERS)

bench-network: setup web-core build-web ## Rows N1 to N10 of bad networks, in virtual time, over the program, and N1, N2, N7 with browsers (10 minutes)
	cargo build --release --quiet --package darktower --package darktower-client --package darktower-link \
		--package darktower-bench-network --bins
	@export DARKTOWER_BIN=$(abspath $(TARGET)/release/darktower) DARKTOWER_BOT=$(abspath $(TARGET)/release/darktower-bot) \
		DARKTOWER_LINK=$(abspath $(TARGET)/release/darktower-link); held=0; \
	$(TARGET)/release/bench-network || held=1; \
	$(NPM) run bench-network -w e2e || held=1; \
	exit $$held

ROW ?=
CHAOS ?=
PREVIOUS ?=
chaos: setup web-core build-web ## Kill parts of a running system under load: make chaos [ROW=F3]; long rows and updates too: CHAOS=--all PREVIOUS=<commit>
	$(if $(PREVIOUS),@./scripts/build-previous.sh $(PREVIOUS) $(abspath $(TARGET))/previous)
	cargo build --profile quick --quiet --package darktower --package darktower-client --package darktower-bench-chaos --bins
	@$(NPM) run tools -w e2e
	DARKTOWER_BIN=$(abspath $(TARGET)/quick/darktower) DARKTOWER_BOT=$(abspath $(TARGET)/quick/darktower-bot) \
		DARKTOWER_PREVIOUS=$(abspath $(TARGET)/previous/darktower) $(TARGET)/quick/bench-chaos --browser $(addprefix --row ,$(ROW)) $(CHAOS)

SEED ?=
SEEDS ?= 3000
FROM ?= 1000
sim: ## Clusters with faults in virtual time: make sim [SEEDS=3000 FROM=1000], or one step by step: make sim SEED=7
	@cargo build --quiet --package darktower-sim --bin darktower-sim
	@$(TARGET)/debug/darktower-sim $(if $(SEED),$(SEED),all $(FROM) $(SEEDS))

fuzz-corpora: ## Replay the corpora of every decoder
	cargo test --quiet --package darktower-fuzz

DECODER ?=
SECONDS ?= 60
fuzz: ## Fuzz one decoder: make fuzz DECODER=media SECONDS=60
	@./scripts/fuzz.sh "$(DECODER)" "$(SECONDS)"

gen: ## Write generated code anew
	cargo xtask gen

fmt: ## Format Rust and web sources
	cargo fmt --all
	$(NPM) run format

clean: ## Remove what was built; ./data stays
	cargo clean
	rm -rf web/app/dist $(CORE_WASM) $(SOUND_WASM)
