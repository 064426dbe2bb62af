# Dark Tower's recipes. `make help` lists them.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

TARGET := $(or $(CARGO_TARGET_DIR),target)
NPM := npm --prefix web --silent
CORE_WASM := web/sdk/src/core.wasm
# The same binaries serve every test; each thing is compiled once.
export DARKTOWER_BIN ?= $(abspath $(TARGET)/debug/darktower)
export DARKTOWER_BOT ?= $(abspath $(TARGET)/debug/darktower-bot)

.PHONY: help setup up test check check-rust check-web build-rust build-web web-core \
	test-rust test-web test-browser test-core bench-join fuzz fuzz-corpora gen fmt clean

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

check-web: ## Web: types and components
	$(NPM) run check

build-rust: ## Build every crate, test and binary for development
	cargo build --workspace --all-targets --quiet

build-web: web-core ## Build the web app into web/app/dist
	$(NPM) run build

web-core: ## Build the participant's core for the browser
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

test-web: ## Web unit tests
	$(NPM) test

test-browser: build-rust build-web ## Real browsers against the real program
	$(NPM) run e2e

bench-join: setup web-core build-web ## Measure joins over the impairing link (needs minutes)
	cargo build --release --quiet --package darktower --package darktower-client \
		--package darktower-load --package darktower-link --bins
	DARKTOWER_BIN=$(abspath $(TARGET)/release/darktower) $(TARGET)/release/bench-join
	DARKTOWER_BIN=$(abspath $(TARGET)/release/darktower) \
		DARKTOWER_BOT=$(abspath $(TARGET)/release/darktower-bot) \
		DARKTOWER_LINK=$(abspath $(TARGET)/release/darktower-link) $(NPM) run bench-join -w e2e

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
	rm -rf web/app/dist $(CORE_WASM)
