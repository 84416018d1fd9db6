#!/usr/bin/env bash
# Fuzzes every target of the module for FUZZTIME each (default 10m), one after
# another: those that `go test -list` finds, so that none is forgotten. MATCH
# (a regular expression) narrows them by name. A failing input is kept below
# testdata/fuzz of its package, where plain `go test` tries it from then on; the
# other targets still run, and the exit code says that one failed. The seeds run
# with `make test`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fuzztime=${FUZZTIME:-10m} match=${MATCH:-.}
# One line for each target: its package and its name.
packages=$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u)
listed=$(for package in $packages; do
  go test "$package" -list '^Fuzz' | grep '^Fuzz' | sed "s|^|$package |"
done)
targets=$(grep -E " .*($match)" <<<"$listed" || true)
if [[ -z $targets ]]; then
  echo "fuzz: no target matches $match" >&2
  exit 2
fi
echo "fuzz: $(wc -l <<<"$targets") targets, $fuzztime each"

# An input is not made smaller for longer than a few seconds: where sockets are
# behind a target, no two runs of it look the same, and all of its time would go there.
failed=()
while read -r package target; do
  echo "fuzz: $package $target"
  if ! go test "$package" -run '^$' -fuzz "^$target\$" -fuzztime "$fuzztime" -fuzzminimizetime 3s -timeout 0 "$@" </dev/null; then
    failed+=("$package $target")
  fi
done <<<"$targets"
if ((${#failed[@]} > 0)); then
  printf 'fuzz: failed: %s\n' "${failed[@]}" >&2
  exit 1
fi
