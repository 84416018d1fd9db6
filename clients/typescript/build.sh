#!/usr/bin/env bash
#   build.sh [examples]
# Installs what the package is built and tested with, and builds it into dist/, and the
# tests, the conformance runner and the bench into .build/js. Quick when nothing changed.
# With "examples" it installs what those and the tests need as well.
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

# One at a time: several test suites call this, and none may see half a build.
mkdir -p .build
exec 9>.build/lock
flock 9

install .
if [[ "${1-}" = examples ]]; then
  install examples
  mkdir -p examples/node_modules/@holdfast-io
  ln -sfn ../../.. examples/node_modules/@holdfast-io/client
fi
if newer src test conformance bench package-lock.json package.json tsconfig.json tsconfig.dist.json; then
  touch .build/began
  # Put in place as a whole, so that what runs meanwhile never sees half of it.
  rm -rf .build/next
  node_modules/.bin/tsc -p tsconfig.dist.json --outDir .build/next/dist
  node_modules/.bin/tsc -p tsconfig.json --outDir .build/next/js
  rm -rf dist .build/js
  mv .build/next/dist dist
  mv .build/next/js .build/js
  touch -r .build/began .build/built
fi
