"""Databases and keys with something wrong, and the exception that each has of its own."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from sqlcipher3 import dbapi2 as sqlcipher

from mdk import DatabaseKey, Keys, Mdk, errors

KEYS = Keys.generate()
RAW = bytes(range(32))
RELAYS = ["wss://relay.example"]


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


def empty_beside_a_log(home: Home) -> None:
    home.make()
    os.truncate(home.database, 0)
    log = home.database.with_name(home.database.name + "-wal")
    log.touch(0o600)
    log.write_bytes(b"newest messages")


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
    (empty_beside_a_log, errors.TruncatedDatabase),
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
