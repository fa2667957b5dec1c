"""How fast a whole database is encrypted anew, beside what cannot be avoided: a copy, and AES and HMAC over it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any


def measure(folder: Path, program: Path, *, quick: bool) -> dict[str, Any]:
    """Seconds for a database of some size, best of three rounds, in a directory of its own below `folder`."""
    command = [str(program), "32" if quick else "256", str(folder), "--json"]
    found: dict[str, Any] = json.loads(subprocess.check_output(command, text=True))
    return found
