#!/usr/bin/env bash
# What the packages' own tests, which run with all others of this module, do not show:
# the quick start of README.md as it stands in an empty module, the examples, the libraries that people
# use, and what a cached call costs. Works from every directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
root=$(cd ../.. && pwd)
tmp=$(mktemp -d)
dev=
cleanup() {
  if [ -n "$dev" ]; then
    kill "$dev" 2>/dev/null || true
    wait "$dev" 2>/dev/null || true
  fi
  rm -rf "$tmp"
}
trap cleanup EXIT

# start_dev starts `holdfast dev` in $tmp/.holdfast on free ports and waits until a
# client can find it, 60 s at most.
start_dev() {
  go -C "$root" build -o "$tmp/holdfast" ./cmd/holdfast
  (cd "$tmp" && exec ./holdfast dev --grpc-port 0 --http-port 0 --metrics-port 0 --sim-port 0) >"$tmp/dev.log" 2>&1 &
  dev=$!
  local i
  for ((i = 0; i < 600; i++)); do
    grep -q 'Ctrl-C ends it' "$tmp/dev.log" && return
    kill -0 "$dev" 2>/dev/null || break
    sleep 0.1
  done
  echo "holdfast dev did not start:" >&2
  cat "$tmp/dev.log" >&2
  return 1
}

# field NAME of what dev mode tells clients.
field() { sed -n 's/.*"'"$1"'": *"\([^"]*\)".*/\1/p' "$tmp/.holdfast/client.json"; }

quick_start() {
  mkdir "$tmp/quickstart"
  # The first block of Go that is a whole program.
  awk '/^```go$/ { block = ""; inside = 1; next }
    /^```$/ { if (inside && block ~ /^package main/) { printf "%s", block; exit } inside = 0 }
    inside { block = block $0 "\n" }' README.md >"$tmp/quickstart/main.go"
  [ -s "$tmp/quickstart/main.go" ] || { echo "README.md has no quick start" >&2; return 1; }
  cp "$root/go.sum" "$tmp/quickstart/" # nothing is looked up anew
  (
    cd "$tmp/quickstart"
    go mod init example.com/quickstart 2>/dev/null
    go mod edit -require github.com/holdfast-io/holdfast@v0.0.0 -replace "github.com/holdfast-io/holdfast=$root"
    GOFLAGS="${GOFLAGS-} -mod=mod" go build -o quickstart .
    go vet .
  )
  start_dev
  (
    cd "$tmp"
    export HOLDFAST_ADDR HOLDFAST_CERT=.holdfast/client.crt HOLDFAST_KEY=.holdfast/client.key HOLDFAST_CA=.holdfast/ca.crt
    HOLDFAST_ADDR=$(field addr)
    ./quickstart/quickstart
  ) >"$tmp/said" || { cat "$tmp/said" "$tmp/dev.log" >&2; return 1; }
  grep -q '^200 OK$' "$tmp/said" && grep -q '"accountId"' "$tmp/said" || {
    echo "the quick start printed:" >&2
    cat "$tmp/said" >&2
    return 1
  }
  echo "ok: the quick start of README.md in an empty module"
}

# whoami is the example that finds dev mode by itself.
whoami() {
  go build -o "$tmp/whoami" ./examples/whoami
  (cd "$tmp" && ./whoami) | grep -q '"accountId"' || { echo "examples/whoami does not work" >&2; return 1; }
  echo "ok: examples/whoami"
}

quick_start
whoami
go -C thirdparty test -race -timeout 5m -count=1 ./...
go test -run '^$' -bench '^BenchmarkCachedCallInLookUps$' -benchtime 1x . | grep -v '^PASS$'
