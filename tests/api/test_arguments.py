"""A wrong argument is named, measured where it has a size, and never repeated."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mdk import (
    Attachment,
    Config,
    DatabaseKey,
    EventId,
    GroupId,
    Keys,
    Mdk,
    PublicKey,
    SignedEvent,
    errors,
)
from mdk.testing import Clock

RELAYS = ["wss://relay.example"]
BAD = "\ud800"
ZEROS = EventId("0" * 64)


def refused(
    call: Callable[[], object],
    field: str | None,
    error: type[errors.InvalidInput] = errors.InvalidInput,
) -> errors.InvalidInput:
    with pytest.raises(errors.InvalidInput) as caught:
        call()
    assert type(caught.value) is error, repr(caught.value)
    assert caught.value.field == field, str(caught.value)
    # What the conversion raised would hold the whole text.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


def measured(call: Callable[[], object], field: str, limit: int, value: int) -> str:
    error = refused(call, field)
    assert (error.limit, error.value) == (limit, value)
    return str(error)


def test_text_with_lone_surrogates(alice: Mdk, pair: GroupId) -> None:
    group = GroupId(BAD)
    event = EventId(BAD)
    message = alice.create_message(pair, "hi").message.id
    calls: list[tuple[str, Callable[[], object]]] = [
        ("name", lambda: alice.create_group(BAD, relays=RELAYS)),
        ("description", lambda: alice.create_group("x", relays=RELAYS, description=BAD)),
        ("relays", lambda: alice.create_group("x", relays=["wss://" + BAD])),
        ("name", lambda: alice.update_group(pair, name=BAD)),
        ("description", lambda: alice.update_group(pair, description=BAD)),
        ("relays", lambda: alice.update_group(pair, relays=[BAD])),
        ("relays", lambda: alice.new_key_package(relays=[BAD])),
        ("slot", lambda: alice.new_key_package(relays=RELAYS, slot=BAD)),
        ("ref", lambda: alice.delete_key_package(BAD)),
        ("text", lambda: alice.create_message(pair, BAD)),
        ("tags", lambda: alice.create_message(pair, "x", tags=[["t", BAD]])),
        ("reply_to", lambda: alice.create_message(pair, "x", reply_to=event)),
        ("emoji", lambda: alice.react(pair, message, BAD)),
        ("text", lambda: alice.edit(pair, message, BAD)),
        ("query", lambda: alice.search(BAD)),
        ("label", lambda: alice.export_secret(pair, BAD, b"", 32)),
        ("after", lambda: alice.events(after=BAD)),
        ("before", lambda: alice.messages(pair, before=event)),
        ("after", lambda: alice.messages(pair, after=event)),
        ("upto", lambda: alice.mark_read(pair, event)),
        ("invite_id", lambda: alice.accept(event)),
        ("invite_id", lambda: alice.decline(event)),
        ("message_id", lambda: alice.message(pair, event)),
        ("message_id", lambda: alice.react(pair, event)),
        ("message_id", lambda: alice.edit(pair, event, "x")),
        ("message_id", lambda: alice.delete(pair, event)),
        ("path", lambda: DatabaseKey.from_file("/nowhere/" + BAD)),
        ("path", lambda: Keys.from_file("/nowhere/" + BAD)),
        ("name", lambda: DatabaseKey.from_env(BAD)),
        (
            "path",
            lambda: Mdk.open(BAD, keys=Keys.generate(), key=DatabaseKey.raw(bytes(32))),
        ),
    ]
    calls += [
        ("group_id", call)
        for call in (
            lambda: alice.group(group),
            lambda: alice.members(group),
            lambda: alice.add_members(group, []),
            lambda: alice.remove_members(group, []),
            lambda: alice.update_group(group, name="x"),
            lambda: alice.promote(group, []),
            lambda: alice.demote(group, []),
            lambda: alice.self_update(group),
            lambda: alice.disband(group),
            lambda: alice.leave(group),
            lambda: alice.create_message(group, "x"),
            lambda: alice.messages(group),
            lambda: alice.message(group, ZEROS),
            lambda: alice.search("x", group_id=group),
            lambda: alice.mark_read(group),
            lambda: alice.export_secret(group, "x", b"", 32),
        )
    ]
    for field, call in calls:
        refused(call, field)


def test_keys_with_lone_surrogates(alice: Mdk, pair: GroupId) -> None:
    nsec = Keys.generate().reveal_nsec()
    calls: list[tuple[str, Callable[[], object]]] = [
        ("secret", lambda: Keys.parse(nsec + BAD)),
        ("password", lambda: Keys.parse("ncryptsec1x", "hunter2" + BAD)),
        ("name", lambda: Keys.from_env(BAD)),
        ("value", lambda: PublicKey.parse(nsec + BAD)),
        ("members", lambda: alice.promote(pair, [nsec + BAD])),
        ("admins", lambda: alice.update_group(pair, admins=[nsec + BAD])),
    ]
    for field, call in calls:
        error = refused(call, field, errors.InvalidKey)
        shown = repr((error, error.args, vars(error), str(error)))
        assert nsec not in shown
        assert "hunter2" not in shown


def test_numbers(alice: Mdk, pair: GroupId) -> None:
    huge = 10**30
    measured(lambda: alice.messages(pair, limit=-1), "limit", 0, -1)
    measured(lambda: alice.search("x", limit=-1), "limit", 0, -1)
    measured(lambda: alice.events(limit=-1), "limit", 0, -1)
    measured(lambda: alice.create_message(pair, "x", kind=-1), "kind", 0, -1)
    text = measured(lambda: alice.messages(pair, limit=huge), "limit", 10_000, huge)
    assert str(2**63 - 1) not in text
    measured(lambda: alice.messages(pair, limit=-huge), "limit", 0, -huge)
    # More digits than Python writes.
    measured(lambda: alice.messages(pair, limit=1 << 20_000), "limit", 10_000, 1 << 20_000)
    text = measured(lambda: alice.export_secret(pair, "x", b"", 0), "length", 1, 0)
    assert "must be 1 to 8160" in text


def test_durations(alice: Mdk, pair: GroupId, clock: Clock) -> None:
    back = timedelta(seconds=-7)
    measured(lambda: alice.update_group(pair, retention=back), "retention", 0, -7)
    measured(lambda: alice.create_group("x", relays=RELAYS, retention=back), "retention", 0, -7)
    measured(lambda: alice.needs_self_update(older_than=back), "older_than", 0, -7)
    measured(lambda: clock.advance(back), "by", 0, -7)


def test_states_and_configs(alice: Mdk) -> None:
    untyped: Any = alice
    refused(lambda: untyped.groups(state="nope"), "state")
    states: list[Any] = [5, {}, b"active"]
    for state in states:
        with pytest.raises(TypeError, match="state"):
            untyped.groups(state=state)
    anything: Any = Mdk
    configs: list[Any] = [{}, 5, "x", Config]
    for config in configs:
        with pytest.raises(TypeError, match="config"):
            anything.in_memory(config=config)


def test_relay_urls_that_are_too_long(alice: Mdk, pair: GroupId) -> None:
    url = "wss://relay.example/".ljust(513, "a")
    for call in (
        lambda: alice.new_key_package(relays=[url]),
        lambda: alice.create_group("x", relays=[*RELAYS, url]),
        lambda: alice.update_group(pair, relays=[url]),
    ):
        error = refused(call, "relays", errors.InvalidRelayUrl)
        assert (error.limit, error.value) == (512, 513)
        assert "example" not in str(error)
    error = refused(
        lambda: alice.new_key_package(relays=["http://x"]), "relays", errors.InvalidRelayUrl
    )
    assert (error.limit, error.value) == (None, None)


def test_events_that_are_too_large() -> None:
    limit = 1 << 20
    for text in ("x" * (limit + 1), b"x" * (limit + 1)):
        error = refused(
            lambda text=text: SignedEvent.from_json(text),  # type: ignore[misc]
            "text",
            errors.InvalidEvent,
        )
        assert (error.limit, error.value) == (limit, limit + 1)
    assert (
        refused(lambda: SignedEvent.from_json("x" * limit), "text", errors.InvalidEvent).limit
        is None
    )


def test_events_with_too_many_tags(alice: Mdk) -> None:
    document = json.loads(alice.new_key_package(relays=RELAYS).to_json())
    for at_limit, over, value in (
        ([["t"]] * 4096, [["t"]] * 4099, 4099),
        ([["t"] * 4096], [["t"] * 4098], 4098),
    ):
        for tags, measures in ((at_limit, (None, None)), (over, (4096, value))):
            text = json.dumps({**document, "tags": tags})
            # At the limit it is only no longer what was signed.
            error = refused(
                lambda text=text: SignedEvent.from_json(text),  # type: ignore[misc]
                "text",
                errors.InvalidEvent,
            )
            assert (error.limit, error.value) == measures


def test_waits_for_keyrings() -> None:
    for fine in (0.001, 1, 3600):
        DatabaseKey.keyring(timeout=fine)
    for wrong, limit, value in (
        (0, 0, 0),
        (-0.5, 0, -1),
        (-7, 0, -7),
        (3600.5, 3600, 3601),
        (1e9, 3600, 10**9),
    ):
        text = measured(
            lambda wrong=wrong: DatabaseKey.keyring(timeout=wrong),  # type: ignore[misc]
            "timeout",
            limit,
            value,
        )
        assert "more than 0 and at most 3600 seconds" in text
    for endless in (float("nan"), float("inf"), -float("inf"), 1e300):
        error = refused(
            lambda endless=endless: DatabaseKey.keyring(timeout=endless),  # type: ignore[misc]
            "timeout",
        )
        assert (error.limit, error.value) == (None, None)


def test_names_and_passphrases() -> None:
    made: dict[str, Callable[[str], object]] = {
        "service": DatabaseKey.keyring,
        "key_id": lambda text: DatabaseKey.keyring(key_id=text),
        "name": DatabaseKey.from_secret,
    }
    for field, make in made.items():
        make("x")
        make("x" * 512)
        for size, limit in ((0, 1), (513, 512)):
            error = refused(
                lambda make=make, size=size: make("x" * size),  # type: ignore[misc]
                field,
                errors.InvalidIdentifier,
            )
            assert (error.limit, error.value) == (limit, size)
    for size in (1, 1024):
        DatabaseKey.passphrase("x" * size)
    for size, limit in ((0, 1), (1025, 1024)):
        error = refused(
            lambda size=size: DatabaseKey.passphrase("x" * size),  # type: ignore[misc]
            "text",
            errors.InvalidPassphrase,
        )
        assert (error.limit, error.value) == (limit, size)


def test_files(alice: Mdk, pair: GroupId) -> None:
    def encrypt(name: str = "a", kind: str | None = None) -> Attachment:
        media = alice.encrypt_media(pair, b"x", filename=name, mime_type=kind)
        return replace(media.attachment, locators=(("blossom-v1", "https://blobs.example/a"),))

    measured(lambda: encrypt(""), "filename", 1, 0)
    refused(lambda: encrypt("a\0"), "filename")
    half = "x" * 64
    encrypt(kind=f"{half}/{half}; y={half}")
    measured(lambda: encrypt(kind=f"{half}x/y"), "mime_type", 64, 65)
    measured(lambda: encrypt(kind=f"x/{half}xy"), "mime_type", 64, 66)
    refused(lambda: encrypt(kind="x"), "mime_type")
    good = encrypt()
    address = ("blossom-v1", "https://blobs.example/".ljust(2048, "a"))
    kind = ("k" * 64, "https://blobs.example/a")
    changes: list[tuple[dict[str, Any], dict[str, Any], int, int]] = [
        ({"locators": (address,)}, {"locators": ((address[0], address[1] + "a"),)}, 2048, 2049),
        ({"locators": (kind,)}, {"locators": ((kind[0] + "k", kind[1]),)}, 64, 65),
        ({"locators": (kind,) * 64}, {"locators": (kind,) * 67}, 64, 67),
        ({"thumbhash": "t" * 256}, {"thumbhash": "t" * 257}, 256, 257),
        ({}, {"filename": "n" * 256}, 255, 256),
        ({}, {"locators": ()}, 1, 0),
    ]
    for fine, wrong, limit, value in changes:
        alice.create_message(pair, "x", attachments=[replace(good, **fine)])
        measured(
            lambda wrong=wrong: alice.create_message(  # type: ignore[misc]
                pair, "x", attachments=[replace(good, **wrong)]
            ),
            "attachments",
            limit,
            value,
        )


def test_queries(alice: Mdk, pair: GroupId) -> None:
    limit = 49_998
    assert alice.search("x" * limit) == []
    measured(lambda: alice.search("x" * (limit + 1)), "query", limit, limit + 1)
    measured(lambda: alice.search("x" * 50_000), "query", limit, 50_000)
    assert alice.search("%" * (limit // 2)) == []
    measured(lambda: alice.search("%" * (limit // 2 + 1)), "query", limit, limit + 2)
    sent = alice.create_message(pair, "Straße ÄPFEL").message
    assert [m.id for m in alice.search("straße ")] == [sent.id]
    assert alice.search("äpfel") == []


def test_one_text_is_no_list_of_events(alice: Mdk) -> None:
    untyped: Any = alice
    for one in (json.dumps({}), b"{}", bytearray(b"{}")):
        refused(lambda one=one: untyped.process_many(one), "events")  # type: ignore[misc]
        refused(lambda one=one: untyped.select_key_package(one), "events")  # type: ignore[misc]


def test_cursors(alice: Mdk, pair: GroupId) -> None:
    for bad in ("-1", "+1", "", " 1", "01", "1.0", "\u0661", str(2**63), "latest"):
        refused(lambda bad=bad: alice.events(after=bad), "after")  # type: ignore[misc]
    with alice.update_group(pair, name="Dinner") as pending:
        pending.confirm()
    log = list(alice.events())
    assert len(log) > 1
    assert list(alice.events(after=log[0].cursor)) == log[1:]
    assert list(alice.events(after="0")) == log


def test_nothing_to_change(alice: Mdk, pair: GroupId) -> None:
    fields = (
        "name, description, relays, rotate_routing, admins, retention, avatar_url, media_servers"
    )
    error = refused(lambda: alice.update_group(pair), fields)
    assert (error.limit, error.value) == (1, 0)
    assert "retention" in (error.hint or "")
    assert ".field" not in (error.hint or "")
    fields = "components, extensions, proposals, remove"
    error = refused(lambda: alice.change_requirements(pair), fields)
    assert (error.limit, error.value) == (1, 0)
    refused(lambda: alice.change_requirements(pair, components=[0x8001]), fields)


def test_nothing_where_something_is_needed(alice: Mdk, pair: GroupId) -> None:
    message = alice.create_message(pair, "hi").message.id
    calls: list[tuple[str, Callable[[], object]]] = [
        ("relays", lambda: alice.create_group("x", relays=[])),
        ("relays", lambda: alice.update_group(pair, relays=[])),
        ("key_packages", lambda: alice.add_members(pair, [])),
        ("members", lambda: alice.remove_members(pair, [])),
        ("members", lambda: alice.promote(pair, [])),
        ("members", lambda: alice.demote(pair, [])),
        ("emoji", lambda: alice.react(pair, message, "")),
        ("tags", lambda: alice.create_message(pair, "x", tags=[[]])),
    ]
    for field, call in calls:
        measured(call, field, 1, 0)


def test_tags(alice: Mdk, pair: GroupId) -> None:
    for tags, value in (([["t"]] * 4097, 4097), ([["t"] * 5001], 5001)):
        measured(
            lambda tags=tags: alice.create_message(pair, "x", tags=tags),  # type: ignore[misc]
            "tags",
            4096,
            value,
        )
    error = refused(lambda: alice.create_message(pair, "x", tags=[["t", "y" * 70_000]]), "tags")
    assert error.limit == 65_536
    for kind in (450, 451):
        error = refused(
            lambda kind=kind: alice.create_message(pair, "x", kind=kind),  # type: ignore[misc]
            "kind",
        )
        assert error.value == kind


def test_times(alice: Mdk) -> None:
    early = datetime(1, 1, 1, tzinfo=UTC)
    measured(lambda: alice.tick(early), "now", 1, -62_135_596_800)
    measured(lambda: alice.tick(datetime(1970, 1, 1, tzinfo=UTC)), "now", 1, 0)


def test_relays_named_twice(alice: Mdk, pair: GroupId) -> None:
    relays = ["wss://relay.example"] * 40
    alice.new_key_package(relays=relays)
    for pending in (
        alice.create_group("x", relays=relays),
        alice.update_group(pair, relays=relays),
    ):
        assert pending.confirm().relays == ("wss://relay.example",)


def test_wrong_types(alice: Mdk, pair: GroupId, tmp_path: Path) -> None:
    untyped: Any = alice
    keys: Any = Keys
    database_key: Any = DatabaseKey
    now = datetime.now(UTC)
    calls: list[Callable[[], object]] = [
        lambda: untyped.group(5),
        lambda: untyped.create_message(pair, b"bytes"),
        lambda: untyped.create_message(pair, "x", kind="9"),
        lambda: alice.create_message(pair, "x", kind=True),
        lambda: untyped.create_message(pair, "x", tags=[[5]]),
        lambda: untyped.messages(pair, limit=1.5),
        lambda: untyped.update_group(pair, retention=5),
        lambda: untyped.update_group(pair, rotate_routing="yes"),
        lambda: untyped.update_group(pair, avatar_url=5),
        lambda: untyped.update_group(pair, media_servers=5),
        lambda: untyped.change_requirements(pair, components=5),
        lambda: untyped.change_requirements(pair, remove=["0x8005"]),
        lambda: untyped.create_group("x", relays=[b"wss://relay.example"]),
        lambda: untyped.create_group("x", relays=5),
        lambda: untyped.add_members(pair, ["{}"]),
        lambda: untyped.promote(pair, [5]),
        lambda: untyped.process(5),
        lambda: untyped.tick(now.date()),
        lambda: keys.parse(b"nsec"),
        lambda: keys.from_file(5),
        lambda: database_key.raw("x"),
        lambda: untyped.open(tmp_path / "db", keys="nsec", key=5),
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()
    with pytest.raises(TypeError, match=r"SignedEvent, str, bytes or bytearray, not NoneType"):
        untyped.process(None)


def test_key_packages_are_listed_newest_first(alice: Mdk, clock: Clock) -> None:
    made = []
    for slot in range(5):
        made.append(alice.new_key_package(relays=RELAYS, slot=f"{slot:064x}").id)
        clock.advance(timedelta(seconds=1))
    assert [package.event_id for package in alice.key_packages()] == made[::-1]


def test_secrets_of_an_invite(alice: Mdk, bob: Mdk) -> None:
    package = bob.new_key_package(relays=RELAYS)
    with alice.create_group("Lunch", members=[package], relays=RELAYS) as pending:
        (welcome,) = pending.welcomes
        group = pending.confirm().id
    bob.process(welcome)
    assert bob.export_secret(group, "x", b"", 32) == alice.export_secret(group, "x", b"", 32)


def test_who_is_named_wrongly(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
    stranger = Keys.generate().public_key
    own = alice.new_key_package(relays=RELAYS)
    calls: list[tuple[str, Callable[[], object]]] = [
        ("members", lambda: alice.promote(pair, [stranger])),
        ("members", lambda: alice.promote(pair, [])),
        ("members", lambda: alice.demote(pair, [stranger])),
        ("members", lambda: alice.demote(pair, [bob.public_key])),
        ("members", lambda: alice.remove_members(pair, [stranger])),
        ("admins", lambda: alice.update_group(pair, admins=[stranger])),
        ("key_packages", lambda: alice.add_members(pair, [own])),
        ("key_packages", lambda: alice.add_members(pair, [])),
        ("members", lambda: alice.create_group("x", members=[own], relays=RELAYS)),
    ]
    for field, call in calls:
        refused(call, field)
    assert alice.pending() == []
