#!/usr/bin/env bash
# venv.sh DIR REQUIREMENTS... makes a virtual environment in DIR, below the root of the
# repository, that holds exactly what the files name. Where it does already, it does
# nothing. PYTHON chooses the interpreter; default: python3.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

dir=$1
shift
python=${PYTHON:-python3}
# The interpreter belongs to it: a new one has another place for packages.
want=$("$python" -c 'import sys; print(sys.version, sys.base_prefix)'; cat -- "$@")
[[ -x "$dir/bin/python" && "$(cat "$dir/.holds" 2>/dev/null)" == "$want" ]] && exit 0

"$python" -c 'import venv, ensurepip' 2>/dev/null || {
  echo "venv.sh: $python can make no virtual environments: run scripts/setup.sh, or install python3-venv" >&2
  exit 1
}
rm -rf -- "$dir"
mkdir -p -- "$(dirname "$dir")"
"$python" -m venv "$dir"
files=()
for f in "$@"; do files+=(-r "$f"); done
"$dir/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps "${files[@]}" || {
  echo "venv.sh: pip could not install what is in $*; is the package index reachable?" >&2
  exit 1
}
"$dir/bin/pip" check --quiet >&2
printf '%s\n' "$want" >"$dir/.holds"
