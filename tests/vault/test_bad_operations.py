"""What each operation on a file refuses: nothing is overwritten, and no changed backup is taken for a good one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.vault.spoiled import KEYS, RAW, Home

from mdk import DatabaseKey, Mdk, errors, vault


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "account")


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


# proves: K11
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
