#!/usr/bin/env bash
# Writes the Go stubs of everything below proto/, next to the protos.
#   scripts/generate.sh          regenerate in place
#   scripts/generate.sh --check  regenerate elsewhere and fail on a difference
# Works from every directory, and offline once the Go modules are downloaded.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case "${1-}" in
  "") check=false ;;
  --check) check=true ;;
  *) echo "usage: scripts/generate.sh [--check]" >&2; exit 2 ;;
esac

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# Always into an empty place first: a stub whose proto is gone must go too.
scripts/buf.sh generate --output "$tmp"

stubs() { (cd "$1" && find proto -name '*.pb.go' | LC_ALL=C sort); }

if $check; then
  # Only the stubs are compared; the protos are not in the fresh tree.
  stale=0
  for f in $( (stubs .; stubs "$tmp") | LC_ALL=C sort -u); do
    if ! cmp -s "$f" "$tmp/$f"; then
      echo "generate.sh: $f is not what its proto generates" >&2
      stale=1
    fi
  done
  if ((stale)); then
    echo "Run 'make generate' and commit the result." >&2
    exit 1
  fi
  exit 0
fi

for f in $(stubs .); do
  [[ -e "$tmp/$f" ]] || rm -- "$f"
done
for f in $(stubs "$tmp"); do
  # An unchanged stub keeps its time, so that builds stay cached.
  cmp -s "$tmp/$f" "$f" || install -m 0644 "$tmp/$f" "$f"
done
