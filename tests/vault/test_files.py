"""Files and directories, as another user of the machine would see them: modes, links, owners, file systems."""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest
from tests.vault.kit import RELAYS, Done, python, ran

from mdk import DatabaseKey, Keys, Mdk, errors

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes are of Unix")

KEYS = Keys.generate()
RAW = bytes(range(32))
UMASKS = [0o000, 0o022, 0o077]
SIDE_CARS = ["-wal", "-shm", "-journal"]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def open_db(path: Path) -> Mdk:
    return Mdk.open(path, keys=KEYS, key=DatabaseKey.raw(RAW))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def listing(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What is in a folder: mode, size and inode of each."""
    found = {}
    for entry in folder.iterdir():
        seen = entry.lstat()
        found[entry.name] = (seen.st_mode, seen.st_size, seen.st_ino)
    return found


@contextmanager
def masked(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture
def db(home: Path) -> Path:
    """A database with something in it, closed."""
    path = home / "alice.db"
    with open_db(path) as mdk:
        mdk.new_key_package(relays=RELAYS)
    return path


# ------------------------------------------------------------------ directories


@pytest.mark.parametrize("mask", UMASKS, ids="{:03o}".format)
@pytest.mark.parametrize("parent", [None, 0o755, 0o777], ids=["no parent", "755", "777"])
def test_s22_directory_is_private(home: Path, mask: int, parent: int | None) -> None:
    # proves: S22
    with masked(mask):
        above = home / "above"
        if parent is not None:
            above.mkdir()
            above.chmod(parent)
        open_db(above / "account" / "alice.db").close()
        assert mode(above / "account") == 0o700
        # A parent that was there is not ours to change; one that we made is private too.
        assert mode(above) == (0o700 if parent is None else parent)


@pytest.mark.parametrize("mask", UMASKS, ids="{:03o}".format)
@pytest.mark.parametrize("before", [0o755, 0o777, 0o750, 0o711], ids="{:o}".format)
def test_s22_existing_directory_is_tightened_or_refused(home: Path, mask: int, before: int) -> None:
    # proves: S22
    with masked(mask):
        for content in [(), ("alice.db",), ("alice.db", "holiday.jpg")]:
            folder = home / f"with {len(content)}"
            folder.mkdir()
            if "alice.db" in content:
                open_db(folder / "alice.db").close()
            if "holiday.jpg" in content:
                (folder / "holiday.jpg").touch()
            folder.chmod(before)
            if "holiday.jpg" in content:
                seen = listing(folder)
                with pytest.raises(errors.InsecureFile):
                    open_db(folder / "alice.db")
                assert mode(folder) == before
                assert listing(folder) == seen
            else:
                open_db(folder / "alice.db").close()
                assert mode(folder) == 0o700


def test_f2_refusal_says_the_command_that_fixes_it(home: Path) -> None:
    # proves: F2
    (home / "holiday.jpg").touch()
    home.chmod(0o755)
    with pytest.raises(errors.InsecureFile) as caught:
        open_db(home / "alice.db")
    assert "chmod 700" in str(caught.value)
    assert "chmod 700" in (caught.value.hint or "")
    assert set(listing(home)) == {"holiday.jpg"}
    subprocess.run(["chmod", "700", str(home)], check=True)
    open_db(home / "alice.db").close()


@pytest.mark.parametrize("why", ["shared", pytest.param("of another user", marks=needs_root)])
def test_f2_directory_that_is_not_ours_alone_is_never_taken_over(home: Path, why: str) -> None:
    # proves: F2
    if why == "shared":
        home.chmod(0o1777)
    else:
        os.chown(home, 12345, 12345)
    before = mode(home)
    with pytest.raises(errors.InsecureFile):
        open_db(home / "alice.db")
    assert mode(home) == before
    assert not listing(home)


# ------------------------------------------------------------------ modes, at every instant


class Sampler:
    """Looks at the modes of all files in a folder, over and over, in a thread."""

    def __init__(self, folder: Path, allowed: int) -> None:
        self.folder, self.allowed = folder, allowed
        self.samples = 0
        self.names: set[str] = set()
        self.wide: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def look(self) -> None:
        try:
            entries = list(os.scandir(self.folder))
        except FileNotFoundError:
            return
        for entry in entries:
            try:
                seen = os.lstat(entry.path)
            except FileNotFoundError:
                continue
            self.samples += 1
            self.names.add(entry.name)
            if stat.S_IMODE(seen.st_mode) & ~self.allowed:
                self.wide.add(f"{entry.name} {stat.S_IMODE(seen.st_mode):o}")

    def _run(self) -> None:
        while not self._stop.is_set():
            self.look()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def live(folder: Path, enough: Callable[[], bool]) -> None:
    """Databases are created, written, checkpointed and closed until it is enough."""
    number = 0
    while number < 10 or not enough():
        number += 1
        path = folder / f"{number % 20}.db"
        key = DatabaseKey.from_file(folder / f"{number % 20}.key")
        with Mdk.open(path, keys=KEYS, key=key) as mdk:
            for _ in range(3):
                mdk.new_key_package(relays=RELAYS)


@pytest.mark.parametrize("mask", UMASKS, ids="{:03o}".format)
def test_s23_database_and_side_cars_are_never_wider_than_0600(home: Path, mask: int) -> None:
    # proves: S23, S24, S28
    # proves: F1
    with masked(mask), Sampler(home, 0o600) as sampler:
        live(home, lambda: sampler.samples >= 10_000)
        key = DatabaseKey.from_file(home / "open.key")
        with Mdk.open(home / "open.db", keys=KEYS, key=key) as mdk:
            mdk.new_key_package(relays=RELAYS)
            found = {path.name: mode(path) for path in home.iterdir()}
    assert sampler.samples >= 10_000
    assert not sampler.wide
    for suffix in (".db", "-wal", "-shm"):
        assert any(name.endswith(suffix) for name in sampler.names)
    assert {f"open{end}" for end in (".db", ".key", ".db-wal", ".db-shm", ".db.lock")} <= set(found)
    assert set(found.values()) == {0o600}
    assert {mode(path) for path in home.iterdir()} == {0o600}


def test_s24_the_sampler_finds_a_wide_file(home: Path) -> None:
    with masked(0o000), Sampler(home, 0o600) as sampler:
        while not sampler.wide:
            (home / "wide").write_bytes(b"")
            (home / "wide").chmod(0o600)
            (home / "wide").unlink()
    assert sampler.wide == {"wide 666"}


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is of Linux")
def test_f1_every_event_finds_a_private_file(home: Path) -> None:
    # proves: F1
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if watch < 0:
        pytest.skip("no inotify instance to be had")
    try:
        # IN_ATTRIB, IN_MOVED_TO, IN_CREATE: whatever can give a name a mode.
        assert libc.inotify_add_watch(watch, os.fsencode(home), 0x4 | 0x80 | 0x100) >= 0
        sampler = Sampler(home, 0o600)
        events = 0
        done = threading.Event()

        def follow() -> None:
            nonlocal events
            while not done.is_set():
                try:
                    os.read(watch, 65_536)
                except BlockingIOError:
                    continue
                events += 1
                sampler.look()

        thread = threading.Thread(target=follow)
        with masked(0o000):
            thread.start()
            try:
                live(home, lambda: events >= 50)
            finally:
                done.set()
                thread.join()
        assert events >= 50
        assert not sampler.wide
    finally:
        os.close(watch)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_f1_files_are_created_with_their_mode(home: Path) -> None:
    # proves: F1
    code = (
        "import os, sys, mdk; os.umask(0)\n"
        "home = sys.argv[1]\n"
        "with mdk.Mdk.open(home + '/alice.db', keys=mdk.Keys.generate(),"
        " key=mdk.DatabaseKey.from_file(home + '/alice.key')) as m:\n"
        f"    m.new_key_package(relays={RELAYS!r})\n"
    )
    calls = trace(["open,openat,openat2,creat,chmod,fchmod,fchmodat,mkdir,mkdirat"], code, home)
    created = [
        line for line in calls if "O_CREAT" in line and ("alice" in line or str(home) in line)
    ]
    assert any("alice.db" in line for line in created)
    assert any("-wal" in line for line in created)
    wide = [line for line in created if "0600" not in line]
    assert not wide
    assert not [line for line in calls if "chmod" in line.split("(")[0]]


def trace(calls: list[str], code: str, home: Path) -> list[str]:
    """The system calls of a child, or a skip where tracing is forbidden."""
    log = home.parent / "trace"
    argv = ["strace", "-f", "-qq", "-e", f"trace={','.join(calls)}", "-o", str(log)]
    done = ran([*argv, sys.executable, "-c", code, home])
    if done.returncode != 0 and ("ptrace" in done.stderr or "PTRACE" in done.stderr):
        pytest.skip("this machine does not allow tracing")
    assert done.returncode == 0, done.stderr
    # Each line begins with the process id.
    return [line.split(maxsplit=1)[1] for line in log.read_text().splitlines()]


def test_s25_wide_file_is_narrowed(db: Path) -> None:
    # proves: S25
    for wide in [0o666, 0o644, 0o660, 0o777]:
        for file in db.parent.iterdir():
            file.chmod(wide)
        with open_db(db) as mdk:
            mdk.new_key_package(relays=RELAYS)
            assert {mode(file) for file in db.parent.iterdir()} == {0o600}
        assert {mode(file) for file in db.parent.iterdir()} == {0o600}


def test_s25_wide_key_file_is_refused_with_the_command(home: Path) -> None:
    # proves: S25
    key = home / "alice.key"

    def open_with_file() -> Mdk:
        return Mdk.open(home / "alice.db", keys=KEYS, key=DatabaseKey.from_file(key))

    open_with_file().close()
    for wide in [0o640, 0o604, 0o666]:
        key.chmod(wide)
        with pytest.raises(errors.InsecureFile, match="chmod 600"):
            open_with_file()
        assert mode(key) == wide
    key.chmod(0o600)
    open_with_file().close()


# ------------------------------------------------------------------ durability


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_s26_every_write_is_synced_before_it_returns(home: Path) -> None:
    # proves: S26
    code = (
        "import os, sys, mdk\n"
        "path = sys.argv[1] + '/alice.db'\n"
        "m = mdk.Mdk.open(path, keys=mdk.Keys.generate(), key=mdk.DatabaseKey.raw(bytes(32)))\n"
        "assert os.path.exists(path + '-wal') and not os.path.exists(path + '-journal')\n"
        "for n in range(20):\n"
        "    os.write(2, b'MARK')\n"
        f"    m.new_key_package(relays={RELAYS!r})\n"
        "os.write(2, b'MARK')\n"
        "os._exit(0)\n"
    )
    calls = trace(["fsync,fdatasync,write,sync_file_range"], code, home)
    writes: list[int] = []
    for line in calls:
        if "MARK" in line:
            writes.append(0)
        elif writes and line.startswith(("fsync(", "fdatasync(")) and line.rstrip().endswith("= 0"):
            writes[-1] += 1
    assert len(writes) == 21
    assert min(writes[:-1]) >= 1, writes


# ------------------------------------------------------------------ what is no plain file of ours


def spoil_device(path: Path, _: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("making a device needs root")
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("making a device is not allowed here")


def spoil_owner(path: Path, victim: Path) -> None:
    if os.geteuid() != 0:
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
    "device": spoil_device,
    "owner": spoil_owner,
}


@pytest.mark.parametrize("spoil", SPOILS)
@pytest.mark.parametrize("suffix", ["", ".lock", ".tmp", ".keyinfo", *SIDE_CARS])
def test_f1_links_devices_and_foreign_files_are_refused(
    db: Path, tmp_path: Path, suffix: str, spoil: str
) -> None:
    # proves: F1
    victim = tmp_path / "victim"
    shutil.copyfile(db, victim)
    victim.chmod(0o600)
    before = victim.read_bytes()
    path = db.with_name(db.name + suffix)
    if suffix == ".tmp":
        # It is used on first open only.
        for file in db.parent.iterdir():
            file.unlink()
    path.unlink(missing_ok=True)
    SPOILS[spoil](path, victim)
    seen = listing(db.parent)
    with pytest.raises(errors.InsecureFile):
        open_db(db)
    assert listing(db.parent) == seen
    assert victim.read_bytes() == before
    assert not victim.with_name("nowhere").exists()


@pytest.mark.parametrize("spoil", SPOILS)
def test_f1_key_file_is_held_to_the_same(home: Path, tmp_path: Path, spoil: str) -> None:
    # proves: F1
    key = home / "alice.key"
    Mdk.open(home / "alice.db", keys=KEYS, key=DatabaseKey.from_file(key)).close()
    victim = tmp_path / "victim"
    key.rename(victim)
    SPOILS[spoil](key, victim)
    with pytest.raises(errors.InsecureFile):
        Mdk.open(home / "alice.db", keys=KEYS, key=DatabaseKey.from_file(key))


# ------------------------------------------------------------------ file systems

OPEN_TWICE = (
    "import logging, sys, mdk\n"
    "logging.basicConfig(level=logging.WARNING, format='%(name)s|%(levelname)s|%(message)s')\n"
    "for n in range(2):\n"
    "    mdk.Mdk.open(f'{sys.argv[1]}/d/{n}.db', keys=mdk.Keys.generate(),"
    " key=mdk.DatabaseKey.raw(bytes(32))).close()\n"
)


def open_on(folder: Path) -> Done:
    return python(OPEN_TWICE, folder)


@contextmanager
def mounted(point: Path, *options: str) -> Iterator[Path]:
    """A mount, or a skip where mounting is not allowed."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting needs root")
    point.mkdir()
    if ran(["mount", *options, point]).returncode != 0:
        pytest.skip(f"cannot be mounted here: mount {' '.join(options[:2])}")
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=True)


