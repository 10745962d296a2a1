#!/usr/bin/env bash
# Makes a virtual environment with everything that training needs: init_venv.sh [PATH], default: venv in the current folder.
# PYTHON names the interpreter (default: python3). An environment that is complete is left as it is.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
root=$(cd -- "$here/../.." && pwd)
venv=${1:-venv}
python=${PYTHON:-python3}
# Written last, so that an installation that was interrupted is taken up again.
complete=$venv/.multibox-installed

if [ -e "$complete" ]; then
  printf '%s is there and complete. Activate it with: . %q\n' "$venv" "$venv/bin/activate"
  exit 0
fi

if ! command -v "$python" >/dev/null; then
  printf '%s: not found. Install Python 3.11 or newer, or name it: PYTHON=/path/to/python3.11 %q\n' "$python" "$0" >&2
  exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  printf '%s is %s, but multibox needs Python 3.11 or newer. Name one: PYTHON=/path/to/python3.11 %q\n' \
    "$python" "$("$python" --version)" "$0" >&2
  exit 1
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"

constraints=()
[ -e "$root/constraints.txt" ] && constraints=(-c "$root/constraints.txt")
# torch first and alone: its size decides how long this takes, and what depends on it must find this version.
"$venv/bin/python" -m pip install ${constraints[@]+"${constraints[@]}"} torch
"$venv/bin/python" -m pip install ${constraints[@]+"${constraints[@]}"} -e "$root[all]"
touch "$complete"

printf '\nDone. Activate it with: . %q\n' "$venv/bin/activate"
