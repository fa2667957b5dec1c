"""A wrong argument is named, and never repeated. What has a size is in test_limits.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mdk import (
    Config,
    DatabaseKey,
    EventId,
    GroupId,
    Keys,
    Mdk,
    PublicKey,
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


def test_what_is_no_id(alice: Mdk, pair: GroupId) -> None:
    calls: list[tuple[str, Callable[[], object]]] = [
        ("group_id", lambda: alice.group(GroupId("xyz"))),
        ("group_id", lambda: alice.group(GroupId(pair.upper()))),
        ("message_id", lambda: alice.message(pair, EventId("00"))),
        ("before", lambda: alice.messages(pair, before=EventId("g" * 64))),
        ("after", lambda: alice.messages(pair, after=EventId(""))),
        ("reply_to", lambda: alice.create_message(pair, "x", reply_to=EventId("1"))),
        ("invite_id", lambda: alice.accept(EventId("?"))),
        ("ref", lambda: alice.delete_key_package("ff")),
        ("retention", lambda: alice.update_group(pair, retention=timedelta(seconds=1.5))),
        ("tags", lambda: alice.create_message(pair, "x", tags=["ab"])),
        ("slot", lambda: alice.new_key_package(relays=RELAYS, slot="")),
    ]
    for field, call in calls:
        refused(call, field)
    with pytest.raises(errors.GroupNotFound):
        alice.group(GroupId("00" * 16))


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
        lambda: list(untyped.process_many([17])),
        lambda: untyped.create_group("x", members=["y"], relays=RELAYS),
        lambda: untyped.create_group(None, relays=RELAYS),
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
        ("members", lambda: alice.demote(pair, [stranger])),
        ("members", lambda: alice.demote(pair, [bob.public_key])),
        ("members", lambda: alice.remove_members(pair, [stranger])),
        ("admins", lambda: alice.update_group(pair, admins=[stranger])),
        ("key_packages", lambda: alice.add_members(pair, [own])),
        ("members", lambda: alice.create_group("x", members=[own], relays=RELAYS)),
    ]
    for field, call in calls:
        refused(call, field)
    assert alice.pending() == []
