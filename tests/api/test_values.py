"""Keys, keys of databases, events, times: values that keep their secrets and their types."""

from __future__ import annotations

import copy
import dataclasses
import os
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import mdk
from mdk import Config, DatabaseKey, GroupId, Keys, Mdk, PublicKey, SignedEvent, errors
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
    monkeypatch.setenv("MDK_NSEC", NSEC)
    assert Keys.from_env().public_key.hex == HEX
    for name in ("MDK_NOT_SET", "", "A=B", "A\0B"):
        with pytest.raises(errors.InvalidKey):
            Keys.from_env(name)
    file = tmp_path / "nsec"
    file.write_text(NSEC + "\n")
    file.chmod(0o600)
    assert Keys.from_file(file).public_key.hex == HEX
    assert Keys.from_file(str(file)).public_key.hex == HEX
    # Windows has no such modes.
    for mode in (0o640, 0o604, 0o660) if os.name != "nt" else ():
        file.chmod(mode)
        with pytest.raises(errors.InsecureFile):
            Keys.from_file(file)
    with pytest.raises(errors.StorageError):
        Keys.from_file(tmp_path / "missing")
    with pytest.raises(errors.InsecureFile):
        Keys.from_file(tmp_path)
    file.write_text("0" * 5000)
    file.chmod(0o600)
    with pytest.raises(errors.InvalidKey) as large:
        Keys.from_file(file)
    assert (large.value.field, large.value.limit, large.value.value) == ("path", 4096, 5000)


def test_raw_database_keys() -> None:
    raw = os.urandom(32)
    for key in (raw, bytearray(raw), memoryview(raw)):
        DatabaseKey.raw(key)
    for size in (0, 31, 33):
        with pytest.raises(errors.WrongKeyLength) as caught:
            DatabaseKey.raw(bytes(size))
        assert (caught.value.field, caught.value.limit, caught.value.value) == ("key", 32, size)
    with pytest.raises(TypeError):
        DatabaseKey.raw("0" * 32)  # type: ignore[arg-type]


def test_a_key_can_be_wiped_where_it_came_from() -> None:
    key = bytearray(os.urandom(32))
    DatabaseKey.raw(key, wipe=True)
    assert key == bytes(32)
    key = bytearray(os.urandom(64))
    DatabaseKey.raw(memoryview(key)[16:48], wipe=True)
    assert key[16:48] == bytes(32)
    assert key[:16] != bytes(16)
    phrase = bytearray(b"correct horse")
    DatabaseKey.passphrase(phrase, wipe=True)
    assert phrase == bytes(13)
    calls: list[Callable[[], object]] = [
        lambda: DatabaseKey.raw(b"k" * 32, wipe=True),
        lambda: DatabaseKey.raw(memoryview(b"k" * 32), wipe=True),
        lambda: DatabaseKey.passphrase("text", wipe=True),
        lambda: DatabaseKey.passphrase(b"text", wipe=True),
    ]
    for made in calls:
        with pytest.raises(errors.InvalidInput, match="bytearray"):
            made()


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


@pytest.mark.parametrize("value", ["", "a\0b", "x" * 513, "é" * 257])
def test_identifiers_are_judged_at_once(value: str) -> None:
    calls: dict[str, Callable[[], object]] = {
        "service": lambda: DatabaseKey.keyring(value),
        "key_id": lambda: DatabaseKey.keyring(key_id=value),
        "name": lambda: DatabaseKey.from_secret(value),
    }
    for field, made in calls.items():
        with pytest.raises(errors.InvalidIdentifier) as caught:
            made()
        assert caught.value.field == field
        assert caught.value.hint
    DatabaseKey.keyring("x" * 512, key_id="y" * 512)


def test_arguments_of_the_other_sources() -> None:
    calls: list[Callable[[], object]] = [
        lambda: DatabaseKey.keyring(store="drawer"),  # type: ignore[arg-type]
        lambda: DatabaseKey.keyring(timeout=0),
        lambda: DatabaseKey.keyring(timeout=float("nan")),
        lambda: DatabaseKey.keyring(timeout=1e300),
        lambda: DatabaseKey.from_fd(-1),
        lambda: DatabaseKey.from_fd(1 << 70),
        lambda: DatabaseKey.from_secret("../etc/passwd"),
        lambda: DatabaseKey.from_secret(".."),
    ]
    for made in calls:
        with pytest.raises(errors.InvalidInput):
            made()
    for length in (0, 1025):
        with pytest.raises(errors.InvalidPassphrase) as caught:
            DatabaseKey.passphrase(b"x" * length)
        assert caught.value.value == length
    with pytest.raises(TypeError):
        DatabaseKey.callback("not callable")  # type: ignore[arg-type]


