"""What several tests of the vault have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def core_files(tmp_path: Path) -> Iterator[Path]:
    pattern = Path("/proc/sys/kernel/core_pattern").read_text(encoding="ascii").strip()
    if pattern.startswith(("|", "/")) or "%" in pattern:
        pytest.skip("core dumps go elsewhere: kernel.core_pattern is not a plain name")
    yield tmp_path
    for file in tmp_path.glob("**/core*"):
        file.unlink()
