"""Run the tests against the wheel in dist, not against the checkout: in a fresh environment, from a copy of `tests`.

Left out are the rules of the house and the documents, which are about the checkout, and what needs Linux elsewhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = ["tests/house", "tests/docs", "tests/vault/torture"]
# What the others read of the checkout: programs of the documents, and what the documents promise.
CARRIED = ["tests", "docs", "SECURITY.md"]
# These speak to strace, to modes of files, to processes by signals, or know where accounts are on Linux.
LINUX_ONLY = ["tests/vault", "tests/cli"]
CONFIGURATION = """\
[pytest]
addopts = --import-mode=importlib -p no:cacheprovider
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
timeout = 300
markers =
    peer: needs the peer
    slow: takes long
"""


def lay_out(here: Path) -> None:
    """Put what the tests need into an empty folder."""
    for name in CARRIED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, here / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, here / name)
    (here / "pytest.ini").write_text(CONFIGURATION, encoding="utf-8")


def main() -> int:
    """Install, copy, test."""
    (wheel,) = (ROOT / "dist").glob("marmot_mdk-*.whl")
    with tempfile.TemporaryDirectory(prefix="mdk-tests-") as folder:
        here = Path(folder)
        # A test enters it as another user.
        here.chmod(0o755)
        subprocess.run([sys.executable, "-m", "venv", str(here / "env")], check=True)
        scripts = here / "env" / ("Scripts" if os.name == "nt" else "bin")
        python = scripts / ("python.exe" if os.name == "nt" else "python")
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", str(ROOT / "requirements-dev.txt"), str(wheel)], check=True)
        lay_out(here)
        skipped = [*LEFT_OUT, *([] if sys.platform == "linux" else LINUX_ONLY)]
        ignored = [f"--ignore={path}" for path in skipped]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [str(python), "-m", "pytest", "-q", *ignored, "tests"],
            cwd=here,
            env=environment,
            check=False,
        )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
