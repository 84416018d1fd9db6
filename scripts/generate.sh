#!/usr/bin/env bash
# Writes what is generated from the protos: the Go stubs below proto/, those of
# the SDKs below clients/, and the API reference, docs/api.md.
#   scripts/generate.sh          regenerate in place
#   scripts/generate.sh --check  regenerate elsewhere and fail on a difference
# Works from every directory, and offline once what it runs is downloaded.
#
# A language is a directory clients/<lang> with
#   buf.gen.yaml  a template for buf; each "out:" is a directory below clients/<lang>,
#                 written from the root of the repository, and all that is in it is
#                 generated: what no proto brings any more is removed
#   plugins.sh    optional: installs the plugins that buf.gen.yaml names; quick where
#                 they are installed
# or, where buf's templates do not do, with a generate.sh of its own, called with the
# same argument as this one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case "${1-}" in
  "") check=false ;;
  --check) check=true ;;
  *) echo "usage: scripts/generate.sh [--check]" >&2; exit 2 ;;
esac

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
stale=0

# stubs ROOT: the generated Go files below ROOT.
stubs() { (cd "$1" && find proto -name '*.pb.go' | LC_ALL=C sort); }

# below ROOT DIR...: all files in these directories of ROOT but what running leaves.
below() {
  local root=$1
  shift
  (cd "$root" && find "$@" -type f ! -path '*/__pycache__/*' 2>/dev/null | LC_ALL=C sort) || true
}

# bring FRESH LIST...: makes the files of the repository that a LIST (a command with
# the root as its last argument) names the same as those below FRESH, or, with
# --check, says where they are not.
bring() {
  local fresh=$1 f
  shift
  while read -r f; do
    [[ -n "$f" ]] || continue
    # An unchanged file keeps its time, so that builds stay cached.
    cmp -s "$f" "$fresh/$f" && continue
    if $check; then
      echo "generate.sh: $f is not what its proto generates" >&2
      stale=1
    elif [[ -e "$fresh/$f" ]]; then
      install -D -m 0644 "$fresh/$f" "$f"
    else
      rm -- "$f" # a file whose proto is gone must go too
    fi
  done < <( ("$@" .; "$@" "$fresh") | LC_ALL=C sort -u)
}

language() {
  local dir=$1 fresh="$tmp/$1" outs
  if [[ -x "$dir/generate.sh" ]]; then
    if $check; then "$dir/generate.sh" --check || stale=1; else "$dir/generate.sh"; fi
    return
  fi
  [[ ! -x "$dir/plugins.sh" ]] || "$dir/plugins.sh"
  mkdir -p "$fresh"
  scripts/buf.sh generate --template "$dir/buf.gen.yaml" --output "$fresh"
  mapfile -t outs < <(sed -n 's/^[[:space:]-]*out:[[:space:]]*//p' "$dir/buf.gen.yaml" | LC_ALL=C sort -u)
  in_outs() { below "$1" "${outs[@]}"; }
  bring "$fresh" in_outs
}

mkdir "$tmp/go"
scripts/buf.sh generate --output "$tmp/go"
bring "$tmp/go" stubs

mkdir "$tmp/docs"
scripts/buf.sh generate --template docs/buf.gen.yaml --output "$tmp/docs"
reference() { echo docs/api.md; }
bring "$tmp/docs" reference

for dir in clients/*; do
  if [[ -e "$dir/buf.gen.yaml" || -x "$dir/generate.sh" ]]; then language "$dir"; fi
done

if ((stale)); then
  echo "Run 'make generate' and commit the result." >&2
  exit 1
fi
