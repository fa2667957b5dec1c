"""Whatever is wrong with a database or its key has an exception of its own with a hint, and changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlcipher3 import dbapi2 as sqlcipher

from mdk import DatabaseKey, Keys, Mdk, errors, vault

KEYS = Keys.generate()
RAW = bytes(range(32))
RELAYS = ["wss://relay.example"]
# Without any keyring, as on a server.
NO_BUS = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent/bus"}


class Home:
    """A folder with room for one database and one key file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        self.folder: Path = folder
        self.database: Path = folder / "mdk.db"
        self.key_file: Path = folder / "mdk.key"
        self.key: DatabaseKey = DatabaseKey.raw(RAW)

    def make(self) -> None:
        """A database with a group in it."""
        with (
            Mdk.open(self.database, keys=KEYS, key=self.key) as account,
            account.create_group("Lunch", relays=RELAYS) as pending,
        ):
            pending.confirm()

    def alone(self) -> None:
        """A database without its record, as another tool would copy it."""
        self.make()
        for path in self.folder.iterdir():
            if path != self.database and path != self.key_file:
                path.unlink()

    def use_file(self) -> None:
        self.key = DatabaseKey.from_file(self.key_file)

    def state(self) -> dict[str, tuple[int, int, bytes]]:
        """Names, modes, inodes and contents. A lock file may stay, it holds nothing."""
        return {
            path.name: (path.lstat().st_mode, path.lstat().st_ino, path.read_bytes())
            for path in sorted(self.folder.iterdir())
            if not path.is_symlink() and not path.name.endswith(".lock")
        }


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "account")


def edit(home: Home, statement: str) -> None:
    """Change a database of ours with another build of SQLCipher."""
    connection = sqlcipher.connect(str(home.database))
    connection.execute(f"PRAGMA key = \"x'{RAW.hex()}'\"")
    connection.execute(statement)
    connection.commit()
    connection.close()


def foreign(home: Home, key: bytes) -> None:
    connection = sqlcipher.connect(str(home.database))
    connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
    connection.execute("CREATE TABLE notes (text)")
    connection.execute("INSERT INTO notes VALUES ('kept by another program')")
    connection.commit()
    connection.close()
    home.database.chmod(0o600)


def key_without_database(home: Home) -> None:
    home.use_file()
    home.make()
    home.database.unlink()


def log_without_database(home: Home) -> None:
    home.make()
    home.database.rename(home.folder / "mdk.db-wal")


def database_without_key(home: Home) -> None:
    home.use_file()
    home.make()
    home.key_file.unlink()


def wrong_key(home: Home) -> None:
    home.make()
    home.key = DatabaseKey.raw(RAW[::-1])


def wrong_key_alone(home: Home) -> None:
    home.alone()
    home.key = DatabaseKey.raw(RAW[::-1])


def plain(home: Home) -> None:
    connection = sqlite3.connect(home.database)
    connection.execute("CREATE TABLE t (x)")
    connection.commit()
    connection.close()
    home.database.chmod(0o600)


def garbage(home: Home) -> None:
    home.database.write_bytes(os.urandom(16 * 4096))
    home.database.chmod(0o600)


def replaced_by_garbage(home: Home) -> None:
    home.make()
    home.database.write_bytes(os.urandom(home.database.stat().st_size))


def replaced_by_another(home: Home) -> None:
    home.make()
    home.database.unlink()
    foreign(home, RAW[::-1])


def empty(home: Home) -> None:
    home.database.touch(0o600)


def truncated(home: Home) -> None:
    home.make()
    os.truncate(home.database, home.database.stat().st_size - 1000)


def truncated_at_a_page(home: Home) -> None:
    home.make()
    os.truncate(home.database, home.database.stat().st_size - 4096)


def newer(home: Home) -> None:
    home.make()
    edit(home, "PRAGMA user_version = 4711")


def older(home: Home) -> None:
    home.make()
    edit(home, "PRAGMA user_version = 0")


