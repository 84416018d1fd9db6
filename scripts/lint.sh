#!/usr/bin/env bash
# Checks everything that can be checked without running the product. The first
# run builds golangci-lint from source: 2 to 3 minutes on two cores, then seconds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/steps.sh

# Modules of their own: tests whose dependencies are not the product's.
modules=(e2e/fosite clients/go/thirdparty)

format() {
  local found
  found=$(gofmt -l .) || return 1
  [ -z "$found" ] && return
  printf 'not formatted (run `make fmt`):\n%s\n' "$found"
  return 1
}

tidy() {
  go mod tidy -diff || { echo 'go.mod or go.sum is not tidy: run `go mod tidy`'; return 1; }
  # They build the product as well, so their requirements follow those of go.mod.
  local module
  for module in "${modules[@]}"; do
    go -C "$module" mod tidy -diff || { echo "the module $module is not tidy: run \`go -C $module mod tidy\`"; return 1; }
  done
}

vet() {
  go vet ./... || return 1
  local module
  for module in "${modules[@]}"; do
    go -C "$module" vet ./... || return 1
  done
}

golangci() {
  local root=$PWD module
  for module in . "${modules[@]}"; do
    (cd "$module" && go tool -modfile="$root/tools/lint/go.mod" golangci-lint run --allow-parallel-runners ./...) || return 1
  done
}

step "generated code is up to date" scripts/generate.sh --check
step "the contract (buf lint, buf breaking)" scripts/lint-proto.sh
step "gofmt" format
step "go vet" vet
step "golangci-lint and the layering" golangci
step "go.mod is tidy" tidy
steps_done lint
