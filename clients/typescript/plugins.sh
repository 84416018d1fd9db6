#!/usr/bin/env bash
# Installs protoc-gen-es, which buf.gen.yaml names, from the lock file; quick when it is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
mkdir -p .build
exec 9>.build/lock
flock 9
[[ node_modules/.package-lock.json -nt package-lock.json ]] && exit 0
npm ci --no-audit --no-fund --no-update-notifier --loglevel=error </dev/null
touch node_modules/.package-lock.json