def key_file_too_wide(home: Home) -> None:
    home.use_file()
    home.make()
    home.key_file.chmod(0o640)


def key_file_with_a_short_key(home: Home) -> None:
    home.use_file()
    home.make()
    home.key_file.write_text("mdk-key-1:AAAA\n")


def key_file_without_key(home: Home) -> None:
    home.use_file()
    home.make()
    home.key_file.write_text("no key at all\n")


def short_callback(home: Home) -> None:
    home.make()
    home.key = DatabaseKey.callback(lambda: bytes(31))


def raising_callback(home: Home) -> None:
    def ask() -> bytes:
        raise RuntimeError("planted secret")

    home.make()
    home.key = DatabaseKey.callback(ask)


def wrong_passphrase(home: Home) -> None:
    home.key = DatabaseKey.passphrase("right")
    home.make()
    home.key = DatabaseKey.passphrase("wrong")


def variable_not_set(home: Home) -> None:
    home.key = DatabaseKey.from_env("MDK_TEST_NOT_SET")


def secret_not_there(home: Home) -> None:
    home.key = DatabaseKey.from_secret("mdk-test-not-there")


def descriptor_not_open(home: Home) -> None:
    home.key = DatabaseKey.from_fd(9876)


def volatile_store(home: Home) -> None:
    home.key = DatabaseKey.keyring(store="keyutils")


def symbolic_link(home: Home) -> None:
    home.make()
    home.database.rename(home.folder / "elsewhere")
    home.database.symlink_to(home.folder / "elsewhere")


def hard_link(home: Home) -> None:
    home.make()
    os.link(home.database, home.folder.parent / "other name")


def directory_in_its_place(home: Home) -> None:
    home.database.mkdir(0o700)


def wide_directory(home: Home) -> None:
    home.make()
    (home.folder / "something else").touch(0o600)
    home.folder.chmod(0o755)


def broken_record(home: Home) -> None:
    home.make()
    (home.folder / "mdk.db.keyinfo").write_text("{}")


def name_that_is_taken(home: Home) -> None:
    taken = home.folder / "mdk.db.tmp"
    taken.write_text("somebody's")
    taken.chmod(0o600)


def another_account(home: Home) -> None:
    with Mdk.open(home.database, keys=Keys.generate(), key=home.key):
        pass


CASES: list[tuple[Callable[[Home], None], type[errors.MdkError]]] = [
    (key_without_database, errors.DatabaseMissing),
    (log_without_database, errors.LogWithoutDatabase),
    (database_without_key, errors.KeyMissing),
    (wrong_key, errors.WrongKey),
    (wrong_key_alone, errors.WrongKey),
    (plain, errors.NotEncrypted),
    (lambda home: foreign(home, RAW), errors.ForeignDatabase),
    (lambda home: foreign(home, RAW[::-1]), errors.WrongKey),
    (garbage, errors.WrongKey),
    (replaced_by_garbage, errors.NotADatabase),
    (replaced_by_another, errors.NotADatabase),
    (empty, errors.EmptyDatabase),
    (truncated, errors.TruncatedDatabase),
    (truncated_at_a_page, errors.TruncatedDatabase),
    (newer, errors.SchemaTooNew),
    (older, errors.SchemaTooOld),
    (key_file_too_wide, errors.KeyFileTooWide),
    (key_file_with_a_short_key, errors.WrongKeyLength),
    (key_file_without_key, errors.KeyMalformed),
    (short_callback, errors.WrongKeyLength),
    (raising_callback, errors.CallbackFailed),
    (wrong_passphrase, errors.WrongDatabasePassphrase),
    (variable_not_set, errors.KeyMissing),
    (secret_not_there, errors.KeyMissing),
    (descriptor_not_open, errors.KeyMissing),
    (volatile_store, errors.VolatileStore),
    (symbolic_link, errors.SymbolicLink),
    (hard_link, errors.HardLink),
    (directory_in_its_place, errors.NotARegularFile),
    (wide_directory, errors.DirectoryTooWide),
    (broken_record, errors.KeyRecordMalformed),
    (name_that_is_taken, errors.DestinationExists),
    (another_account, errors.WrongAccount),
]
NAMES = [getattr(case, "__name__", "foreign") for case, _ in CASES]


