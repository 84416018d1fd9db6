#!/usr/bin/env bash
# Writes proto/released/holdfast.binpb, the descriptors of the contract as it is
# released: part of the commit that is tagged with the version. A clone without tags
# compares the contract with it (scripts/lint-proto.sh). Works from every directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/lint-proto.sh
mkdir -p proto/released
scripts/buf.sh build --path proto/holdfast/v1 --exclude-source-info -o proto/released/holdfast.binpb
echo "release-proto.sh: proto/released/holdfast.binpb is the contract of $(cat VERSION): commit it and tag that commit v$(cat VERSION)"
