"""Keys, keys of databases, events, times: they keep their secrets and their types; and what is refused of keys."""

from __future__ import annotations

import copy
import dataclasses
import logging
import os
import pickle
import subprocess
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import mdk
from mdk import Config, DatabaseKey, GroupId, Keys, Mdk, PublicKey, SignedEvent, errors
from mdk.cli import hints
from mdk.testing import Clock

RELAYS = ["wss://relay.example"]
SECRET = "67dea2ed018072d675f5415ecfaed7d2597555e202d85b3d65ea4e58d2d92ffa"
NSEC = "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5"
NPUB = "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg"
HEX = "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e"
# NIP-49, test data.
NCRYPTSEC = (
    "ncryptsec1qgg9947rlpvqu76pj5ecreduf9jxhselq2nae2kghhvd5g7dgjtcxfqtd67p9m0w57lspw8gsq6yphnm8623nsl8xn9j4jdzz84zm3frz"
    "tj3z7s35vpzmqf6ksu8r89qk5z2zxfmu5gv8th8wclt0h4p"
)
NCRYPTSEC_HEX = "3501454135014541350145413501453fefb02227e449e57cf4d3a3ce05378683"


def test_public_key(alice: Mdk) -> None:
    key = PublicKey.parse(NPUB)
    assert (key.hex, key.npub, str(key)) == (HEX, NPUB, NPUB)
    assert key == PublicKey.parse(HEX) == PublicKey.parse(HEX.upper())
    assert len({key, PublicKey.parse(HEX), alice.public_key}) == 2
    low, high = sorted([key, alice.public_key])
    assert low < high
    assert low <= high
    assert low.hex < high.hex
    assert key != HEX
    for bad in ("", "npub1", "0" * 64, "f" * 64, NSEC, HEX + "0"):
        with pytest.raises(errors.InvalidKey) as caught:
            PublicKey.parse(bad)
        assert caught.value.field == "value"


def test_keys() -> None:
    for text in (SECRET, NSEC):
        keys = Keys.parse(text)
        assert keys.public_key.hex == HEX
        assert keys.reveal_nsec() == NSEC
    assert Keys.parse(NCRYPTSEC, "nostr").reveal_nsec() == Keys.parse(NCRYPTSEC_HEX).reveal_nsec()
    with pytest.raises(errors.InvalidKey):
        Keys.parse(NCRYPTSEC, "wrong")
    with pytest.raises(errors.CryptoError) as wrong:
        Keys.parse(NCRYPTSEC, "hunter2")
    assert type(wrong.value) is errors.WrongPassword
    assert wrong.value.field == "password"
    assert "hunter2" not in repr((wrong.value, wrong.value.hint))
    with pytest.raises(errors.InvalidKey, match="password"):
        Keys.parse(NCRYPTSEC)
    assert Keys.generate().public_key != Keys.generate().public_key
    for bad in ("", "nsec1", "0" * 64, NPUB, SECRET + "0", SECRET[:-1]):
        with pytest.raises(errors.InvalidKey) as caught:
            Keys.parse(bad)
        assert not bad or bad not in str(caught.value)