# proves: K5
@pytest.mark.parametrize(("spoil", "expected"), CASES, ids=NAMES)
def test_each_has_its_own_exception_and_changes_nothing(
    home: Home, spoil: Callable[[Home], None], expected: type[errors.MdkError]
) -> None:
    spoil(home)
    names = sorted(path.name for path in home.folder.iterdir())
    before = home.state() if not home.database.is_dir() else {}
    with pytest.raises(errors.MdkError) as caught:
        Mdk.open(home.database, keys=KEYS, key=home.key)
    assert type(caught.value) is expected
    assert caught.value.hint
    assert str(home.folder) not in str(caught.value)
    assert "planted" not in repr(caught.value)
    left = sorted(path.name for path in home.folder.iterdir())
    assert [name for name in left if not name.endswith(".lock")] == [
        name for name in names if not name.endswith(".lock")
    ]
    # The key was right, so SQLite has looked: what it wrote is the same.
    if not home.database.is_dir() and expected is not errors.WrongAccount:
        assert home.state() == before


# What only opening asks for; and damage, which these look for and read around.
OPENS_ONLY = {errors.DirectoryTooWide, errors.WrongAccount}
READS_ON = {errors.TruncatedDatabase}


@pytest.mark.parametrize(("spoil", "expected"), CASES, ids=NAMES)
def test_whatever_reads_the_database_says_the_same_as_opening(
    home: Home, tmp_path: Path, spoil: Callable[[Home], None], expected: type[errors.MdkError]
) -> None:
    spoil(home)
    new = tmp_path / "new.db"
    expected = expected if home.database.exists() else errors.FileMissing
    reading: list[Callable[[], object]] = [
        lambda: vault.verify(home.database, key=home.key),
        lambda: vault.salvage(home.database, new, key=home.key, to_key=DatabaseKey.raw(RAW)),
        lambda: vault.encrypt_existing(
            home.database, key=DatabaseKey.raw(b"n" * 32), to=new, from_key=home.key
        ),
    ]
    opening: list[Callable[[], object]] = [
        lambda: vault.rekey(home.database, key=home.key),
        lambda: vault.backup(home.database, new, passphrase="x", key=home.key),
    ]
    calls = [] if expected in OPENS_ONLY | READS_ON else reading
    for call in calls + ([] if expected is errors.WrongAccount else opening):
        with pytest.raises(errors.MdkError) as caught:
            call()
        assert type(caught.value) is expected
        assert caught.value.hint
        assert not new.exists()


def test_without_a_key_the_record_says_where_it_is(home: Home, tmp_path: Path) -> None:
    home.use_file()
    home.make()
    moved = tmp_path / "moved"
    home.folder.rename(moved)
    database, new = moved / "mdk.db", tmp_path / "new"
    assert vault.verify(database).ok
    assert not vault.rekey(database).old_key_kept
    vault.backup(database, tmp_path / "backup", passphrase="x")
    vault.salvage(database, new / "mdk.db", to_key=DatabaseKey.from_file(new / "key"))
    assert vault.verify(new / "mdk.db").ok
    with Mdk.open(database, keys=KEYS) as account:
        assert account.info.key_source == "file"
        account.rekey(DatabaseKey.raw(RAW))
    with pytest.raises(errors.KeyNotGiven) as caught:
        vault.verify(database)
    assert caught.value.hint
    with pytest.raises(errors.KeyNotGiven):
        Mdk.open(database, keys=KEYS)


