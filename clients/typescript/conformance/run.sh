#!/usr/bin/env bash
# Runs the conformance suite's runner, which build.sh built.
set -euo pipefail
exec node "$(dirname "${BASH_SOURCE[0]}")/../.build/js/conformance/runner.js"
