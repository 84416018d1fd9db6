#!/usr/bin/env bash
# Writes the Java stubs of the contract to target/generated-sources/holdfast, from
# proto/, the repository's only copy of it, without its validation rules. Maven calls
# it. Quick while no proto has changed; needs Go (for buf) and Maven (for protoc), and
# no network once both have what they need.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

out=target/generated-sources/holdfast
made=target/contract.made
if [ -e $made ] && [ -z "$(find ../../proto/holdfast/v1 contract.gen.yaml contract.sh plugins.sh -newer $made \( -name '*.proto' -o -path 'c*' -o -path 'p*' \))" ]; then
  exit 0
fi
./plugins.sh
mkdir -p target
fresh=$(mktemp -d "$PWD/target/contract.XXXXXX")
trap 'rm -rf "$fresh"' EXIT
touch "$fresh/made"
../../scripts/buf.sh generate --template clients/java/contract.gen.yaml --output "$fresh"
rm -rf $out
mkdir -p target/generated-sources
mv "$fresh/java" $out
mv "$fresh/made" $made
