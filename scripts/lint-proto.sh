#!/usr/bin/env bash
# Lints the contract and compares it with what it must not break: the newest
# release, and the main branch. Works from every directory.
#   scripts/lint-proto.sh [GIT-REF]   GIT-REF: compare with that alone
#
# The newest release is the newest tag behind this commit or, in a clone without
# tags, proto/released/holdfast.binpb, which scripts/release-proto.sh wrote for it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/buf.sh lint
echo "lint-proto.sh: the contract keeps the rules STANDARD and COMMENTS"

released=proto/released/holdfast.binpb
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

has_contract() { git cat-file -e "$1:proto/holdfast/v1" 2>/dev/null; }

# keeps WHAT AGAINST [INPUT...]: nothing of WHAT, whose contract is AGAINST, is broken by
# INPUT, or by what is here.
keeps() {
  local what=$1 against=$2
  shift 2
  if ! scripts/buf.sh breaking --against "$against" "$@"; then
    echo "lint-proto.sh: the contract breaks clients of $what. Add fields, values and rpcs; never change or remove them." >&2
    exit 1
  fi
  echo "lint-proto.sh: nothing of $what is broken"
}

# keeps_commit REF: compared with a plain copy of the earlier protos, since buf would
# look for that commit's own .buf directory, which is not in git.
keeps_commit() {
  local old
  old=$(mktemp -d -p "$scratch")
  git archive "$1" proto | tar -x -C "$old"
  scripts/buf.sh --version >/dev/null # lays out .buf/protovalidate
  mkdir "$old/.buf" && cp -R .buf/protovalidate "$old/.buf/"
  cp buf.yaml "$old/"
  keeps "$1" "$old"
}

if [[ -n "${1-}" ]]; then
  has_contract "$1" || { echo "lint-proto.sh: $1 has no proto/holdfast/v1" >&2; exit 2; }
  keeps_commit "$1"
  exit 0
fi

in_git() { git rev-parse --git-dir >/dev/null 2>&1; }

# The newest release.
tag=$(in_git && git describe --tags --match 'v[0-9]*' --abbrev=0 2>/dev/null || true)
if [[ -n "$tag" ]] && has_contract "refs/tags/$tag"; then
  keeps_commit "refs/tags/$tag"
elif [[ -e "$released" ]]; then
  # Like with like: descriptors know of no modules.
  scripts/buf.sh build --path proto/holdfast/v1 -o "$scratch/now.binpb"
  keeps "the release in $released" "$released" "$scratch/now.binpb" --exclude-imports --config '{"version":"v2","breaking":{"use":["FILE"]}}'
else
  echo "lint-proto.sh: there is no release yet whose clients could be broken"
fi

# The main branch or, on its tip, the commit before this one.
if ! in_git; then
  echo "lint-proto.sh: this is no git checkout: there is no branch to compare with"
  exit 0
fi
base=
head=$(git rev-parse --verify --quiet HEAD || true)
for ref in refs/remotes/origin/main refs/heads/main; do
  git rev-parse --verify --quiet "$ref^{commit}" >/dev/null || continue
  [[ "$(git rev-parse "$ref^{commit}")" == "$head" ]] && continue
  if has_contract "$ref"; then base=$ref; break; fi
done
if [[ -z "$base" ]] && git rev-parse --verify --quiet 'HEAD^' >/dev/null && has_contract 'HEAD^'; then base='HEAD^'; fi
if [[ -z "$base" ]]; then
  echo "lint-proto.sh: there is no earlier commit to compare with"
  exit 0
fi
keeps_commit "$base"
