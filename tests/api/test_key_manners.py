"""What is refused of keys before it does harm: short passphrases, shared folders, labels of the protocol."""

from __future__ import annotations

import logging
import os
import subprocess
from pathlib import Path

import pytest

from mdk import DatabaseKey, GroupId, Keys, Mdk, errors

KEYS = Keys.generate()
posix = pytest.mark.skipif(os.name != "posix", reason="modes of files")


def opened(path: Path, key: DatabaseKey) -> None:
    Mdk.open(path, keys=KEYS, key=key).close()


def test_the_labels_of_the_protocol_give_no_secret(alice: Mdk, pair: GroupId) -> None:
    """Its keys of messages and files would be in the hands of whoever chooses the label."""
    for context in (b"group-event", b"encrypted-media", b""):
        with pytest.raises(errors.InvalidInput) as caught:
            alice.export_secret(pair, "marmot", context, 32)
        assert caught.value.field == "label"
    assert len(alice.export_secret(pair, "marmot-bot", b"group-event", 32)) == 32


@pytest.mark.parametrize("words", ["seven77", "éééééé7"])
def test_a_short_passphrase_guards_no_new_key(tmp_path: Path, words: str) -> None:
    path, short = tmp_path / "a" / "mdk.db", DatabaseKey.passphrase(words)
    with pytest.raises(errors.InvalidPassphrase) as caught:
        opened(path, short)
    assert (caught.value.limit, caught.value.value) == (8, len(words))
    assert not path.parent.exists() or not any(path.parent.iterdir())
    file = DatabaseKey.from_file(tmp_path / "a" / "key")
    with Mdk.open(path, keys=KEYS, key=file) as account:
        with pytest.raises(errors.InvalidPassphrase):
            account.rekey(short)
        # Eight characters are enough.
        account.rekey(DatabaseKey.passphrase("éight888"))
    opened(path, DatabaseKey.passphrase("éight888"))


def test_a_variable_is_removed_when_it_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def others_see(name: str) -> bool:
        return subprocess.run(["printenv", name], capture_output=True, check=False).returncode == 0

    monkeypatch.setenv("MDK_NSEC", KEYS.reveal_nsec())
    monkeypatch.setenv("MDK_DB_KEY", "ab" * 32)
    assert Keys.from_env().public_key == KEYS.public_key
    DatabaseKey.from_env()
    assert others_see("MDK_NSEC")
    assert others_see("MDK_DB_KEY")
    assert Keys.from_env(remove=True).public_key == KEYS.public_key
    key = DatabaseKey.from_env(remove=True)
    for name in ("MDK_NSEC", "MDK_DB_KEY"):
        assert name not in os.environ
        assert not others_see(name)
    path = tmp_path / "a" / "mdk.db"
    opened(path, key)
    opened(path, key)
    assert repr(key) == "<DatabaseKey env>"
    # The record names the variable, as otherwise.
    monkeypatch.setenv("MDK_DB_KEY", "ab" * 32)
    opened(path, DatabaseKey.from_env())
    with pytest.raises(errors.KeyMissing):
        DatabaseKey.from_env("MDK_NOT_SET", remove=True)
    monkeypatch.setenv("MDK_DB_KEY", "no key")
    with pytest.raises(errors.KeyMalformed):
        DatabaseKey.from_env(remove=True)
    monkeypatch.setenv("MDK_NSEC", "no key")
    with pytest.raises(errors.InvalidKey):
        Keys.from_env(remove=True)
    # What could not be read is left.
    assert {"MDK_DB_KEY", "MDK_NSEC"} <= os.environ.keys()


@posix
@pytest.mark.parametrize("mode", [0o775, 0o1777])
def test_no_key_file_is_made_where_others_can_write(tmp_path: Path, mode: int) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(mode)
    path, key = tmp_path / "a" / "mdk.db", DatabaseKey.from_file(shared / "key")
    with pytest.raises(errors.DirectoryTooWide) as caught:
        opened(path, key)
    assert caught.value.mode == mode
    assert not any(shared.iterdir())
    assert not path.exists()
    shared.chmod(0o755)
    opened(path, key)


@posix
def test_a_key_file_where_others_can_write_is_read_and_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Containers mount what they mount; and what is put in the file's place has another owner, and is refused."""
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o700)
    path, key = tmp_path / "a" / "mdk.db", DatabaseKey.from_file(shared / "key")
    opened(path, key)
    assert "others can write" not in caplog.text
    shared.chmod(0o777)
    opened(path, key)
    said = [record for record in caplog.records if "others can write" in record.getMessage()]
    assert said
    assert all(record.levelno == logging.WARNING for record in said)
    assert str(shared) not in caplog.text
