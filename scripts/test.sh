#!/usr/bin/env bash
# Runs all tests: set-up, every package with the race detector, and the
# end-to-end tests against an independent authorization server.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/steps.sh

# The mutants take minutes on two processors, and three times as many on busy ones.
flags=(-race -timeout 30m)
# A cached result says nothing about this run, and an order that happens to
# work says nothing about the next.
[ "${CI:-}" = true ] && flags+=(-count=1 -shuffle=on)

packages() { go list ./... | grep -v '/e2e\(/\|$\)\|/cmd/bench/crash$\|/clients/conformance$'; }

unit() {
  local list
  list=$(packages) || return 1
  # shellcheck disable=SC2086 # one word a package
  go test "${flags[@]}" $list
}

# Without the race detector, under which the packages' step plays a fifth of it.
simulation() { go test -timeout 15m -count=1 -run '^TestSimulation$' ./broker/simulation -rotations 20000; }
# Always run anew: what they test is a process, which no cache of results sees.
e2e() { go test -race -timeout 10m -count=1 ./e2e/ ./e2e/postgres/; }
# Most of it waits for leases and leeways to end, so more runs at a time than there are processors.
machine() { go test -race -timeout 5m -count=1 -parallel 16 ./e2e/machine/; }
# Looks for secrets in everything that the real binary says and writes.
leaks() { go test -race -timeout 15m -count=1 ./e2e/leaks/; }
# Three members with etcd in namespaces of their own, a primary killed and one cut off.
patroni() { go test -race -timeout 10m -count=1 ./e2e/patroni/; }
# Kills the released binary 50 times, and traces its system calls.
crash() { go test -race -timeout 10m -count=1 -parallel 8 ./cmd/bench/crash/; }
# A minute of disasters of processes, networks and PostgreSQL, and their judge's own tests.
chaos() { go test -race -timeout 10m -count=1 ./e2e/chaos/...; }
# Without the race detector, whose own memory would be what it measures.
hostile() { go test -timeout 5m -count=1 -run '^TestNoHonestCallFailsUnderAttack$' -v ./cmd/bench/; }
# Mostly waits for tokens to end: all SDKs' scenarios at once.
conformance() { go test -timeout 15m -count=1 -parallel 64 ./clients/conformance/; }
# A module of its own, so that the product does not depend on that server's dependencies.
fosite() { go -C e2e/fosite test -race -timeout 5m -count=1 -parallel 8 ./...; }

patient() {
  step "nothing leaks, real binary" leaks
  step "fail-over by Patroni, real binary" patroni
  step "a second independent provider" fosite
  step "faults of the machine, real binary" machine
}

# Without its set-up no test can be trusted to have run.
scripts/setup.sh
step "packages, with the race detector" unit
step "20,000 rotations under faults" simulation
meanwhile patient # they wait more than they work
step "end to end, real binary and browser" e2e
step "SDKs: one behaviour" conformance
step "SDK: Go" clients/go/test.sh
step "SDK: TypeScript" clients/typescript/test.sh
step "SDK: Python" clients/python/test.sh
step "SDK: Java" clients/java/test.sh
rejoin
step "kills and syncs, released binary" crash
step "three replicas through disasters" chaos
step "load by the hostile" hostile
steps_done test
