#!/usr/bin/env bash
# Plays the simulation (broker/simulation) for long: at least ROTATIONS
# rotations (default 1000000), from seed FIRST (default 1). It prints a line for
# every seed and ends with the summary; a failing seed says how to replay it.
# Without the race detector, which would take six times as long: `make test`
# plays 20000 rotations with it.
# After that the real process is killed KILLS times (default 1000; 0: not at
# all) under load and at each named crash point, on a real disk; it says how far it
# is, and fails if a family is lost.
# Then three replicas on PostgreSQL live through disasters of processes, networks
# and the database for CHAOS (default 10m; 0: not at all); each is printed as it begins,
# and the seed that lets them happen again.
# So do three on a cluster that Patroni fails over, whose leaders fail in turn, for
# PATRONI (default 10m; 0: not at all), as root.
# Last, every fuzz target runs for FUZZTIME (default 10m; 0: none), JOBS of them at a
# time (see fuzz.sh).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

go test ./broker/simulation -run '^TestSimulation$' -count=1 -v -timeout 24h \
  -progress -rotations "${ROTATIONS:-1000000}" -first "${FIRST:-1}" "$@"

if ((${KILLS:-1000} > 0)); then
  go run ./cmd/bench crash -kills "${KILLS:-1000}"
fi

if [[ ${CHAOS:-10m} != 0 ]]; then
  go test ./e2e/chaos -run '^TestDisastersLoseNothing$' -count=1 -v -timeout 24h -for "${CHAOS:-10m}"
fi

if [[ ${PATRONI:-10m} != 0 ]]; then
  go test ./e2e/patroni -run '^TestReplicasFollowTheLeaderAndLoseNothing$' -count=1 -v -timeout 24h -for "${PATRONI:-10m}"
fi

if [[ ${FUZZTIME:-10m} != 0 ]]; then
  scripts/fuzz.sh
fi
