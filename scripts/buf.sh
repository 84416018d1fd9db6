#!/usr/bin/env bash
# Runs buf at its pinned version from the root of the repository, as in
# "scripts/buf.sh lint". Works offline once the Go modules are downloaded; no
# schema registry is asked. Works from every directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# validate.proto, the schema of the validation rules, comes as a Go module. The
# sum is checked here since a module without Go packages stays in no go.sum.
module=github.com/bufbuild/protovalidate@v1.2.2
want=h1:2H/9/Kr97etSRqW3IJjTTb09z+zutkK2GDhDRbOnqr4=

# A go.work file above this directory must not redirect the tools.
export GOWORK=off

info=$(go mod download -json "$module") || {
  echo "buf.sh: cannot download $module: go mod download said" >&2
  echo "$info" >&2
  echo "Connect to a Go module proxy once (see: go help goproxy) and run this again." >&2
  exit 1
}
field() { sed -n "s/^[[:space:]]*\"$1\": \"\(.*\)\",\{0,1\}$/\1/p" <<<"$info"; }
if [[ "$(field Sum)" != "$want" ]]; then
  echo "buf.sh: $module has the sum $(field Sum), want $want." >&2
  echo "Run 'go clean -modcache' and try again; if it stays, do not trust your module proxy." >&2
  exit 1
fi

# buf wants every module below the directory of its buf.yaml.
dir=.buf/protovalidate/buf/validate
mkdir -p "$dir"
if ! cmp -s "$(field Dir)/proto/protovalidate/buf/validate/validate.proto" "$dir/validate.proto"; then
  # Moved into place, so that a run beside this one never reads half a file.
  install -m 0644 "$(field Dir)/proto/protovalidate/buf/validate/validate.proto" "$dir/validate.proto.$$"
  mv "$dir/validate.proto.$$" "$dir/validate.proto"
fi

exec go tool -modfile=tools/buf/go.mod buf "$@"
