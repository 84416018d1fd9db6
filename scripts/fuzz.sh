#!/usr/bin/env bash
# Fuzzes every target of the module for FUZZTIME each (default 10m), JOBS of them
# at a time (default: one for each processor) with the processors shared among
# them: those that `go test -list` finds, so that none is forgotten. MATCH (a
# regular expression) narrows them by name. A failing input is kept below
# testdata/fuzz of its package, where plain `go test` tries it from then on; the
# other targets still run, and the exit code says that one failed. The seeds run
# with `make test`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fuzztime=${FUZZTIME:-10m} match=${MATCH:-.} processors=$(nproc)
jobs=${JOBS:-$processors}
if [[ ! $jobs =~ ^[1-9][0-9]*$ ]]; then
  echo "fuzz: JOBS is $jobs; want the number of targets at a time, 1 or more" >&2
  exit 2
fi
workers=$((processors > jobs ? processors / jobs : 1))
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
echo "fuzz: $(wc -l <<<"$targets") targets, $fuzztime each, $jobs at a time"

# An input is not made smaller for longer than a few seconds: where sockets are
# behind a target, no two runs of it look the same, and all of its time would go there.
fuzz() {
  local package=$1 target=$2
  shift 2
  go test "$package" -run '^$' -fuzz "^$target\$" -fuzztime "$fuzztime" -fuzzminimizetime 3s \
    -parallel "$workers" -timeout 0 "$@" </dev/null 2>&1 | sed -u "s|^|$target: |"
}

# What runs in the background of a script does not hear an interrupt by itself.
trap 'trap - INT TERM; kill -TERM 0' INT TERM

failed=()
declare -A running=() # target by process id
# reap waits for one target to end.
reap() {
  local ended status=0
  wait -n -p ended "${!running[@]}" || status=$?
  ((status == 0)) || failed+=("${running[$ended]}")
  unset "running[$ended]"
}
while read -r package target; do
  ((${#running[@]} < jobs)) || reap
  echo "fuzz: $package $target"
  fuzz "$package" "$target" "$@" &
  running[$!]="$package $target"
done <<<"$targets"
while ((${#running[@]} > 0)); do reap; done
if ((${#failed[@]} > 0)); then
  printf 'fuzz: failed: %s\n' "${failed[@]}" >&2
  exit 1
fi
echo "fuzz: $(wc -l <<<"$targets") targets ran for $fuzztime each, none failed"
