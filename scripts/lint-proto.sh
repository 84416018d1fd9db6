#!/usr/bin/env bash
# Lints the contract and compares it with the newest released one, which it must
# not break. Works from every directory.
#   scripts/lint-proto.sh [GIT-REF]   GIT-REF: compare with that instead
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/buf.sh lint
echo "lint-proto.sh: the contract keeps the rules STANDARD and COMMENTS"

has_contract() { git cat-file -e "$1:proto/holdfast/v1" 2>/dev/null; }

# The newest tag behind this commit, or else the main branch, or, on its tip, the
# commit before this one.
base=${1-}
if [[ -n "$base" ]]; then
  has_contract "$base" || { echo "lint-proto.sh: $base has no proto/holdfast/v1" >&2; exit 2; }
elif ! git rev-parse --git-dir >/dev/null 2>&1; then
  echo "lint-proto.sh: this is no git checkout: nothing to compare the contract with"
  exit 0
else
  head=$(git rev-parse --verify --quiet HEAD || true)
  tag=$(git describe --tags --abbrev=0 2>/dev/null || true)
  for ref in ${tag:+"refs/tags/$tag"} refs/remotes/origin/main refs/heads/main; do
    git rev-parse --verify --quiet "$ref^{commit}" >/dev/null || continue
    [[ "$(git rev-parse "$ref^{commit}")" == "$head" ]] && continue
    if has_contract "$ref"; then base=$ref; break; fi
  done
  if [[ -z "$base" ]] && git rev-parse --verify --quiet 'HEAD^' >/dev/null && has_contract 'HEAD^'; then base='HEAD^'; fi
fi
if [[ -z "$base" ]]; then
  echo "lint-proto.sh: there is no earlier contract: nothing to break"
  exit 0
fi

# Compared with a plain copy of the earlier protos: buf would look for that
# commit's own .buf directory, which is not in git.
old=$(mktemp -d)
trap 'rm -rf "$old"' EXIT
git archive "$base" proto | tar -x -C "$old"
scripts/buf.sh --version >/dev/null # lays out .buf/protovalidate
mkdir "$old/.buf" && cp -R .buf/protovalidate "$old/.buf/"
cp buf.yaml "$old/"
if ! scripts/buf.sh breaking --against "$old"; then
  echo "lint-proto.sh: the contract breaks clients of $base. Add fields, values and rpcs; never change or remove them." >&2
  exit 1
fi
echo "lint-proto.sh: nothing of $base is broken"
