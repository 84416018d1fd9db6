# Every target works from any directory (`make -C path/to/holdfast test`) and in
# a fresh clone. The work is in scripts/, so that it can be read and run alone.

ROOT := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
ARGS ?=
SUITE ?= hot

.DEFAULT_GOAL := help
.PHONY: help dev build test soak lint generate bench setup fmt

help: ## Say what there is
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' "$(ROOT)/Makefile" | while IFS='|' read -r target text; do printf '  make %-9s %s\n' "$$target" "$$text"; done

dev: ## Start a broker, a simulated provider and two consented grants (ARGS="--dir DIR")
	@cd "$(ROOT)" && exec go run ./cmd/holdfast dev $(ARGS)

build: ## Build the release binary bin/holdfast; check that it is static and below 40 MB
	@"$(ROOT)/scripts/build.sh"

test: ## Run all tests, with all the set-up that they need
	@"$(ROOT)/scripts/test.sh"

soak: ## Simulate 1000000 rotations under faults, kill the real process 1000 times, let disasters happen to three replicas (ROTATIONS=n, FIRST=seed, KILLS=n, CHAOS=10m, PATRONI=10m)
	@"$(ROOT)/scripts/soak.sh"

lint: ## Check generated code, contract, format, layering and the Go code
	@"$(ROOT)/scripts/lint.sh"

generate: ## Generate again what comes of the contract: stubs of all languages, docs/api.md
	@"$(ROOT)/scripts/generate.sh"

bench: ## Measure against a bare server (SUITE=hot, ARGS="-json FILE")
	@cd "$(ROOT)" && exec go run ./cmd/bench $(SUITE) $(ARGS)

setup: ## Install what the tests need; `make test` does it by itself
	@"$(ROOT)/scripts/setup.sh"

fmt: ## Format the Go code and order its imports
	@cd "$(ROOT)" && exec go tool -modfile=tools/lint/go.mod golangci-lint fmt