def assert_warned_once(done: Done, kind: str) -> None:
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if f" {kind}," in line]
    assert len(warnings) == 1, done.stderr
    assert warnings[0].startswith("mdk.")
    assert "|WARNING|" in warnings[0]


def test_f4_ordinary_file_system_is_not_warned_about(home: Path) -> None:
    # proves: F4
    name = ran(["stat", "-f", "-c", "%T", home]).stdout.strip()
    if name not in {"ext2/ext3", "xfs", "btrfs", "zfs", "f2fs"}:
        pytest.skip(f"the tests run on {name or 'an unknown file system'}")
    done = open_on(home)
    assert done.returncode == 0
    assert done.stderr == ""


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/shm is of Linux")
def test_f4_memory_file_system_is_warned_about_once() -> None:
    # proves: F4
    if not Path("/dev/shm").is_mount():
        pytest.skip("/dev/shm is no file system of its own")
    folder = Path("/dev/shm") / f"mdk-test-{os.getpid()}"
    folder.mkdir(mode=0o700)
    try:
        assert_warned_once(open_on(folder), "tmpfs")
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("kind", ["tmpfs", "ramfs"])
def test_f4_mounted_memory_is_warned_about_once(tmp_path: Path, kind: str) -> None:
    # proves: F4
    with mounted(tmp_path / "m", "-t", kind, "none") as point:
        assert_warned_once(open_on(point), kind)
        assert mode(point / "d") == 0o700
        assert {mode(file) for file in (point / "d").iterdir()} == {0o600}


def test_f4_overlay_is_warned_about_once(tmp_path: Path) -> None:
    # proves: F4
    # The upper layer of an overlay cannot lie on another overlay.
    with mounted(tmp_path / "t", "-t", "tmpfs", "none") as layers:
        for name in ["lower", "upper", "work"]:
            (layers / name).mkdir()
        options = ",".join(f"{key}dir={layers / key}" for key in ["lower", "upper", "work"])
        with mounted(tmp_path / "m", "-t", "overlay", "overlay", "-o", options) as point:
            assert_warned_once(open_on(point), "overlayfs")


def test_f4_file_system_without_modes_is_refused_by_name(tmp_path: Path) -> None:
    # proves: F4
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
