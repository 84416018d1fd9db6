#!/usr/bin/env bash
# Installs what codegen/plugin.py runs, at pinned versions, into .buf/python. Quick
# where it is installed. Works from every directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
clients/python/venv.sh .buf/python clients/python/requirements/codegen.txt