def test_keys_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What each error says to do is what helps."""
    monkeypatch.setenv("MDK_NSEC", NSEC)
    assert Keys.from_env().public_key.hex == HEX
    for name in ("MDK_NOT_SET", "", "A=B", "A\0B"):
        with pytest.raises(errors.InvalidKey):
            Keys.from_env(name)
    file = tmp_path / "nsec"
    with pytest.raises(errors.FileMissing) as missing:
        Keys.from_file(file)
    assert isinstance(missing.value, FileNotFoundError)
    assert missing.value.hint == "Check the path."
    assert str(file) in str(missing.value)
    file.touch(mode=0o600)
    file.write_text(NSEC + "\n")
    assert Keys.from_file(file).public_key.hex == HEX
    assert Keys.from_file(str(file)).public_key.hex == HEX
    # Windows has no such modes.
    for mode in (0o640, 0o604, 0o660) if os.name != "nt" else ():
        file.chmod(mode)
        with pytest.raises(errors.KeyFileTooWide) as wide:
            Keys.from_file(file)
        assert "chmod 600" in str(wide.value)
        assert wide.value.hint is not None
        assert "rekey" not in wide.value.hint, "that changes the key of a database"
    with pytest.raises(errors.InsecureFile):
        Keys.from_file(tmp_path)
    file.chmod(0o600)
    # Whoever can write there puts another account's key in its place.
    for mode in (0o770, 0o707, 0o1777) if os.name != "nt" else ():
        tmp_path.chmod(mode)
        with pytest.raises(errors.DirectoryTooWide) as open_to_others:
            Keys.from_file(file)
        assert open_to_others.value.mode == mode
    tmp_path.chmod(0o700)
    file.write_text(NCRYPTSEC)
    with pytest.raises(errors.InvalidKey) as encrypted:
        Keys.from_file(file)
    assert "Keys.parse(text, password)" in (encrypted.value.hint or "")
    assert hints.told(encrypted.value, "init")[1] == (
        "Decrypt it first: an nsec or 64 hex digits are taken here."
    ), "at a shell there is no such call"


def test_every_source_is_named_and_shows_nothing_else(tmp_path: Path) -> None:
    keys = {
        "keyring": DatabaseKey.keyring("planted-service", key_id="planted-id"),
        "file": DatabaseKey.from_file(tmp_path / "planted-file"),
        "fd": DatabaseKey.from_fd(77),
        "secret": DatabaseKey.from_secret("planted-name"),
        "passphrase": DatabaseKey.passphrase("planted phrase"),
        "callback": DatabaseKey.callback(lambda: b"planted" * 4),
        "env": DatabaseKey.from_env("PLANTED_NAME"),
        "raw": DatabaseKey.raw(b"planted!" * 4),
    }
    for source, key in keys.items():
        assert repr(key) == f"<DatabaseKey {source}>"
        with pytest.raises(TypeError, match="pickled"):
            pickle.dumps(key)


def test_signed_event(alice: Mdk) -> None:
    event = alice.new_key_package(relays=RELAYS)
    text = event.to_json()
    for form in (text, text.encode(), bytearray(text.encode())):
        assert SignedEvent.from_json(form) == event  # type: ignore[arg-type]
    assert hash(event) == hash(SignedEvent.from_json(text))
    assert event.content
    assert all(isinstance(tag, tuple) for tag in event.tags)
    assert pickle.loads(pickle.dumps(event)) == event
    assert copy.deepcopy(event) == event
    forged = text.replace(event.content[:8], "AAAAAAAA", 1)
    for bad in (forged, "", "[]", text + "x", text[:-1]):
        with pytest.raises(errors.InvalidEvent):
            SignedEvent.from_json(bad)
    with pytest.raises(TypeError):
        SignedEvent.from_json(17)  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        event.kind = 1  # type: ignore[misc]


def test_a_value_shows_ids_cut_short_and_nothing_that_was_said(
    alice: Mdk, bob: Mdk, pair: GroupId
) -> None:
    sent = alice.create_message(pair, "a planted text", tags=[["t", "planted"]])
    (received,) = bob.process(sent.event).events
    alice.react(pair, sent.message.id, "planted")
    info = alice.group(pair)
    hidden = [sent.message.id, pair, info.nostr_group_id, alice.public_key.npub]
    hidden = [text[:12] for text in [*hidden, alice.public_key.hex]]
    hidden += [info.name, "planted", *info.relays]
    values: list[object] = [sent, sent.event, received, info, *alice.members(pair)]
    values += [alice.message(pair, sent.message.id), *alice.events(), *alice.interests()]
    values += [errors.KeyPackageNotFound(f"no relay has {alice.public_key.npub}, {info.relays[0]}")]
    values += [errors.NotFound(f"there is no {pair}")]
    for value in values:
        shown = repr(value)
        assert shown.lstrip("<").startswith(type(value).__name__)
        for text in hidden:
            assert text not in shown, type(value)
    assert f"id={sent.message.id[:8]}…" in repr(sent.message)
    assert "text=…" in repr(sent.message)
    assert f"sender={alice.public_key.npub[:11]}…" in repr(sent.message)
    assert "delivery=queued" in repr(sent.message)
    assert repr(errors.NotAdmin("only an admin may")) == "NotAdmin('only an admin may')"


def test_secrets_are_not_pickled_or_copied() -> None:
    key = DatabaseKey.raw(bytes(32))
    with Mdk.in_memory() as account:
        for value in (Keys.generate(), key, account):
            for way in (pickle.dumps, copy.copy, copy.deepcopy):
                with pytest.raises(TypeError):
                    way(value)


def test_values_are_frozen_equal_and_picklable(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
    outcome = bob.process(alice.create_message(pair, "hi").event)
    values: list[Any] = [
        alice.group(pair),
        *bob.messages(pair),
        outcome,
        *outcome.events,
        Config(),
        bob.info,
    ]
    for value in values:
        assert pickle.loads(pickle.dumps(value)) == value
        assert hash(value) == hash(copy.deepcopy(value))
        assert not hasattr(value, "__dict__")
        name = dataclasses.fields(value)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, None)
    assert alice.group(pair) == alice.group(pair)


def test_times_are_aware(alice: Mdk, pair: GroupId, clock: Clock) -> None:
    message = alice.create_message(pair, "hi").message
    assert message.created_at == clock.now
    assert message.created_at.utcoffset() == timedelta(0)
    plus_two = timezone(timedelta(hours=2))
    clock.set(clock.now.astimezone(plus_two) + timedelta(seconds=5))
    assert alice.create_message(pair, "hi").message.created_at == clock.now
    for naive in (clock.now.replace(tzinfo=None), datetime(1969, 1, 1, tzinfo=UTC)):
        with pytest.raises(errors.InvalidInput) as caught:
            alice.tick(naive)
        assert caught.value.field == "now"
    with pytest.raises(TypeError):
        alice.tick(17)  # type: ignore[arg-type]


def test_a_hostile_time_is_clamped(alice: Mdk) -> None:
    with Mdk.in_memory(clock=Clock(datetime(9999, 1, 1, tzinfo=UTC))) as future:
        assert future.new_key_package(relays=RELAYS).created_at.year == 9999
    far = Clock(datetime.now(UTC))
    far.advance(timedelta.max)
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert far.now == last
    with Mdk.in_memory(clock=far) as future:
        event = future.new_key_package(relays=RELAYS)
        assert event.created_at == last
        assert not alice.check_key_package(event).usable


def test_help_is_readable(capsys: pytest.CaptureFixture[str]) -> None:
    help(mdk.Mdk)
    text = capsys.readouterr().out
    for word in ("UTC", "bytes", "timedelta", "Raises:", "RFC 9420", "limit=50", "kind=9"):
        assert word in text
    public: list[tuple[str, object]] = [
        (f"{owner.__name__}.{name}", getattr(owner, name))
        for owner in (
            mdk.Mdk,
            mdk.PendingCommit,
            mdk.Keys,
            mdk.DatabaseKey,
            mdk.SignedEvent,
            mdk.PublicKey,
        )
        for name in dir(owner)
        if not name.startswith("_")
    ]
    public += [
        (name, getattr(mdk, name)) for name in mdk.__all__ if isinstance(getattr(mdk, name), type)
    ]
    undocumented = [name for name, value in public if not value.__doc__]
    assert undocumented == []


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
