#!/usr/bin/env bash
# Installs what the package is built and tested with, and builds it into dist/, and the
# tests, the conformance runner and the bench into .build/. Quick when nothing changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# install DIR installs the packages that DIR's lock file pins, unless they are there.
install() {
  [[ "$1/node_modules/.package-lock.json" -nt "$1/package-lock.json" ]] && return
  (cd "$1" && npm ci --no-audit --no-fund --no-update-notifier --loglevel=error </dev/null)
  touch "$1/node_modules/.package-lock.json"
}

# newer DIR... is true if something in them changed since the last build.
newer() {
  [[ ! -e .build/built ]] || [[ -n "$(find "$@" -newer .build/built -print -quit)" ]]
}

install .
if newer src test conformance bench package-lock.json package.json tsconfig.json tsconfig.dist.json; then
  rm -rf dist .build
  mkdir -p .build
  touch .build/began
  node_modules/.bin/tsc -p tsconfig.dist.json
  node_modules/.bin/tsc -p tsconfig.json
  touch -r .build/began .build/built
fi
