"""`~` at the beginning of a path is the user's home folder, wherever a path is taken; elsewhere it is a letter."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cli.kit import NOWHERE, Home
from tests.client.people import KEY, PATIENCE

from mdk import Bot, Client, Config, DatabaseKey, Keys, Mdk, errors, vault
from mdk.client import files
from mdk.client.accounts import database_path
from mdk.testing import LocalBlossom, LocalRelay, client

pytestmark = pytest.mark.skipif(os.name == "nt", reason="HOME says where it is on POSIX only")
NOBODY = "~nobody-has-this-name/file"
RAW, OTHER = DatabaseKey.raw(KEY), DatabaseKey.raw(KEY[::-1])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home folder; the current one is elsewhere, and has to stay empty but for what is named in it."""
    found, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    found.mkdir(mode=0o700)
    elsewhere.mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(found))
    monkeypatch.chdir(elsewhere)
    yield found
    assert {path.name for path in elsewhere.iterdir()} <= {"letter"}


def test_every_path_of_the_engine_and_the_vault(home: Path) -> None:
    keys = Keys.generate()
    key = DatabaseKey.from_file("~/keys/mdk.key")
    with Mdk.open("~/account/mdk.db", keys=keys, key=key) as engine:
        assert engine.info.path == str(home / "account" / "mdk.db")
        engine.backup("~/engine.backup", passphrase="long enough")
    assert (home / "keys" / "mdk.key").is_file()
    # What the record says of it does not hang on anybody's home folder.
    record = json.loads((home / "account" / "mdk.db.keyinfo").read_text())
    assert record["key"]["path"] == str(home / "keys" / "mdk.key")
    database = Path("~/account/mdk.db")
    assert vault.verify(database, key=key).ok
    assert vault.doctor(database, key=key).exit_code == 0
    vault.rekey(database, RAW, key=key)
    vault.backup(database, "~/vault.backup", passphrase="long enough", key=RAW)
    vault.restore("~/vault.backup", "~/restored/mdk.db", passphrase="long enough", key=RAW)
    Mdk.restore("~/engine.backup", "~/again/mdk.db", passphrase="long enough", key=RAW)
    vault.encrypt_existing(database, from_key=RAW, to="~/copy/mdk.db", key=OTHER)
    vault.salvage(database, "~/saved/mdk.db", key=RAW, to_key=RAW)
    for name in ("restored", "again", "copy", "saved"):
        assert (home / name / "mdk.db").is_file(), name
    secret = home / "identity"
    secret.touch(mode=0o600)
    secret.write_text(keys.reveal_nsec())
    assert Keys.from_file("~/identity").public_key == keys.public_key


async def test_every_path_of_the_client(home: Path, relay: LocalRelay, blobs: LocalBlossom) -> None:
    config = Config(allow_loopback=True)
    (home / "letter.txt").write_text("dear friend")
    alice = await client(relay, "alice", blobs=blobs, account=Path("~/alice/mdk.db"), key=RAW)
    bob = await client(relay, "bob", blobs=blobs, account="~/bob/mdk.db", key=RAW)
    async with alice, bob:
        assert (alice.engine.info.path, bob.engine.info.path) == (
            str(home / "alice" / "mdk.db"),
            str(home / "bob" / "mdk.db"),
        )
        group = await alice.groups.create("letters", [bob.public_key])
        room = await bob.invites.accept(await bob.invites.next(PATIENCE))
        await group.send_file("~/letter.txt")
        (attachment,) = (await room.next_message(PATIENCE)).attachments
        assert attachment.filename == "letter.txt"
        await bob.media.download(attachment, "~/post/letter.txt")
        await alice.backup("~/alice.backup", passphrase="long enough")
    assert (home / "post" / "letter.txt").read_text() == "dear friend"
    restored = await Client.restore(
        "~/alice.backup", "~/moved/mdk.db", passphrase="long enough", key=RAW, config=config
    )
    assert (home / "moved" / "mdk.db").is_file()
    await restored.close()
    bot = Bot(Path("~/bot/mdk.db"), allow="anyone", relays=[relay.url], key=RAW)
    assert bot.client._settings.path == home / "bot" / "mdk.db"


