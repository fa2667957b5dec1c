#!/usr/bin/env bash
# Prints a Python of at least 3.11 that can make virtual environments; $PYTHON is asked first. Each candidate is really
# started: a version manager's shim may exist without the version behind it.
set -euo pipefail
probe='import sys, ensurepip, venv; sys.exit(0 if sys.version_info >= (3, 11) else 1)'
for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14; do
  if path=$(command -v "$candidate") && "$path" -c "$probe" >/dev/null 2>&1; then
    echo "$path"
    exit 0
  fi
done
echo "No Python 3.11 or newer with the venv module was found (on Debian: apt-get install python3-venv)." >&2
exit 1
