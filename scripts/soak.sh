#!/usr/bin/env bash
# Plays the simulation (broker/simulation) for long: at least ROTATIONS
# rotations (default 1000000), from seed FIRST (default 1). It prints a line for
# every seed and ends with the summary; a failing seed says how to replay it.
# Without the race detector, which would take six times as long: `make test`
# plays 20000 rotations with it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

exec go test ./broker/simulation -run '^TestSimulation$' -count=1 -v -timeout 24h \
  -progress -rotations "${ROTATIONS:-1000000}" -first "${FIRST:-1}" "$@"
