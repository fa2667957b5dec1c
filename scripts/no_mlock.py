"""The library that turns the locking of pages into nothing, for the recorded traffic.

SQLCipher locks what it allocates, one call to the system each time. That is a third of what these tests cost alone and
two thirds beside each other in one process, and it is not what they are about. All other tests lock pages as a user's
program does, but for the processes that the torture kills (tests/vault/torture/shim.c).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")


def library(program: Path) -> str:
    """Its path, built beside a test program; empty without Linux, a compiler, or a name that the loader can take."""
    built = program.with_name("libno_mlock.so")
    compiler = shutil.which("cc")
    # The loader takes both for the end of a name.
    if sys.platform != "linux" or compiler is None or set(str(built)) & set(" :"):
        return ""
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(built), str(SOURCE)]
    return "" if subprocess.run(command, check=False).returncode else str(built)
