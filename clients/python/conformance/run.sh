#!/usr/bin/env bash
# Starts the runner that drives this SDK for the conformance suite, see
# clients/conformance/PROTOCOL.md. build.sh has made what it runs in.
#   conformance/run.sh --asyncio   the same for the asyncio side
set -euo pipefail
dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
exec "$dir/.venv/bin/python" "$dir/conformance/runner.py" "$@"
