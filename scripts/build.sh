#!/usr/bin/env bash
# Builds the release binary bin/holdfast, and refuses one that is not what is
# promised: static (it runs in an empty image) and below 40 MB.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

limit=40000000

CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o bin/holdfast ./cmd/holdfast
size=$(wc -c <bin/holdfast)
if [ "$size" -ge "$limit" ]; then
  echo "bin/holdfast has $size bytes, want fewer than $limit: see what grew with: go tool nm -size -sort size (on a build without -s -w)" >&2
  exit 1
fi
if ldd bin/holdfast >/dev/null 2>&1; then
  echo "bin/holdfast is linked dynamically: a package brought in cgo in spite of CGO_ENABLED=0" >&2
  exit 1
fi
echo "bin/holdfast: static, $size bytes"
