#!/usr/bin/env bash
# Builds the wheel and the sdist into dist/ and installs the wheel, with what the tests
# need, into .venv. Quick where nothing changed. Works from every directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# One at a time: the conformance suite builds for both faces at once.
exec 9>.build.lock
flock 9

./venv.sh clients/python/.venv clients/python/requirements/dev.txt

# What the packages are made of, by content: times change with every checkout.
made=$( (find src tests -type f ! -path '*/__pycache__/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
  sha256sum pyproject.toml README.md LICENSE .venv/.holds) | sha256sum)
[[ -e dist/.made && "$(cat dist/.made)" == "$made" && "$(cat .venv/.made 2>/dev/null)" == "$made" ]] && exit 0

rm -rf dist
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Without isolation: hatchling is here, at its pinned version, and nothing is fetched.
.venv/bin/python -m build --no-isolation --outdir dist . >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-index --force-reinstall dist/*.whl
printf '%s\n' "$made" | tee .venv/.made >dist/.made
