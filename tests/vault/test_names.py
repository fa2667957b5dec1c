"""A file is never overwritten or removed because of its name: databases, keys and backups named like one another."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mdk import DatabaseKey, Keys, Mdk, errors, vault

KEYS = Keys.generate()
RESERVED = [
    *("-wal", "-shm", "-journal", ".tmp", ".rekey", ".encrypt", ".lock", ".keyinfo"),
    *(".keyinfo.tmp", ".key", ".key.new"),
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    return folder


def key(path: Path) -> DatabaseKey:
    return DatabaseKey.from_file(path)


def use(database: Path, key_of: DatabaseKey | None = None) -> None:
    Mdk.open(database, keys=KEYS, key=key_of).close()


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.endswith(".lock")}


@pytest.mark.parametrize("suffix", RESERVED)
def test_no_database_and_no_backup_is_called_like_a_file_beside_another(
    home: Path, suffix: str
) -> None:
    a, taken = home / "a.db", home / f"other.db{suffix}"
    use(a, key(home / "a.secret"))
    vault.backup(a, home / "backup", passphrase="words")
    before = contents(home)
    new = key(home / "new.secret")
    calls: list[Callable[[], object]] = [
        lambda: use(taken, new),
        lambda: vault.restore(home / "backup", taken, passphrase="words", key=new),
        lambda: vault.encrypt_existing(a, from_key=key(home / "a.secret"), to=taken, key=new),
        lambda: vault.salvage(a, taken, to_key=new),
        lambda: vault.backup(a, taken, passphrase="words"),
        lambda: vault.verify(taken),
    ]
    for call in calls:
        with pytest.raises(errors.InvalidInput, match="name") as caught:
            call()
        assert caught.value.field == "path"
        assert caught.value.hint
        after = contents(home)
        # Opening the database that is backed up writes its first page anew.
        after["a.db"] = before["a.db"]
        assert after == before


def test_a_database_that_has_such_a_name_already_is_left_alone(home: Path) -> None:
    use(home / "b.db", key(home / "b.secret"))
    for suffix in ("", ".keyinfo", ".lock"):
        (home / f"b.db{suffix}").rename(home / f"a.db.encrypt{suffix}")
    database = (home / "a.db.encrypt").read_bytes()
    for _ in range(2):
        use(home / "a.db", key(home / "a.secret"))
        assert (home / "a.db.encrypt").read_bytes() == database
    for suffix in ("", ".keyinfo", ".lock"):
        (home / f"a.db.encrypt{suffix}").rename(home / f"b.db{suffix}")
    use(home / "b.db")


def test_no_key_of_another_database_is_taken_for_a_leftover(home: Path) -> None:
    use(home / "b.db", key(home / "k.tmp"))
    with pytest.raises(errors.InvalidInput):
        use(home / "a.db", key(home / "k"))
    use(home / "b.db")
    use(home / "c.db", key(home / "z"))
    use(home / "d.db", key(home / "z.tmp"))
    vault.rekey(home / "c.db", key(home / "y"))
    use(home / "d.db")
    words = DatabaseKey.passphrase("words")
    use(home / "e.db", words)
    use(home / "f.db", key(home / "e.db.key.new"))
    with pytest.raises(errors.DestinationExists):
        vault.rekey(home / "e.db", key=words)
    use(home / "e.db", words)
    use(home / "f.db")


def test_what_was_put_in_the_place_of_a_key_stays(home: Path) -> None:
    use(home / "b.db", key(home / "kb"))
    with Mdk.open(home / "a.db", keys=KEYS, key=key(home / "k")) as account:
        own = (home / "k").read_bytes()
        (home / "kb").rename(home / "k")
        with pytest.raises(errors.DestinationExists):
            account.rekey()
    use(home / "b.db", key(home / "k"))
    (home / "k").write_bytes(own)
    use(home / "a.db")


def test_a_backup_is_never_taken_for_a_leftover(home: Path) -> None:
    use(home / "a.db", key(home / "k"))
    vault.backup(home / "a.db", home / "first", passphrase="words")
    (home / "first").rename(home / "second.tmp")
    whole = (home / "second.tmp").read_bytes()
    vault.backup(home / "a.db", home / "second", passphrase="words")
    assert (home / "second.tmp").read_bytes() == whole


def test_a_relative_key_path_is_that_of_the_opening(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    with Mdk.open("a.db", keys=KEYS, key=DatabaseKey.from_file("k")) as account:
        before = (home / "k").read_bytes()
        (home / "elsewhere").mkdir()
        monkeypatch.chdir(home / "elsewhere")
        account.rekey()
    assert (home / "k").read_bytes() != before
    assert not list((home / "elsewhere").iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="file systems that take any bytes as a name")
def test_a_key_that_could_not_be_renewed_is_refused_at_once(home: Path) -> None:
    for name in [os.fsdecode(b"k\xff"), "k" * 251]:
        with pytest.raises(errors.InvalidInput, match=r"UTF-8|too long") as caught:
            use(home / "a.db", key(home / name))
        assert caught.value.field == "key"
    with pytest.raises(errors.InvalidInput, match="too long"):
        use(home / ("n" * 244), key(home / "k"))
    assert not list(home.iterdir())


def test_an_identifier_that_is_too_long_names_the_limit(home: Path) -> None:
    for source, limit in [
        (DatabaseKey.from_env("x" * 256), 255),
        (DatabaseKey.from_secret("x" * 256), 255),
    ]:
        with pytest.raises(errors.InvalidIdentifier, match=f"longer than {limit} bytes") as caught:
            use(home / "a.db", source)
        assert caught.value.limit == limit
