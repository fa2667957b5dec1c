"""What several tests of the vault have in common."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.vault.memory_scan import Scanner
from tests.vault.scene import Home
from tests.vault.torture.kill import Bench, bench

Disk = Callable[[str], list[str]]
NEEDS_SHIM = [
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for the shim"),
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the shim reads /proc"),
]


@pytest.fixture(scope="module")
def stand() -> Iterator[Bench]:
    """Where operations are killed and starved: their worlds, made once for a file of tests."""
    with bench() as made:
        yield made


@pytest.fixture
def core_files(tmp_path: Path) -> Iterator[Path]:
    pattern = Path("/proc/sys/kernel/core_pattern").read_text(encoding="ascii").strip()
    if pattern.startswith(("|", "/")) or "%" in pattern:
        pytest.skip("core dumps go elsewhere: kernel.core_pattern is not a plain name")
    yield tmp_path
    for file in tmp_path.glob("**/core*"):
        file.unlink()


@pytest.fixture
def bob(tmp_path: Path) -> Home:
    """The files of an account that a child works on."""
    return Home(tmp_path / "bob")


@pytest.fixture
def scanner(tmp_path: Path) -> Scanner:
    return Scanner(tmp_path)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder that nobody else may enter."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Disk]:
    """A command prefix that mounts a file system in memory on `tmp_path / "disk"` for one child."""
    disk = tmp_path / "disk"
    disk.mkdir()
    wrapper = ["unshare", "--map-root-user", "--mount", "--"]
    probe = [*wrapper, "mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("no mount namespaces for this user")

    def prefix(options: str) -> list[str]:
        mount = f'mount -t tmpfs -o mode=700,{options} tmpfs "{disk}"'
        return [*wrapper, "sh", "-c", f'{mount} && exec "$@"', "sh"]

    yield prefix
    assert list(disk.iterdir()) == []
