"""Names that would lead to a file being overwritten or removed are refused, and it is said which and why."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mdk import DatabaseKey, Keys, Mdk, errors, vault

KEYS = Keys.generate()


def key(path: Path) -> DatabaseKey:
    return DatabaseKey.from_file(path)


def use(database: Path, key_of: DatabaseKey | None = None) -> None:
    Mdk.open(database, keys=KEYS, key=key_of).close()


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.endswith(".lock")}


# All such names are tried in crates/mdk-store/tests/vault/names.rs and backup.rs.
@pytest.mark.parametrize("suffix", ["-wal", ".key.new"])
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
