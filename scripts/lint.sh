#!/usr/bin/env bash
# Checks everything that can be checked without running the product. The first
# run builds golangci-lint from source: 2 to 3 minutes on two cores, then seconds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/steps.sh

format() {
  local found
  found=$(gofmt -l .) || return 1
  [ -z "$found" ] && return
  printf 'not formatted (run `make fmt`):\n%s\n' "$found"
  return 1
}

tidy() {
  go mod tidy -diff || { echo 'go.mod or go.sum is not tidy: run `go mod tidy`'; return 1; }
  # It builds the product as well, so its requirements follow those of go.mod.
  go -C e2e/fosite mod tidy -diff || { echo 'the module e2e/fosite is not tidy: run `go -C e2e/fosite mod tidy`'; return 1; }
}

vet() { go vet ./... && go -C e2e/fosite vet ./...; }

golangci() {
  go tool -modfile=tools/lint/go.mod golangci-lint run --allow-parallel-runners ./... &&
    (cd e2e/fosite && go tool -modfile=../../tools/lint/go.mod golangci-lint run --allow-parallel-runners ./...)
}

step "generated code is up to date" scripts/generate.sh --check
step "the contract (buf lint, buf breaking)" scripts/lint-proto.sh
step "gofmt" format
step "go vet" vet
step "golangci-lint and the layering" golangci
step "go.mod is tidy" tidy
steps_done lint
