#!/usr/bin/env bash
# Tests the SDK for TypeScript: lint and types; its own tests on this Node and on later ones;
# the package, and the README's program as it stands, in an empty project; the libraries
# that people use; and what a cached call costs. Works from every directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
here=$PWD
export NO_UPDATE_NOTIFIER=1 NODE_OPTIONS=

./build.sh
./build.sh examples
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

# quiet COMMAND... shows what it said only if it fails.
quiet() {
  "$@" >"$tmp/said" 2>&1 || { cat "$tmp/said" >&2; return 1; }
}

quiet node_modules/.bin/eslint --max-warnings 0 .
for node in node examples/node_modules/node22/bin/node examples/node_modules/node24/bin/node; do
  quiet "$node" --test --test-reporter=tap .build/js/test/*.test.js
  echo "ok: $(grep '^# pass' "$tmp/said" | tr -dc 0-9) tests of its own on Node $("$node" --version)"
done

if [ -z "${HOLDFAST_BIN-}" ]; then
  go -C ../.. build -o "$tmp/holdfast" ./cmd/holdfast
  export HOLDFAST_BIN=$tmp/holdfast
fi

# The package holds what is to be there and nothing else, and no host but the project's.
quiet npm pack --pack-destination "$tmp" --json
tarball=$(echo "$tmp"/*.tgz)
tar -tzf "$tarball" >"$tmp/list"
if grep -v '^package/\(LICENSE\|README.md\|package.json\|dist/[a-z_/0-9]*\.\(js\|d\.ts\)\)$' "$tmp/list"; then
  echo "the package holds what it should not" >&2
  exit 1
fi
for file in LICENSE README.md package.json dist/index.js dist/index.d.ts dist/testing/index.js dist/proto.d.ts; do
  grep -q "^package/$file\$" "$tmp/list" || { echo "the package lacks $file" >&2; exit 1; }
done
! grep '"resolved"' package-lock.json examples/package-lock.json || { echo "a lock file names a registry's host" >&2; exit 1; }

# An empty project: the types are whole, and the README's program runs as it stands.
mkdir "$tmp/project"
cat >"$tmp/project/package.json" <<'JSON'
{ "name": "empty", "private": true, "type": "module" }
JSON
(cd "$tmp/project" && quiet npm install --prefer-offline --no-audit --no-fund --no-update-notifier --loglevel=error "$tarball")
[ ! -e "$tmp/project/node_modules/typescript" ] && [ ! -e "$tmp/project/node_modules/node22" ] || { echo "users get what only tests need" >&2; exit 1; }
awk '/^```js$/ { inside = 1; next } /^```$/ { if (inside) exit } inside' README.md >"$tmp/project/quickstart.mjs"
sed 's/import { Client, ConsentRequired }/import { Client, ConsentRequired, type WatchEvent }/
  $a export const types: WatchEvent["type"][] = [];' "$tmp/project/quickstart.mjs" >"$tmp/project/quickstart.mts"
ln -s "$here/node_modules/@types" "$tmp/project/node_modules/@types"
quiet node_modules/.bin/tsc --ignoreConfig --noEmit --strict --module nodenext --target es2022 --skipLibCheck --types node "$tmp/project/quickstart.mts"
(cd "$tmp/project" && exec "$HOLDFAST_BIN" dev --grpc-port 0 --http-port 0 --metrics-port 0 --sim-port 0) >"$tmp/dev.log" 2>&1 &
dev=$!
for ((i = 0; i < 600; i++)); do
  grep -q 'Ctrl-C ends it' "$tmp/dev.log" && break
  kill -0 "$dev" 2>/dev/null || { cat "$tmp/dev.log" >&2; exit 1; }
  sleep 0.1
done
addr=$(sed -n 's/.*"addr": *"\([^"]*\)".*/\1/p' "$tmp/project/.holdfast/client.json")
for node in node "$here"/examples/node_modules/node{22,24}/bin/node; do
  said=$(cd "$tmp/project" && HOLDFAST_ADDR=$addr timeout 60 "$node" quickstart.mjs)
  [ "$said" = "200 Acme Automation" ] || { echo "the README's program printed: $said" >&2; exit 1; }
done
echo "ok: the README's program in an empty project"

for node in node examples/node_modules/node24/bin/node; do
  quiet "$node" --test --test-reporter=tap examples/*.test.mjs
  echo "ok: $(grep '^# pass' "$tmp/said" | tr -dc 0-9) of jira.js and confluence.js on Node $("$node" --version)"
done

for node in node examples/node_modules/node24/bin/node; do
  "$node" .build/js/bench/cached.js
done
