"""Accepted at the limit, refused at limit + 1 with the field, the limit and the value."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from mdk import Attachment, Config, DatabaseKey, GroupId, Keys, Mdk, SignedEvent, errors
from mdk.testing import Clock

RELAYS = ["wss://relay.example"]
Call = Callable[[], object]
Row = tuple[Call, str, int, int]


def refused(
    call: Call, field: str, error: type[errors.InvalidInput] = errors.InvalidInput
) -> errors.InvalidInput:
    with pytest.raises(errors.InvalidInput) as caught:
        call()
    assert type(caught.value) is error, repr(caught.value)
    assert caught.value.field == field, str(caught.value)
    return caught.value


def measured(rows: Sequence[Row], error: type[errors.InvalidInput] = errors.InvalidInput) -> None:
    for call, field, limit, value in rows:
        found = refused(call, field, error)
        assert (found.limit, found.value) == (limit, value), str(found)


def many(count: int) -> list[str]:
    return [f"wss://relay{i}.example" for i in range(count)]


def text(size: int) -> str:
    return "é" * (size // 2) + "a" * (size % 2)


def test_settings_of_groups_and_key_packages(alice: Mdk, pair: GroupId) -> None:
    sizes: list[tuple[str, int, Callable[[int], Any]]] = [
        ("name", 256, text),
        ("description", 4096, text),
        ("relays", 16, many),
    ]
    for field, limit, make in sizes:
        for change in (
            partial(alice.create_group, name="Lunch", relays=RELAYS),
            partial(alice.update_group, pair),
        ):
            with change(**{field: make(limit)}) as pending:
                pending.confirm()
            over = partial(change, **{field: make(limit + 1)})
            measured([(over, field, limit, limit + 1)])
    alice.new_key_package(relays=many(16))
    measured([(lambda: alice.new_key_package(relays=many(17)), "relays", 16, 17)])


def test_relays_named_twice_count_once(alice: Mdk, pair: GroupId) -> None:
    relays = RELAYS * 40
    alice.new_key_package(relays=relays)
    for pending in (
        alice.create_group("x", relays=relays),
        alice.update_group(pair, relays=relays),
    ):
        assert pending.confirm().relays == ("wss://relay.example",)


def test_relay_urls(alice: Mdk, pair: GroupId) -> None:
    long = "wss://relay.example/".ljust(513, "a")
    with alice.create_group("Lunch", relays=[long[:512]]) as pending:
        pending.confirm()
    calls: list[Callable[[str], object]] = [
        lambda url: alice.new_key_package(relays=[url]),
        lambda url: alice.create_group("x", relays=[*RELAYS, url]),
        lambda url: alice.update_group(pair, relays=[url]),
    ]
    for call in calls:
        for url in (long, "http://relay.example", "wss://", "wss://user:pw@relay.example", ""):
            error = refused(partial(call, url), "relays", errors.InvalidRelayUrl)
            expected = (512, 513) if url is long else (None, None)
            assert (error.limit, error.value) == expected
            assert "example" not in str(error)
    one: Any = "wss://relay.example"
    refused(lambda: alice.create_group("Lunch", relays=one), "relays")


def test_numbers_and_durations(alice: Mdk, pair: GroupId, clock: Clock) -> None:
    alice.messages(pair, limit=10_000)
    alice.search("x", limit=10_000)
    assert list(alice.events(limit=0)) == []
    assert list(alice.events(limit=2**32 - 1))
    alice.create_message(pair, "x", kind=65_535)
    assert len(alice.export_secret(pair, "x", b"", 8160)) == 8160
    huge = 10**30
    back = timedelta(seconds=-7)
    early = datetime(1, 1, 1, tzinfo=UTC)
    measured(
        [
            (lambda: alice.messages(pair, limit=10_001), "limit", 10_000, 10_001),
            (lambda: alice.messages(pair, limit=-1), "limit", 0, -1),
            (lambda: alice.messages(pair, limit=huge), "limit", 10_000, huge),
            (lambda: alice.messages(pair, limit=-huge), "limit", 0, -huge),
            # More digits than Python writes.
            (lambda: alice.messages(pair, limit=1 << 20_000), "limit", 10_000, 1 << 20_000),
            (lambda: alice.search("x", limit=10_001), "limit", 10_000, 10_001),
            (lambda: alice.search("x", limit=-1), "limit", 0, -1),
            (lambda: alice.events(limit=2**32), "limit", 2**32 - 1, 2**32),
            (lambda: alice.events(limit=-1), "limit", 0, -1),
            (lambda: alice.create_message(pair, "x", kind=65_536), "kind", 65_535, 65_536),
            (lambda: alice.create_message(pair, "x", kind=-1), "kind", 0, -1),
            (lambda: alice.export_secret(pair, "x", b"", 8161), "length", 8160, 8161),
            (lambda: alice.export_secret(pair, "x", b"", 0), "length", 1, 0),
            (lambda: alice.update_group(pair, retention=back), "retention", 0, -7),
            (
                lambda: alice.create_group("x", relays=RELAYS, retention=back),
                "retention",
                0,
                -7,
            ),
            (lambda: alice.needs_self_update(older_than=back), "older_than", 0, -7),
            (lambda: clock.advance(back), "by", 0, -7),
            (lambda: alice.tick(early), "now", 1, -62_135_596_800),
            (lambda: alice.tick(datetime(1970, 1, 1, tzinfo=UTC)), "now", 1, 0),
        ]
    )
    error = refused(lambda: alice.messages(pair, limit=huge), "limit")
    assert str(2**63 - 1) not in str(error)


def test_nothing_where_something_is_needed(alice: Mdk, pair: GroupId) -> None:
    message = alice.create_message(pair, "hi").message.id
    fields = (
        "name, description, relays, rotate_routing, admins, retention, avatar_url, media_servers"
    )
    required = "components, extensions, proposals, remove"
    measured(
        [
            (lambda: alice.create_group("x", relays=[]), "relays", 1, 0),
            (lambda: alice.update_group(pair, relays=[]), "relays", 1, 0),
            (lambda: alice.add_members(pair, []), "key_packages", 1, 0),
            (lambda: alice.remove_members(pair, []), "members", 1, 0),
            (lambda: alice.promote(pair, []), "members", 1, 0),
            (lambda: alice.demote(pair, []), "members", 1, 0),
            (lambda: alice.react(pair, message, ""), "emoji", 1, 0),
            (lambda: alice.create_message(pair, "x", tags=[[]]), "tags", 1, 0),
            (lambda: alice.update_group(pair), fields, 1, 0),
            (lambda: alice.change_requirements(pair), required, 1, 0),
        ]
    )
    hint = refused(lambda: alice.update_group(pair), fields).hint or ""
    assert "retention" in hint
    assert ".field" not in hint
    refused(lambda: alice.change_requirements(pair, components=[0x8001]), required)


def test_messages(alice: Mdk, bob: Mdk, carol: Mdk, pair: GroupId, meet: Any) -> None:
    message = alice.create_message(pair, "hi").message.id
    alice.react(pair, message, "é" * 64)
    for tags in ([["t"]] * 4096, [["t"] * 4096]):
        alice.create_message(pair, "x", tags=tags)
    measured(
        [
            (lambda: alice.react(pair, message, "é" * 65), "emoji", 64, 65),
            (lambda: alice.create_message(pair, "x", tags=[["t"]] * 4097), "tags", 4096, 4097),
            (lambda: alice.create_message(pair, "x", tags=[["t"] * 5001]), "tags", 4096, 5001),
        ]
    )
    large = refused(lambda: alice.create_message(pair, "x", tags=[["t", "y" * 70_000]]), "tags")
    assert large.limit == 65_536
    for kind in (450, 451):
        error = refused(partial(alice.create_message, pair, "x", kind=kind), "kind")
        assert error.value == kind
    # The longest text is as the guide says.
    alice.create_message(pair, "x" * 65_331)
    for long in ("x" * 65_332, "\n" + "x" * 65_330):
        error = refused(partial(alice.create_message, pair, long), "text")
        assert error.limit == Config().max_message_bytes
    # The limit counts the whole inner event; ASCII text adds one byte for each character.
    group, limit = meet(carol, bob), 1024
    error = refused(lambda: carol.create_message(group, "x" * limit), "text")
    assert error.value is not None
    fits = limit - (error.value - limit)
    carol.create_message(group, "x" * fits)
    over = partial(carol.create_message, group, "x" * (fits + 1))
    measured([(over, "text", limit, limit + 1)])


def test_queries(alice: Mdk, pair: GroupId) -> None:
    limit = 49_998
    assert alice.search("x" * limit) == []
    assert alice.search("%" * (limit // 2)) == []
    measured(
        [
            (lambda: alice.search("x" * (limit + 1)), "query", limit, limit + 1),
            (lambda: alice.search("%" * (limit // 2 + 1)), "query", limit, limit + 2),
        ]
    )
    sent = alice.create_message(pair, "Straße ÄPFEL").message
    assert [m.id for m in alice.search("straße ")] == [sent.id]
    assert alice.search("äpfel") == []


def test_events(alice: Mdk) -> None:
    document = json.loads(alice.new_key_package(relays=RELAYS).to_json())
    limit = 1 << 20

    def tagged(tags: list[list[str]]) -> str:
        return json.dumps({**document, "tags": tags})

    over: list[tuple[str | bytes, int, int]] = [
        ("x" * (limit + 1), limit, limit + 1),
        (b"x" * (limit + 1), limit, limit + 1),
        (tagged([["t"]] * 4099), 4096, 4099),
        (tagged([["t"] * 4098]), 4096, 4098),
    ]
    measured(
        [(partial(SignedEvent.from_json, raw), "text", most, size) for raw, most, size in over],
        errors.InvalidEvent,
    )
    # At the limit it is only no event, or no longer what was signed.
    for raw in ("x" * limit, tagged([["t"]] * 4096), tagged([["t"] * 4096])):
        error = refused(partial(SignedEvent.from_json, raw), "text", errors.InvalidEvent)
        assert (error.limit, error.value) == (None, None)


def test_keys_of_databases() -> None:
    for seconds in (0.001, 1, 3600):
        DatabaseKey.keyring(timeout=seconds)
    for wrong, limit, value in (
        (0, 0, 0),
        (-0.5, 0, -1),
        (3600.5, 3600, 3601),
        (1e9, 3600, 10**9),
    ):
        measured([(partial(DatabaseKey.keyring, timeout=wrong), "timeout", limit, value)])
    for endless in (float("nan"), float("inf"), -float("inf"), 1e300):
        error = refused(partial(DatabaseKey.keyring, timeout=endless), "timeout")
        assert (error.limit, error.value) == (None, None)
        assert "more than 0 and at most 3600 seconds" in str(error)
    made: dict[str, Callable[[str], object]] = {
        "service": DatabaseKey.keyring,
        "key_id": lambda name: DatabaseKey.keyring(key_id=name),
        "name": DatabaseKey.from_secret,
    }
    for field, make in made.items():
        make("x")
        make("x" * 512)
        for size, limit in ((0, 1), (513, 512)):
            row: Row = (partial(make, "x" * size), field, limit, size)
            measured([row], errors.InvalidIdentifier)
        assert refused(partial(make, "a\0b"), field, errors.InvalidIdentifier).hint
        assert refused(partial(make, "é" * 257), field, errors.InvalidIdentifier).hint
    for size in (1, 1024):
        DatabaseKey.passphrase("x" * size)
    for size, limit in ((0, 1), (1025, 1024)):
        for phrase in ("x" * size, b"x" * size):
            short: Row = (partial(DatabaseKey.passphrase, phrase), "text", limit, size)
            measured([short], errors.InvalidPassphrase)
    calls: list[Call] = [
        lambda: DatabaseKey.keyring(store="drawer"),  # type: ignore[arg-type]
        lambda: DatabaseKey.from_fd(-1),
        lambda: DatabaseKey.from_fd(1 << 70),
        lambda: DatabaseKey.from_secret("../etc/passwd"),
        lambda: DatabaseKey.from_secret(".."),
    ]
    for call in calls:
        with pytest.raises(errors.InvalidInput):
            call()
    with pytest.raises(TypeError):
        DatabaseKey.callback("not callable")  # type: ignore[arg-type]


def test_files(alice: Mdk, pair: GroupId) -> None:
    def encrypt(name: str = "a", kind: str | None = None) -> Attachment:
        media = alice.encrypt_media(pair, b"x", filename=name, mime_type=kind)
        return replace(media.attachment, locators=(("blossom-v1", "https://blobs.example/a"),))

    def send(**changed: Any) -> object:
        return alice.create_message(pair, "x", attachments=[replace(good, **changed)])

    half = "x" * 64
    good = encrypt(kind=f"{half}/{half}; y={half}")
    encrypt("é" * 127 + "a")
    for kind in ("x", "picture", "", "a/b/c"):
        refused(partial(encrypt, kind=kind), "mime_type")
    refused(lambda: encrypt("a\0"), "filename")
    good = encrypt()
    address = ("blossom-v1", "https://blobs.example/".ljust(2048, "a"))
    place = ("k" * 64, "https://blobs.example/a")
    for fine in (
        {"locators": (address,)},
        {"locators": (place,)},
        {"locators": (place,) * 64},
        {"thumbhash": "t" * 256},
    ):
        send(**fine)
    alice.create_message(pair, "", attachments=[good] * 64)
    longer = {"locators": ((address[0], address[1] + "a"),)}
    measured(
        [
            (lambda: encrypt(""), "filename", 1, 0),
            (lambda: encrypt("é" * 128), "filename", 255, 256),
            (lambda: encrypt(kind=f"{half}x/y"), "mime_type", 64, 65),
            (lambda: encrypt(kind=f"x/{half}xy"), "mime_type", 64, 66),
            (lambda: send(**longer), "attachments", 2048, 2049),
            (lambda: send(locators=((place[0] + "k", place[1]),)), "attachments", 64, 65),
            (lambda: send(locators=(place,) * 67), "attachments", 64, 67),
            (lambda: send(thumbhash="t" * 257), "attachments", 256, 257),
            (lambda: send(filename="n" * 256), "attachments", 255, 256),
            (lambda: send(locators=()), "attachments", 1, 0),
            (
                lambda: alice.create_message(pair, "", attachments=[good] * 65),
                "attachments",
                64,
                65,
            ),
        ]
    )


def test_configs() -> None:
    assert Config() == Config(max_held_events=8_192)
    for name, good, bad in (
        ("max_held_events", 1, 0),
        ("max_held_events", 65_536, 65_537),
        ("max_event_bytes", 1_048_576, 1_048_577),
        ("max_message_bytes", 1024, 1023),
        ("max_media_bytes", 1, 0),
        ("max_media_bytes", 1_073_741_824, 1_073_741_825),
        ("cached_groups", 1, 0),
    ):
        Config(**{name: good})  # type: ignore[arg-type]
        measured([(partial(Config, **{name: bad}), name, good, bad)])  # type: ignore[arg-type]
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
        ("strip_image_metadata", 1),
        ("add_own_relays", 1),
    )
    for name, value in wrong:
        with pytest.raises(TypeError, match=name):
            Config(**{name: value})  # type: ignore[arg-type]


def test_key_files_that_are_too_large(tmp_path: Any) -> None:
    file = tmp_path / "nsec"
    file.touch(mode=0o600)
    file.write_text("0" * 5000)
    measured([(lambda: Keys.from_file(file), "path", 4096, 5000)], errors.InvalidKey)
