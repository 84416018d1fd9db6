#!/usr/bin/env bash
# Plays the simulation (broker/simulation) for long: at least ROTATIONS
# rotations (default 1000000), from seed FIRST (default 1). It prints a line for
# every seed and ends with the summary; a failing seed says how to replay it.
# Without the race detector, which would take six times as long: `make test`
# plays 20000 rotations with it.
# After that the real process is killed KILLS times (default 1000; 0: not at
# all) under load and at each named crash point, on a real disk; it says how far it
# is, and fails if a family is lost.
# Last, every fuzz target runs for FUZZTIME (default 10m; 0: none).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

go test ./broker/simulation -run '^TestSimulation$' -count=1 -v -timeout 24h \
  -progress -rotations "${ROTATIONS:-1000000}" -first "${FIRST:-1}" "$@"

if ((${KILLS:-1000} > 0)); then
  go run ./cmd/bench crash -kills "${KILLS:-1000}"
fi

if [[ ${FUZZTIME:-10m} != 0 ]]; then
  scripts/fuzz.sh
fi
