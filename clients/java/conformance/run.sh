#!/usr/bin/env bash
# Starts the runner of the conformance suite, which build.sh has built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto -Xmx512m \
  -cp "target/runner/test-classes:target/runner/classes:$(cat target/classpath)" io.github.holdfast.client.conformance.Runner
