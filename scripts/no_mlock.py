"""Print the path of a library that turns the locking of pages into nothing, for tests that are not about it.

    LD_PRELOAD=$(python scripts/no_mlock.py TARGET_DIR) python -m pytest tests/client

SQLCipher locks each allocation by a call to the system, which is a third of what tests of whole groups cost.
tests/vault runs without it: its pages are locked as in a user's program. The path is empty without Linux
or a compiler.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")


def library(folder: Path) -> str:
    """Its path, built in `folder`; empty where it cannot be built or the loader cannot take the name."""
    built = folder.resolve() / "libno_mlock.so"
    compiler = shutil.which("cc")
    # The loader takes both for the end of a name.
    if sys.platform != "linux" or compiler is None or set(str(built)) & set(" :"):
        return ""
    folder.mkdir(parents=True, exist_ok=True)
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(built), str(SOURCE)]
    return "" if subprocess.run(command, check=False).returncode else str(built)


if __name__ == "__main__":
    print(library(Path(sys.argv[1])))