def test_a_copy_never_takes_the_key_of_the_original(home: Home, tmp_path: Path) -> None:
    home.key_file = tmp_path / "elsewhere" / "mdk.key"
    home.use_file()
    home.make()
    kept = home.key_file.read_bytes()
    shutil.copytree(home.folder, tmp_path / "copy")
    copy = tmp_path / "copy" / "mdk.db"
    assert vault.rekey(copy).old_key_kept
    assert home.key_file.read_bytes() == kept
    for database in (home.database, copy):
        with Mdk.open(database, keys=KEYS, key=home.key) as account:
            assert [group.name for group in account.groups()] == ["Lunch"]


def test_the_database_opens_again_once_the_cause_is_gone(home: Home) -> None:
    home.use_file()
    home.make()
    kept = home.key_file.read_bytes()
    home.key_file.chmod(0o644)
    with pytest.raises(errors.KeyFileTooWide) as caught:
        Mdk.open(home.database, keys=KEYS, key=home.key)
    assert caught.value.mode == 0o644
    home.key_file.unlink()
    with pytest.raises(errors.KeyMissing):
        Mdk.open(home.database, keys=KEYS, key=home.key)
    home.key_file.touch(0o600)
    home.key_file.write_bytes(kept)
    with pytest.raises(errors.WrongKey):
        Mdk.open(home.database, keys=KEYS, key=DatabaseKey.raw(RAW))
    with Mdk.open(home.database, keys=KEYS, key=home.key) as account:
        assert [group.name for group in account.groups()] == ["Lunch"]


# proves: S32
@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_only_keys_of_32_bytes(length: int) -> None:
    with pytest.raises(errors.WrongKeyLength) as caught:
        DatabaseKey.raw(bytes(length))
    assert (caught.value.limit, caught.value.value) == (32, length)
    assert caught.value.hint


# proves: S20
@pytest.mark.parametrize("value", ["", "a\0b", "x" * 513])
def test_identifiers(value: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: DatabaseKey.keyring(value),
        lambda: DatabaseKey.keyring(key_id=value),
    ]
    for made in calls:
        with pytest.raises(errors.InvalidIdentifier) as caught:
            made()
        assert caught.value.hint


# ------------------------------------------------------------------ what needs an environment of its own

OPEN = """
import json, os, sys
from pathlib import Path
import mdk
folder, source = Path(sys.argv[1]), sys.argv[2]
key = {
    "raw": lambda: mdk.DatabaseKey.raw(bytes(range(32))),
    "keyring": lambda: mdk.DatabaseKey.keyring(timeout=1.0),
}[source]()
found = None
try:
    mdk.Mdk.open(folder / "mdk.db", keys=mdk.Keys.generate(), key=key).close()
except mdk.errors.MdkError as error:
    found = {"class": type(error).__name__, "hint": error.hint}
left = sorted(p.name for p in folder.rglob("*")) if folder.exists() else []
print(json.dumps({"error": found, "left": left}))
"""