def test_the_environment_is_named_as_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MDK_DB_KEY", "ab" * 32)
    path = tmp_path / "account" / "mdk.db"
    with Mdk.open(path, keys=Keys.generate(), key=DatabaseKey.from_env()) as account:
        assert account.info.key_source == "env"


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


def secrets_of(keys: Keys) -> list[str]:
    return [keys.reveal_nsec(), SECRET]


def test_no_public_object_shows_a_secret(tmp_path: Path) -> None:
    keys = Keys.parse(SECRET)
    raw = bytes(range(100, 132))
    key = DatabaseKey.raw(raw)
    path = tmp_path / "secretplace" / "mdk.db"
    shown: list[object] = [keys, key, DatabaseKey.from_file(path), Config(), keys.public_key]
    with Mdk.open(path, keys=keys, key=key) as account, Mdk.in_memory() as peer:
        event = peer.new_key_package(relays=RELAYS)
        with account.create_group("Lunch", members=[event], relays=RELAYS) as pending:
            shown += [pending, *pending.welcomes]
            group = pending.confirm()
            welcome = pending.welcomes[0]
        shown += [group, *account.members(group.id), account, *account.interests(), event]
        shown += [peer.process(welcome), *peer.invites(), *peer.key_packages()]
        shown.append(peer.accept(peer.invites()[0].id))
        sent = account.create_message(group.id, "hello")
        shown += [sent, peer.process(sent.event), *peer.messages(group.id), *peer.events()]
        shown += [account.events(), account.process_many([]), peer.check_key_package(event)]
        shown += [peer.process(b"{"), account.leave, Clock(datetime.now(UTC))]
    hidden = [*secrets_of(keys), raw.hex(), str(raw), "secretplace"]
    assert len(shown) > 25
    for value in shown:
        for text in (repr(value), str(value), f"{value}"):
            for secret in hidden:
                assert secret not in text, type(value)


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


def test_config_checks_itself() -> None:
    assert Config() == Config(max_held_events=8_192)
    for name, good, bad in (
        ("max_held_events", 1, 0),
        ("max_held_events", 65_536, 65_537),
        ("max_event_bytes", 1_048_576, 1_048_577),
        ("max_message_bytes", 1024, 1023),
        ("cached_groups", 1, 0),
    ):
        Config(**{name: good})  # type: ignore[arg-type]
        with pytest.raises(errors.InvalidInput) as caught:
            Config(**{name: bad})  # type: ignore[arg-type]
        assert (caught.value.field, caught.value.limit, caught.value.value) == (name, good, bad)
    Config(key_package_lifetime=timedelta(days=84))
    for lifetime in (timedelta(days=85), timedelta(0), timedelta(milliseconds=1500)):
        with pytest.raises(errors.InvalidInput):
            Config(key_package_lifetime=lifetime)
    wrong: tuple[tuple[str, object], ...] = (
        ("key_package_lifetime", 5),
        ("self_update_every", 7.0),
        ("max_held_events", "5"),
        ("max_media_bytes", 1.5),
        ("cached_groups", True),
        ("allow_loopback", 1),
        ("allow_plaintext", 1),
    )
    for name, value in wrong:
        with pytest.raises(TypeError, match=name):
            Config(**{name: value})  # type: ignore[arg-type]


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


def test_arguments_of_the_wrong_type_are_type_errors(alice: Mdk, pair: GroupId) -> None:
    calls: list[Callable[[], object]] = [
        lambda: alice.process(17),  # type: ignore[arg-type]
        lambda: list(alice.process_many([17])),  # type: ignore[list-item]
        lambda: alice.create_group("x", members=["y"], relays=RELAYS),  # type: ignore[list-item]
        lambda: alice.create_group(None, relays=RELAYS),  # type: ignore[arg-type]
        lambda: alice.update_group(pair, retention=5),  # type: ignore[arg-type]
        lambda: alice.promote(pair, [5]),  # type: ignore[list-item]
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()
