"""Files and directories, as another user of the machine would see them: modes, links, owners, file systems.

That no file is wider for an instant, and each odd file in the place of each of ours: crates/mdk-store/tests/alone.rs
and vault/open.rs.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.vault.kit import RELAYS, python, ran, succeeded

from mdk import DatabaseKey, Keys, Mdk, errors

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes are of Unix")

KEYS = Keys.generate()
RAW = bytes(range(32))
ROOT = os.geteuid() == 0
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def open_db(path: Path) -> Mdk:
    return Mdk.open(path, keys=KEYS, key=DatabaseKey.raw(RAW))


def open_with_file(folder: Path) -> Mdk:
    key = DatabaseKey.from_file(folder / "alice.key")
    return Mdk.open(folder / "alice.db", keys=KEYS, key=key)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def listing(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What is in a folder: mode, size and inode of each."""
    seen = {entry.name: entry.lstat() for entry in folder.iterdir()}
    return {name: (found.st_mode, found.st_size, found.st_ino) for name, found in seen.items()}


# ------------------------------------------------------------------ modes


# proves: S22, S23, S24, S28
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077], ids="{:03o}".format)
def test_folder_and_files_are_private_under_any_umask(home: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        for parent in (None, 0o755, 0o777):
            above = home / str(parent)
            if parent is not None:
                above.mkdir()
                above.chmod(parent)
            folder = above / "account"
            with open_with_file(folder) as mdk:
                mdk.new_key_package(relays=RELAYS)
                ends = {name.removeprefix("alice") for name in listing(folder)}
                assert ends >= {".db", ".key", ".db-wal", ".db-shm", ".db.lock"}
                assert {mode(file) for file in folder.iterdir()} == {0o600}
            assert {mode(file) for file in folder.iterdir()} == {0o600}
            assert mode(folder) == 0o700
            # A parent that was there is not ours to change; one that we made is private too.
            assert mode(above) == (0o700 if parent is None else parent)
    finally:
        os.umask(before)


# proves: S22, F2
@pytest.mark.parametrize("wide", [0o755, 0o777, 0o750, 0o711], ids="{:o}".format)
def test_a_wide_directory_is_tightened_or_refused_with_the_command(home: Path, wide: int) -> None:
    home.chmod(wide)
    open_db(home / "alice.db").close()
    assert mode(home) == 0o700
    home.chmod(wide)
    open_db(home / "alice.db").close()
    assert mode(home) == 0o700
    (home / "holiday.jpg").touch()
    home.chmod(wide)
    before = listing(home)
    with pytest.raises(errors.InsecureFile, match="chmod 700") as caught:
        open_db(home / "alice.db")
    assert "chmod 700" in (caught.value.hint or "")
    assert (mode(home), listing(home)) == (wide, before)
    home.chmod(0o700)
    open_db(home / "alice.db").close()


# proves: F2
@pytest.mark.parametrize("why", ["shared", "of another user"])
def test_f2_directory_that_is_not_ours_alone_is_never_taken_over(home: Path, why: str) -> None:
    if why == "shared":
        home.chmod(0o1777)
    elif ROOT:
        os.chown(home, 12345, 12345)
    else:
        pytest.skip("needs root")
    before = mode(home)
    with pytest.raises(errors.InsecureFile):
        open_db(home / "alice.db")
    assert mode(home) == before
    assert not listing(home)


# proves: S25
def test_s25_wide_files_are_narrowed_and_a_wide_key_file_is_refused(home: Path) -> None:
    open_with_file(home).close()
    for wide in (0o666, 0o644, 0o660, 0o777):
        for file in home.iterdir():
            if file.suffix != ".key":
                file.chmod(wide)
        open_with_file(home).close()
        assert {mode(file) for file in home.iterdir()} == {0o600}
        (home / "alice.key").chmod(wide)
        with pytest.raises(errors.InsecureFile, match="chmod 600"):
            open_with_file(home)
        assert mode(home / "alice.key") == wide
        (home / "alice.key").chmod(0o600)


# ------------------------------------------------------------------ calls to the system

WRITES = """
import os, sys, mdk
os.umask(0)
home = sys.argv[1]
key = mdk.DatabaseKey.from_file(home + "/alice.key")
alice = mdk.Mdk.open(home + "/alice.db", keys=mdk.Keys.generate(), key=key)
assert os.path.exists(home + "/alice.db-wal") and not os.path.exists(home + "/alice.db-journal")
for _ in range(20):
    os.write(2, b"MARK")
    alice.new_key_package(relays=["wss://relay.example"])
os.write(2, b"MARK")
os._exit(0)
"""
CALLS = "open,openat,openat2,creat,chmod,fchmod,fchmodat,mkdir,mkdirat,fsync,fdatasync,write"


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The system calls of a child that makes a database and writes to it, or a skip where tracing is forbidden."""
    folder = tmp_path_factory.mktemp("traced")
    (home := folder / "home").mkdir(mode=0o700)
    log = folder / "trace"
    argv = ["strace", "-f", "-qq", "-e", f"trace={CALLS}", "-o", log]
    done = ran([*argv, sys.executable, "-c", WRITES, home])
    if done.returncode != 0 and "ptrace" in done.stderr.lower():
        pytest.skip("this machine does not allow tracing")
    assert done.returncode == 0, done.stderr
    # Each line begins with the process id.
    return [line.split(maxsplit=1)[1] for line in log.read_text().splitlines()]


# proves: F1, S23, S24
@needs_strace
def test_f1_files_are_created_with_their_mode(calls: list[str]) -> None:
    created = [line for line in calls if "O_CREAT" in line and "alice" in line]
    for name in ("alice.db", "-wal", "-shm", ".lock", ".key"):
        assert any(name in line for line in created), name
    assert not [line for line in created if "0600" not in line]
    assert not [line for line in calls if "chmod" in line.split("(")[0]]


# proves: S26
@needs_strace
def test_s26_every_write_is_synced_before_it_returns(calls: list[str]) -> None:
    writes: list[int] = []
    for line in calls:
        if "MARK" in line:
            writes.append(0)
        elif writes and line.startswith(("fsync(", "fdatasync(")) and line.rstrip().endswith("= 0"):
            writes[-1] += 1
    assert len(writes) == 21
    assert min(writes[:-1]) >= 1, writes


# ------------------------------------------------------------------ what is no plain file of ours


def device(path: Path, _: Path) -> None:
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("making a device is not allowed here")


def foreign(path: Path, victim: Path) -> None:
    if not ROOT:
        pytest.skip("giving a file away needs root")
    shutil.copyfile(victim, path)
    os.chown(path, 12345, 12345)
    path.chmod(0o600)


SPOILS: dict[str, Callable[[Path, Path], object]] = {
    "symlink": lambda path, victim: path.symlink_to(victim),
    "dangling": lambda path, victim: path.symlink_to(victim.with_name("nowhere")),
    "hard_link": lambda path, victim: path.hardlink_to(victim),
    "fifo": lambda path, _: os.mkfifo(path, 0o600),
    "directory": lambda path, _: path.mkdir(mode=0o700),
    "device": device,
    "owner": foreign,
}


# proves: F1
@pytest.mark.parametrize("spoil", SPOILS)
def test_f1_links_devices_and_foreign_files_are_refused(
    home: Path, tmp_path: Path, spoil: str
) -> None:
    open_with_file(home).close()
    victim = tmp_path / "victim"
    for name in ("alice.db", "alice.key", "alice.db-wal", "alice.db.lock", "alice.db.keyinfo"):
        path, kept = home / name, tmp_path / "kept"
        shutil.copyfile(home / "alice.db", victim)
        victim.chmod(0o600)
        if path.exists():
            path.rename(kept)
        SPOILS[spoil](path, victim)
        seen, before = listing(home), victim.read_bytes()
        with pytest.raises(errors.InsecureFile):
            open_with_file(home)
        assert (listing(home), victim.read_bytes()) == (seen, before), name
        assert not victim.with_name("nowhere").exists()
        path.rmdir() if spoil == "directory" else path.unlink()
        victim.unlink()
        if kept.exists():
            kept.rename(path)
    open_with_file(home).close()


# ------------------------------------------------------------------ file systems

OPEN_TWICE = """
import logging, sys, mdk
logging.basicConfig(level=logging.WARNING, format="%(name)s|%(levelname)s|%(message)s")
for n in range(2):
    key = mdk.DatabaseKey.raw(bytes(32))
    mdk.Mdk.open(f"{sys.argv[1]}/d/{n}.db", keys=mdk.Keys.generate(), key=key).close()
"""


@contextmanager
def mounted(point: Path, *options: str) -> Iterator[Path]:
    """A mount, or a skip where mounting is not allowed."""
    if not ROOT or shutil.which("mount") is None:
        pytest.skip("mounting needs root")
    point.mkdir()
    if ran(["mount", *options, point]).returncode != 0:
        pytest.skip(f"cannot be mounted here: mount {' '.join(options[:2])}")
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=True)


# proves: F4
def test_f4_ordinary_file_system_is_not_warned_about(home: Path) -> None:
    name = ran(["stat", "-f", "-c", "%T", home]).stdout.strip()
    if name not in {"ext2/ext3", "xfs", "btrfs", "zfs", "f2fs"}:
        pytest.skip(f"the tests run on {name or 'an unknown file system'}")
    done = python(OPEN_TWICE, home)
    assert (done.returncode, done.stderr) == (0, "")


# proves: F4
@pytest.mark.parametrize("kind", ["tmpfs", "ramfs", "overlayfs"])
def test_f4_memory_and_overlay_are_warned_about_once(tmp_path: Path, kind: str) -> None:
    with ExitStack() as mounts:
        point, options = tmp_path / "m", ["-t", kind, "none"]
        if kind == "overlayfs":
            # The upper layer of an overlay cannot lie on another overlay.
            layers = mounts.enter_context(mounted(tmp_path / "t", "-t", "tmpfs", "none"))
            for name in ("lower", "upper", "work"):
                (layers / name).mkdir()
            told = ",".join(f"{name}dir={layers / name}" for name in ("lower", "upper", "work"))
            options = ["-t", "overlay", "overlay", "-o", told]
        mounts.enter_context(mounted(point, *options))
        done = python(OPEN_TWICE, point)
        succeeded(done)
        (warning,) = (line for line in done.stderr.splitlines() if f" {kind}," in line)
        assert warning.startswith("mdk.")
        assert "|WARNING|" in warning
        assert mode(point / "d") == 0o700
        assert {mode(file) for file in (point / "d").iterdir()} == {0o600}


# proves: F4
def test_f4_file_system_without_modes_is_refused_by_name(tmp_path: Path) -> None:
    if shutil.which("mkfs.vfat") is None:
        pytest.skip("mkfs.vfat is not installed")
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    subprocess.run(["mkfs.vfat", str(image)], check=True, capture_output=True)
    with mounted(tmp_path / "m", "-o", "loop,umask=077", str(image)) as point:
        (point / "d").mkdir()
        with pytest.raises(errors.StorageError, match="FAT"):
            open_db(point / "d" / "alice.db")
        assert not listing(point / "d")
