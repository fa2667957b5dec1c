"""What each operation on a file refuses, as an exception of Python.

That nothing is changed or overwritten, and each bad name and archive: crates/mdk-store/tests/vault (restore.rs,
backup.rs, encrypt.rs, rekey.rs, names.rs and key_paths.rs).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.vault.spoiled import KEYS, RAW, Home

from mdk import DatabaseKey, Mdk, errors, vault

Call = Callable[[], object]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A database and a backup of it."""
    home = Home(tmp_path / "account").make()
    vault.backup(home.database, home.folder / "backup", passphrase="the right one", key=home.key)
    return home


def each_fails(error: type[errors.MdkError], *calls: Call, **fields: object) -> None:
    for call in calls:
        with pytest.raises(error) as caught:
            call()
        assert type(caught.value) is error
        assert caught.value.hint
        for name, value in fields.items():
            assert getattr(caught.value, name) == value


def making(home: Home, to: Path, database: Path, backup: Path) -> list[Call]:
    """Every call that makes a file, called `to`, out of another one."""
    key, other = home.key, DatabaseKey.raw(RAW[::-1])
    return [
        lambda: vault.backup(database, to, passphrase="long enough", key=key),
        lambda: vault.restore(backup, to, passphrase="the right one", key=key),
        lambda: vault.encrypt_existing(database, key=other, to=to, from_key=key),
        lambda: vault.salvage(database, to, key=key, to_key=key),
    ]


def test_a_file_that_is_not_there_one_that_is_and_a_name_that_is_taken(
    home: Home, tmp_path: Path
) -> None:
    database, backup, nothing = home.database, home.folder / "backup", tmp_path / "nothing.db"
    reading: list[Call] = [
        lambda: vault.verify(nothing, key=home.key),
        lambda: vault.rekey(nothing, key=home.key),
        lambda: vault.encrypt_existing(nothing, key=home.key),
    ]
    calls = reading + making(home, tmp_path / "b", nothing, nothing)
    each_fails(errors.FileMissing, *calls)
    assert issubclass(errors.FileMissing, FileNotFoundError)
    assert [path.name for path in tmp_path.iterdir()] == ["account"]
    taken = tmp_path / "taken"
    taken.write_text("mine")
    each_fails(errors.DestinationExists, *making(home, taken, database, backup))
    assert issubclass(errors.DestinationExists, FileExistsError)
    assert taken.read_text() == "mine"
    beside = home.folder / "other.db-wal"
    calls = [*making(home, beside, database, backup), lambda: vault.verify("a\0b", key=home.key)]
    calls.append(lambda: Mdk.open("a\0b", keys=KEYS, key=home.key))
    each_fails(errors.InvalidInput, *calls, field="path")
    fresh, long = tmp_path / "fresh" / "a.db", DatabaseKey.from_file(tmp_path / ("k" * 251))
    each_fails(errors.InvalidInput, lambda: Mdk.open(fresh, keys=KEYS, key=long), field="key")
    for source in (DatabaseKey.from_env("x" * 256), DatabaseKey.from_secret("x" * 256)):
        opening = [lambda key=source: Mdk.open(database, keys=KEYS, key=key)]
        each_fails(errors.InvalidIdentifier, *opening, limit=255)


# proves: K11
def test_a_changed_backup_and_a_wrong_passphrase_are_refused(home: Home) -> None:
    backup, new = home.folder / "backup", home.folder / "new" / "mdk.db"
    data = backup.read_bytes()
    for changed, phrase, error in (
        (data, "wrong", errors.WrongPassphrase),
        (data[:-20] + bytes([data[-20] ^ 1]) + data[-19:], "right", errors.WrongPassphrase),
        (data[:-1], "right", errors.WrongPassphrase),
        (bytes([data[0] ^ 1]) + data[1:], "right", errors.NotABackup),
    ):
        backup.write_bytes(changed)
        with pytest.raises(errors.BackupError) as caught:
            vault.restore(backup, new, passphrase=phrase, key=home.key)
        assert type(caught.value) is error
        assert caught.value.hint
        assert not new.parent.exists()
    for phrase in ("", "x" * 1025):
        with pytest.raises(errors.InvalidPassphrase):
            vault.backup(home.database, home.folder / "b", passphrase=phrase, key=home.key)


def test_keys_that_do_not_serve_and_what_is_encrypted_already(home: Home) -> None:
    path, key = home.database, home.key
    each_fails(errors.NewKeyNeeded, lambda: vault.rekey(path, key=key))
    each_fails(errors.SameKey, lambda: vault.rekey(path, DatabaseKey.raw(RAW), key=key))
    each_fails(errors.AlreadyEncrypted, lambda: vault.encrypt_existing(path, key=key))
    with pytest.raises(errors.InvalidInput, match="rekey"):
        vault.encrypt_existing(path, key=key, from_key=key)
    with Mdk.open(path, keys=KEYS, key=key) as account:
        assert [group.name for group in account.groups()] == ["Lunch"]
    with Mdk.in_memory() as memory:
        each_fails(errors.InMemory, lambda: memory.rekey(DatabaseKey.raw(RAW)))
