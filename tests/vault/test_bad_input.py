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


# proves: K5, R12
@pytest.mark.parametrize("case", CASES)
def test_each_has_its_own_exception_and_changes_nothing(home: Home, case: str) -> None:
    expected, spoil = CASES[case]
    spoil(home)
    names = sorted(path.name for path in home.folder.iterdir())
    before = home.state() if not home.database.is_dir() else {}
    with pytest.raises(errors.MdkError) as caught:
        Mdk.open(home.database, keys=KEYS, key=home.key)
    assert type(caught.value) is expected
    assert caught.value.hint
    assert str(home.folder) not in str(caught.value)
    assert "planted" not in f"{caught.value!r} {caught.value.__context__}"
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


@pytest.mark.parametrize("case", CASES)
def test_whatever_reads_the_database_says_the_same_as_opening(
    home: Home, tmp_path: Path, case: str
) -> None:
    expected, spoil = CASES[case]
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