def attempt(
    folder: Path, source: str, *, env: dict[str, str] | None = None, before: list[str] | None = None
) -> dict[str, object]:
    """Open in a child. `before` wraps the command."""
    done = subprocess.run(
        [*(before or []), sys.executable, "-c", OPEN, str(folder), source],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    result: dict[str, object] = json.loads(done.stdout)
    return result


def refused(result: dict[str, object], name: str) -> None:
    error = result["error"]
    assert isinstance(error, dict)
    assert error["class"] == name
    assert error["hint"]


# proves: S29
def test_no_keyring_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "account"
    result = attempt(folder, "keyring", env=NO_BUS)
    refused(result, "KeyringUnavailable")
    assert not (tmp_path / "new").exists()


def test_a_keyring_that_does_not_answer(tmp_path: Path) -> None:
    with SilentBus(tmp_path / "bus") as address:
        folder = tmp_path / "new"
        result = attempt(folder, "keyring", env={"DBUS_SESSION_BUS_ADDRESS": address})
        refused(result, "KeyringTimeout")
        assert not folder.exists()


class SilentBus:
    """A D-Bus address where somebody listens and never says a word."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> str:
        self.socket.bind(str(self.path))
        self.socket.listen(8)
        return f"unix:path={self.path}"

    def __exit__(self, *_: object) -> None:
        self.socket.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], list[str]]]:
    """A command prefix that mounts a small file system on `tmp_path / "disk"` for one child."""
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


@pytest.mark.parametrize("room", [8, 32, 64, 128, 200, 280])
def test_the_disk_is_full(
    tmp_path: Path, small_disk: Callable[[str], list[str]], room: int
) -> None:
    result = attempt(tmp_path / "disk", "raw", before=small_disk(f"size={room}k"))
    refused(result, "DiskFull")
    assert result["left"] == []


def test_the_disk_is_read_only(tmp_path: Path, small_disk: Callable[[str], list[str]]) -> None:
    result = attempt(tmp_path / "disk", "raw", before=small_disk("size=4m,ro"))
    refused(result, "ReadOnlyDatabase")
    assert result["left"] == []


# ------------------------------------------------------------------ the other operations


@pytest.fixture
def filled(home: Home) -> Home:
    home.make()
    return home


def test_operations_on_a_file_that_is_not_there(home: Home, tmp_path: Path) -> None:
    calls: list[Callable[[], object]] = [
        lambda: vault.verify(home.database, key=home.key),
        lambda: vault.rekey(home.database, key=home.key),
        lambda: vault.backup(home.database, tmp_path / "b", passphrase="x", key=home.key),
        lambda: vault.restore(tmp_path / "b", home.database, passphrase="x", key=home.key),
        lambda: vault.encrypt_existing(home.database, key=home.key),
        lambda: vault.salvage(home.database, tmp_path / "b", key=home.key, to_key=home.key),
    ]
    for call in calls:
        with pytest.raises(errors.FileMissing) as caught:
            call()
        assert isinstance(caught.value, FileNotFoundError)
        assert caught.value.hint
    assert list(home.folder.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["account"]


def test_nothing_is_overwritten(filled: Home, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    backup = filled.folder / "backup"
    vault.backup(filled.database, backup, passphrase="x", key=filled.key)
    calls: list[Callable[[], object]] = [
        lambda: vault.backup(filled.database, taken, passphrase="x", key=filled.key),
        lambda: vault.restore(backup, taken, passphrase="x", key=filled.key),
        lambda: vault.encrypt_existing(
            filled.database, key=filled.key, to=taken, from_key=filled.key
        ),
        lambda: vault.salvage(filled.database, taken, key=filled.key, to_key=filled.key),
    ]
    for call in calls:
        with pytest.raises(errors.DestinationExists) as caught:
            call()
        assert isinstance(caught.value, FileExistsError)
        assert caught.value.hint
    assert taken.read_text() == "mine"


@pytest.mark.parametrize("spoil", ["byte", "cut", "more", "swap", "head"])
def test_a_changed_backup_is_never_accepted(filled: Home, spoil: str) -> None:
    backup = filled.folder / "backup"
    vault.backup(filled.database, backup, passphrase="right", key=filled.key)
    data = bytearray(backup.read_bytes())
    if spoil == "byte":
        data[-20] ^= 1
    elif spoil == "cut":
        del data[-1:]
    elif spoil == "more":
        data += b"\0"
    elif spoil == "swap":
        half = len(data) // 2
        data[half : half + 16], data[-16:] = data[-16:], data[half : half + 16]
    else:
        data[0] ^= 1
    backup.write_bytes(data)
    new = filled.folder / "new" / "mdk.db"
    with pytest.raises(errors.BackupError) as caught:
        vault.restore(backup, new, passphrase="right", key=filled.key)
    expected = errors.NotABackup if spoil == "head" else errors.WrongPassphrase
    assert type(caught.value) is expected
    assert caught.value.hint
    assert not new.parent.exists()


def test_the_wrong_passphrase_of_a_backup(filled: Home) -> None:
    backup = filled.folder / "backup"
    vault.backup(filled.database, backup, passphrase="right", key=filled.key)
    with pytest.raises(errors.WrongPassphrase):
        vault.restore(backup, filled.folder / "new.db", passphrase="wrong", key=filled.key)
    for wrong in ("", "x" * 1025):
        with pytest.raises(errors.InvalidPassphrase) as caught:
            vault.backup(filled.database, filled.folder / "b", passphrase=wrong, key=filled.key)
        assert caught.value.hint
    assert not (filled.folder / "b").exists()


def test_keys_that_do_not_serve_for_a_rekey(filled: Home) -> None:
    before = filled.state()
    with pytest.raises(errors.NewKeyNeeded) as caught:
        vault.rekey(filled.database, key=filled.key)
    assert caught.value.hint
    with pytest.raises(errors.SameKey) as same:
        vault.rekey(filled.database, DatabaseKey.raw(RAW), key=filled.key)
    assert same.value.hint
    assert set(filled.state()) == set(before)
    with Mdk.open(filled.database, keys=KEYS, key=filled.key) as account:
        assert [group.name for group in account.groups()] == ["Lunch"]


def test_encrypting_what_is_encrypted(filled: Home) -> None:
    before = filled.state()
    with pytest.raises(errors.AlreadyEncrypted) as caught:
        vault.encrypt_existing(filled.database, key=filled.key)
    assert caught.value.hint
    with pytest.raises(errors.InvalidInput, match="rekey"):
        vault.encrypt_existing(filled.database, key=filled.key, from_key=filled.key)
    assert filled.state() == before


def test_an_account_in_memory_has_no_file(tmp_path: Path) -> None:
    with Mdk.in_memory() as account:
        with pytest.raises(errors.InMemory) as caught:
            account.rekey(DatabaseKey.raw(RAW))
        assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------ a real keyring


@pytest.fixture
def session(tmp_path: Path) -> Callable[[str], list[str]]:
    """A command prefix: a D-Bus session of its own, and a GNOME keyring that is started with the given options."""
    needed = ("dbus-run-session", "gnome-keyring-daemon")
    if missing := [tool for tool in needed if shutil.which(tool) is None]:
        if os.environ.get("MDK_REQUIRE_KEYRINGS") == "1":
            pytest.fail(f"not installed: {missing}")
        pytest.skip(f"not installed: {missing}")
    run = tmp_path / "run"
    run.mkdir(mode=0o700)

    def prefix(options: str) -> list[str]:
        environment = f'export HOME="{tmp_path}/home" XDG_RUNTIME_DIR="{run}"; unset DISPLAY'
        daemon = f"printf password | gnome-keyring-daemon {options} --components=secrets"
        shell = f'{environment}; {daemon} >/dev/null 2>&1; exec "$@" 2>/dev/null'
        return ["dbus-run-session", "--", "sh", "-c", shell, "sh"]

    (tmp_path / "home").mkdir(mode=0o700)
    return prefix


def in_session(folder: Path, prefix: list[str]) -> dict[str, object]:
    done = subprocess.run(
        [*prefix, sys.executable, "-c", OPEN, str(folder), "keyring"],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    return result


# proves: S17, K7
def test_the_default_key_is_in_the_keyring_and_a_locked_one_says_so(
    tmp_path: Path, session: Callable[[str], list[str]]
) -> None:
    folder = tmp_path / "account"
    assert in_session(folder, session("--unlock"))["error"] is None
    files = sorted(path.name for path in folder.iterdir())
    record = json.loads((folder / "mdk.db.keyinfo").read_text())["key"]
    assert (record["source"], record["store"]) == ("keyring", "secret-service")
    # The same keyring without its password, and nobody who could be asked for it.
    refused(in_session(folder, session("--start")), "KeyringLocked")
    assert sorted(path.name for path in folder.iterdir()) == files
    refused(in_session(tmp_path / "another", session("--start")), "KeyringLocked")
    assert not (tmp_path / "another").exists()
    # It was created for another account, so opening it now shows that the key was found again.
    refused(in_session(folder, session("--unlock")), "WrongAccount")
