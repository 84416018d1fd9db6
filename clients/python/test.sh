#!/usr/bin/env bash
# Tests the SDK for Python: format, lint and types; its own tests, with the newest
# dependencies and with the oldest; the built packages in an environment that has nothing
# else, with the README's programs as they stand; the libraries that people use; and what a
# cached call costs. Works from every directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

./build.sh
bin=.venv/bin
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

"$bin/ruff" format --check --quiet . || { echo "not formatted: run clients/python/.venv/bin/ruff format clients/python" >&2; exit 1; }
"$bin/ruff" check --quiet .
# Apart, since both have a conftest.
"$bin/mypy" --cache-dir "$tmp/mypy" >"$tmp/types" && "$bin/mypy" --cache-dir "$tmp/mypy" live >>"$tmp/types" || { cat "$tmp/types" >&2; exit 1; }

# The wheel that was built, not the sources.
"$bin/python" -m pytest

# The lower bounds of pyproject.toml, and protobuf in Python alone.
./venv.sh clients/python/.venv-oldest clients/python/requirements/oldest.txt
PYTHONPATH=src PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python .venv-oldest/bin/python -m pytest \
  tests/test_wire.py tests/test_identity.py tests/test_unreached.py tests/test_behaviour.py tests/test_http.py

# An environment with the package and what it needs, as in an empty project.
./venv.sh clients/python/.venv-empty clients/python/requirements/empty.txt
.venv-empty/bin/pip install --quiet --disable-pip-version-check --no-deps --no-index --force-reinstall dist/*.whl
.venv-empty/bin/pip check --quiet
[ -n "${HOLDFAST_BIN-}" ] || go build -C ../.. -o "$tmp/holdfast" ./cmd/holdfast
HOLDFAST_BIN=${HOLDFAST_BIN-$tmp/holdfast} HOLDFAST_EMPTY_PYTHON=$PWD/.venv-empty/bin/python \
  "$bin/python" -m pytest live -o filterwarnings=default

"$bin/python" bench/cached_call.py
