"""Databases and keys with something wrong, and the exception that each has of its own."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from sqlcipher3 import dbapi2 as sqlcipher
from tests.vault.kit import founded

from mdk import DatabaseKey, Keys, Mdk, errors

KEYS = Keys.generate()
RAW = bytes(range(32))
PAGE = 4096


class Home:
    """A folder with room for one database and one key file. What is done to it returns it, to go on."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        self.folder: Path = folder
        self.database: Path = folder / "mdk.db"
        self.key_file: Path = folder / "mdk.key"
        self.key: DatabaseKey = DatabaseKey.raw(RAW)

    def make(self) -> Self:
        """A database with a group in it."""
        with Mdk.open(self.database, keys=KEYS, key=self.key) as account:
            founded(account)
        return self

    def use_file(self) -> Self:
        return self.use(DatabaseKey.from_file(self.key_file))

    def use(self, key: DatabaseKey) -> Self:
        """From now on with this key."""
        self.key = key
        return self

    def remove(self, name: str) -> Self:
        (self.folder / name).unlink()
        return self

    def write(self, name: str, content: bytes, mode: int = 0o600) -> Self:
        (self.folder / name).write_bytes(content)
        (self.folder / name).chmod(mode)
        return self

    def rename(self, to: str) -> Self:
        self.database.rename(self.folder / to)
        return self

    def cut(self, by: int) -> Self:
        os.truncate(self.database, max(0, self.database.stat().st_size - by))
        return self

    def run(self, connect: Callable[[str], Any], *statements: str) -> Self:
        """Statements of another program."""
        connection = connect(str(self.database))
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()
        self.database.chmod(0o600)
        return self

    def cipher(self, key: bytes, *statements: str) -> Self:
        """Statements of another build of SQLCipher."""
        return self.run(sqlcipher.connect, f"PRAGMA key = \"x'{key.hex()}'\"", *statements)

    def names(self) -> list[str]:
        """What is in the folder. A lock file may stay, it holds nothing."""
        return sorted(p.name for p in self.folder.iterdir() if not p.name.endswith(".lock"))

    def state(self) -> dict[str, tuple[int, int, bytes]]:
        """Names, modes, inodes and contents."""
        paths = [self.folder / name for name in self.names()]
        return {
            path.name: (path.lstat().st_mode, path.lstat().st_ino, path.read_bytes())
            for path in paths
            if not path.is_symlink()
        }


def raises() -> bytes:
    raise RuntimeError("planted secret")


def symbolic_link(home: Home) -> None:
    home.make().rename("elsewhere")
    home.database.symlink_to(home.folder / "elsewhere")


def hard_link(home: Home) -> None:
    home.make()
    os.link(home.database, home.folder.parent / "other name")


def wide_directory(home: Home) -> None:
    home.make().write("something else", b"")
    home.folder.chmod(0o755)


def another_account(home: Home) -> None:
    Mdk.open(home.database, keys=Keys.generate(), key=home.key).close()


REVERSED = DatabaseKey.raw(RAW[::-1])
FOREIGN = ("CREATE TABLE notes (text)", "INSERT INTO notes VALUES ('kept by another program')")
# More files of the same exceptions are tried in crates/mdk-store/tests/vault.
CASES: dict[str, tuple[type[errors.MdkError], Callable[[Home], object]]] = {
    "key_without_database": (
        errors.DatabaseMissing,
        lambda home: home.use_file().make().remove("mdk.db"),
    ),
    "log_without_database": (
        errors.LogWithoutDatabase,
        lambda home: home.make().rename("mdk.db-wal"),
    ),
    "database_without_key": (
        errors.KeyMissing,
        lambda home: home.use_file().make().remove("mdk.key"),
    ),
    "wrong_key": (errors.WrongKey, lambda home: home.make().use(REVERSED)),
    "plain": (
        errors.NotEncrypted,
        lambda home: home.run(sqlite3.connect, "CREATE TABLE t (x)"),
    ),
    "foreign": (errors.ForeignDatabase, lambda home: home.cipher(RAW, *FOREIGN)),
    "replaced_by_garbage": (
        errors.NotADatabase,
        lambda home: home.make().write("mdk.db", os.urandom(home.database.stat().st_size)),
    ),
    "empty": (errors.EmptyDatabase, lambda home: home.write("mdk.db", b"")),
    "empty_beside_a_log": (
        errors.TruncatedDatabase,
        lambda home: home.make().cut(1 << 30).write("mdk.db-wal", b"newest messages"),
    ),
    "truncated": (errors.TruncatedDatabase, lambda home: home.make().cut(1000)),
    "newer": (
        errors.SchemaTooNew,
        lambda home: home.make().cipher(RAW, "PRAGMA user_version = 4711"),
    ),
    "older": (
        errors.SchemaTooOld,
        lambda home: home.make().cipher(RAW, "PRAGMA user_version = 0"),
    ),
    "key_file_too_wide": (
        errors.KeyFileTooWide,
        lambda home: home.use_file().make().key_file.chmod(0o640),
    ),
    "key_file_with_a_short_key": (
        errors.WrongKeyLength,
        lambda home: home.use_file().make().write("mdk.key", b"mdk-key-1:AAAA\n"),
    ),
    "key_file_without_key": (
        errors.KeyMalformed,
        lambda home: home.use_file().make().write("mdk.key", b"no key at all\n"),
    ),
    "short_callback": (
        errors.WrongKeyLength,
        lambda home: home.make().use(DatabaseKey.callback(lambda: bytes(31))),
    ),
    "raising_callback": (
        errors.CallbackFailed,
        lambda home: home.make().use(DatabaseKey.callback(raises)),
    ),
    "wrong_passphrase": (
        errors.WrongDatabasePassphrase,
        lambda home: (
            home.use(DatabaseKey.passphrase("right one"))
            .make()
            .use(DatabaseKey.passphrase("wrong one"))
        ),
    ),
    "variable_not_set": (
        errors.KeyMissing,
        lambda home: home.use(DatabaseKey.from_env("MDK_TEST_NOT_SET")),
    ),
    "secret_not_there": (
        errors.KeyMissing,
        lambda home: home.use(DatabaseKey.from_secret("mdk-test-not-there")),
    ),
    "descriptor_not_open": (
        errors.KeyMissing,
        lambda home: home.use(DatabaseKey.from_fd(9876)),
    ),
    "volatile_store": (
        errors.VolatileStore,
        lambda home: home.use(DatabaseKey.keyring(store="keyutils")),
    ),
    "symbolic_link": (errors.SymbolicLink, symbolic_link),
    "hard_link": (errors.HardLink, hard_link),
    "directory_in_its_place": (
        errors.NotARegularFile,
        lambda home: home.database.mkdir(0o700),
    ),
    "wide_directory": (errors.DirectoryTooWide, wide_directory),
    "broken_record": (
        errors.KeyRecordMalformed,
        lambda home: home.make().write("mdk.db.keyinfo", b"{}"),
    ),
    "name_that_is_taken": (
        errors.DestinationExists,
        lambda home: home.write("mdk.db.tmp", b"somebody's"),
    ),
    "another_account": (errors.WrongAccount, another_account),
}