def test_a_home_that_cannot_be_found_is_named_as_it_was_written(home: Path) -> None:
    calls: list[Callable[[], object]] = [
        lambda: DatabaseKey.from_file(NOBODY),
        lambda: Keys.from_file(NOBODY),
        lambda: Mdk.open(NOBODY, keys=Keys.generate(), key=RAW),
        lambda: vault.verify(Path(NOBODY), key=RAW),
        lambda: database_path(NOBODY),
        lambda: database_path(Path(NOBODY)),
        lambda: files.read(NOBODY, 10),
        lambda: files.write(NOBODY, b""),
    ]
    for number, call in enumerate(calls):
        with pytest.raises(errors.InvalidInput) as caught:
            call()
        assert NOBODY in str(caught.value), number
        assert caught.value.hint is not None
        assert "absolute path" in caught.value.hint, number
    assert home.exists()


def test_elsewhere_it_is_a_letter(home: Path) -> None:
    elsewhere = home.parent / "elsewhere"
    for number, path in enumerate(("./letter/~/mdk.key", "letter/a~b/mdk.key")):
        where = elsewhere / "letter" / str(number) / "mdk.db"
        with Mdk.open(where, keys=Keys.generate(), key=DatabaseKey.from_file(path)):
            assert (elsewhere / path).is_file()
        files.write(f"{path}.txt", b"text")
        assert files.read(f"{path}.txt", 10) == b"text"
        assert (elsewhere / f"{path}.txt").is_file()
    assert database_path("./~/mdk.db") == elsewhere / "~" / "mdk.db"
    assert list(home.iterdir()) == []


@pytest.fixture
def user(tmp_path: Path) -> Home:
    """A user of the command line, away from home: what begins with `~` is not in the current folder."""
    (tmp_path / "user").mkdir(mode=0o700)
    (tmp_path / "cwd").mkdir(mode=0o700)
    return Home(tmp_path / "cwd", NOWHERE, more={"HOME": str(tmp_path / "user")})


INIT = ("init", "--offline", "--relay", NOWHERE, "--account")


def test_every_path_of_the_command_line(user: Home, tmp_path: Path) -> None:
    home = tmp_path / "user"

    def good(*arguments: str) -> None:
        done = user.mdk(*arguments)
        assert done.code == 0, done.err

    good(*INIT, "~/account/mdk.db", "--key", "file:~/keys/mdk.key")
    assert (home / "keys" / "mdk.key").is_file()
    assert (home / "account" / "mdk.db").is_file()
    good("whoami", "--account", "~/account/mdk.db")
    good("export", "--account", "~/account/mdk.db", "--output", "~/record")
    good("verify", "~/account/mdk.db")
    good("rekey", "~/account/mdk.db", "--to", "file:~/keys/new.key")
    assert (home / "keys" / "new.key").is_file()
    assert (home / "record").is_file()
    (home / "phrase").write_text("long enough")
    with (home / "phrase").open("rb") as phrase:
        fd = str(phrase.fileno())
        good("backup", "~/account/mdk.db", "~/backup", "--backup-passphrase-fd", fd)
    assert (home / "backup").is_file()
    good("whoami", "--account", "~/account/mdk.db", "--key", "file:~/keys/new.key")
    assert list(user.folder.iterdir()) == []


def test_the_command_line_names_a_path_as_it_was_written(user: Home) -> None:
    for arguments in (
        (*INIT, "x", "--key", f"file:{NOBODY}"),
        (*INIT, "~nobody-has-this-name/mdk.db"),
        (*INIT, "x", "--identity-file", NOBODY),
        ("verify", NOBODY),
    ):
        done = user.mdk(*arguments)
        assert done.code != 0
        assert "~nobody-has-this-name/" in done.err
        assert list(user.folder.iterdir()) == []


def test_a_key_in_a_folder_that_is_called_so_is_still_found(user: Home) -> None:
    """The record of an account has a path that is no user's word: nothing is expanded in it."""
    folder = user.folder / "~"
    folder.mkdir(mode=0o700)
    made = user.mdk(*INIT, "mdk.db", "--key", f"file:{folder / 'mdk.key'}")
    assert made.code == 0, made.err
    assert json.loads((user.folder / "mdk.db.keyinfo").read_text())["key"]["path"] == "~/mdk.key"
    done = user.mdk("whoami", "--account", "mdk.db")
    assert done.code == 0, done.err
