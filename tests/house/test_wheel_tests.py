"""The tests run against a wheel stand in a folder of their own: what they read of the checkout has to be there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.house.test_scripts import load

ROOT = Path(__file__).resolve().parent.parent.parent
wheel_tests = load("scripts/wheel_tests.py")


# It runs as many tests as read something, vaults among them.
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_reads_the_checkout_passes_away_from_it(tmp_path: Path) -> None:
    wheel_tests.lay_out(tmp_path)
    left_out = [tmp_path / path for path in wheel_tests.LEFT_OUT]
    reading = [
        str(path.relative_to(tmp_path))
        for path in sorted((tmp_path / "tests").rglob("test_*.py"))
        if not any(path.is_relative_to(folder) for folder in left_out)
        and re.search(r"parents\[|\.parent\.parent", path.read_text(encoding="utf-8"))
    ]
    assert len(reading) > 3, reading
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *reading],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
