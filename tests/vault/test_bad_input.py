"""Whatever is wrong with a database or its key has an exception of its own with a hint, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.vault.spoiled import CASES, KEYS, RAW, Home

from mdk import DatabaseKey, Mdk, errors, vault


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "account")


# What only opening asks for; and damage, which the calls that read look for and read around.
OPENS_ONLY = {errors.DirectoryTooWide, errors.WrongAccount}
READS_ON = {errors.TruncatedDatabase}


# proves: K5, R12
@pytest.mark.parametrize("case", CASES)
def test_each_has_its_own_exception_and_changes_nothing(
    home: Home, tmp_path: Path, case: str
) -> None:
    """Whatever reads the database says the same as opening it."""
    expected, spoil = CASES[case]
    spoil(home)
    names, new = home.names(), tmp_path / "new.db"
    before = home.state() if not home.database.is_dir() else {}
    with pytest.raises(errors.MdkError) as caught:
        Mdk.open(home.database, keys=KEYS, key=home.key)
    assert type(caught.value) is expected
    assert caught.value.hint
    assert str(home.folder) not in str(caught.value)
    assert "planted" not in f"{caught.value!r} {caught.value.__context__}"
    assert home.names() == names
    # The key was right, so SQLite has looked: what it wrote is the same.
    if not home.database.is_dir() and expected is not errors.WrongAccount:
        assert home.state() == before

    calls: list[Callable[[], object]] = []
    if expected is not errors.WrongAccount:
        calls += [
            lambda: vault.rekey(home.database, key=home.key),
            lambda: vault.backup(home.database, new, passphrase="long enough", key=home.key),
        ]
    expected = expected if home.database.exists() else errors.FileMissing
    if expected not in OPENS_ONLY | READS_ON:
        other = DatabaseKey.raw(b"n" * 32)
        calls += [
            lambda: vault.verify(home.database, key=home.key),
            lambda: vault.salvage(home.database, new, key=home.key, to_key=DatabaseKey.raw(RAW)),
            lambda: vault.encrypt_existing(home.database, key=other, to=new, from_key=home.key),
        ]
    for call in calls:
        with pytest.raises(errors.MdkError) as caught:
            call()
        assert type(caught.value) is expected
        assert caught.value.hint
        assert not new.exists()


def test_without_a_key_the_record_says_where_it_is(home: Home, tmp_path: Path) -> None:
    home.use_file().make()
    moved = tmp_path / "moved"
    home.folder.rename(moved)
    database, new = moved / "mdk.db", tmp_path / "new"
    assert vault.verify(database).ok
    assert not vault.rekey(database).old_key_kept
    vault.backup(database, tmp_path / "backup", passphrase="long enough")
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


def test_the_database_opens_again_once_the_cause_is_gone(home: Home) -> None:
    home.use_file().make()
    kept = home.key_file.read_bytes()

    def refused(error: type[errors.MdkError], key: DatabaseKey) -> None:
        with pytest.raises(error):
            Mdk.open(home.database, keys=KEYS, key=key)

    home.key_file.chmod(0o644)
    refused(errors.KeyFileTooWide, home.key)
    home.key_file.unlink()
    refused(errors.KeyMissing, home.key)
    home.write("mdk.key", kept)
    refused(errors.WrongKey, DatabaseKey.raw(RAW))
    with Mdk.open(home.database, keys=KEYS, key=home.key) as account:
        assert [group.name for group in account.groups()] == ["Lunch"]


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_key_callback_is_one(raised: type[BaseException], home: Home) -> None:
    def prompt() -> bytes:
        raise raised("at the prompt")

    with pytest.raises(raised, match="at the prompt"):
        Mdk.open(home.database, keys=KEYS, key=DatabaseKey.callback(prompt))
    assert not home.database.exists()
    home.make()
    with pytest.raises(raised, match="at the prompt"):
        vault.verify(home.database, key=DatabaseKey.callback(prompt))
