"""The commands of the file find the key where it was put, like those that talk."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from tests.cli.kit import Home


@pytest.fixture
def database(home: Home) -> Path:
    """A database whose key is in a file that is nowhere else named."""
    home.mdk("init", "-a", "a/mdk.db", "--offline", "--key", "file:x.key", "--relay", home.relay)
    return home.folder / "a" / "mdk.db"


def test_without_a_key_the_recorded_one_is_used(home: Home, database: Path) -> None:
    for command in ("verify", "doctor", "rekey"):
        home.done(command, database)
    assert "the key that was given opens the database" in home.mdk("doctor", database).out
    home.mdk("rekey", database, "--to", "file:y.key")
    home.done("verify", database)
    home.done("groups", "-a", database)
    home.done("salvage", database, "b/mdk.db", "--to-key", "file:b.key")
    home.done("verify", "b/mdk.db")


def test_a_moved_account_opens_or_says_where_its_key_was(home: Home, database: Path) -> None:
    """A key in the folder moves with it; one that lies elsewhere does not."""
    home.mdk("rekey", database, "--to", f"file:{home.folder / 'a' / 'own.key'}")
    (home.folder / "a").rename(home.folder / "b")
    moved = home.folder / "b" / "mdk.db"
    home.done("verify", moved)
    home.done("rekey", moved, "--to", "file:x.key")
    (home.folder / "x.key").rename(home.folder / "y.key")
    done = home.fails(78, "verify", moved)
    assert str(home.folder / "x.key") in done.err
    assert "--key file:PATH" in done.err
    home.done("groups", "-a", moved, "--key", "file:y.key")
    home.done("verify", moved)


def test_a_copy_keeps_its_hands_off_the_key_of_the_original(home: Home, database: Path) -> None:
    shutil.copytree(home.folder / "a", home.folder / "c")
    done = home.done("rekey", home.folder / "c" / "mdk.db")
    assert "another one may need it" in done.out
    for each in (database, home.folder / "c" / "mdk.db"):
        home.done("verify", each)


def test_a_backup_without_a_key(home: Home, database: Path) -> None:
    (home.folder / "phrase").write_text("correct horse")
    arguments = ("backup", database, "copy", "--backup-passphrase-fd", "3")
    done = home.process(*arguments, how="3<phrase")
    assert done.code == 0, done.err
    assert (home.folder / "copy").exists()


def test_what_is_given_counts_more_than_the_record(home: Home, database: Path) -> None:
    (home.folder / "other.key").write_text((home.folder / "x.key").read_text()[:-4])
    (home.folder / "other.key").chmod(0o600)
    assert home.mdk("verify", database, "--key", "file:other.key").code == 78
    assert home.mdk("verify", database, MDK_KEY="file:other.key").code == 78


def test_the_doctor_asks_nobody_for_a_passphrase(home: Home, database: Path) -> None:
    record = database.with_name("mdk.db.keyinfo")
    text = json.loads(record.read_text())
    text["key"] = {"source": "passphrase", "check": text["key"]["check"]}
    record.write_text(json.dumps(text))
    done = home.mdk("doctor", database)
    assert done.code in {1, 2}, done.out
    assert "no terminal" not in done.err
    assert "database" in done.out


@pytest.mark.parametrize(
    "record",
    [
        '{"key": {"source": "file", "path": 5}}',
        '{"key": {"source": "keyring", "service": "a", "key_id": "b", "store": [1]}}',
        "[" * 5000,
    ],
    ids=["a path that is a number", "a store that is a list", "too deep"],
)
def test_a_record_that_says_nonsense_is_malformed(home: Home, database: Path, record: str) -> None:
    database.with_name("mdk.db.keyinfo").write_text(record)
    done = home.mdk("verify", database, "--json")
    assert (done.code, json.loads(done.out)["error"]["code"]) == (78, "key_record_malformed")
    assert home.mdk("groups", "-a", database).code == 78
    done = home.mdk("doctor", database)
    assert (done.code, "Traceback" in done.err) == (2, False)


@pytest.mark.parametrize("thing", ["pipe", "device"])
def test_what_is_no_file_is_no_record(home: Home, database: Path, thing: str) -> None:
    """Nobody waits for what a pipe gives, or reads a device to its end."""
    record = database.with_name("mdk.db.keyinfo")
    record.unlink()
    if thing == "pipe":
        os.mkfifo(record, 0o600)
    else:
        record.symlink_to("/dev/zero")
    assert home.mdk("verify", database).code == 77
    assert home.mdk("groups", "-a", database).code == 77
    assert home.mdk("doctor", database).code == 2
