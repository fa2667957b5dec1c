"""Accepted at the limit, refused at limit + 1 with the field, the limit and the value."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from mdk import Config, EventId, GroupId, Mdk, PendingCommit, errors

RELAYS = ["wss://relay.example"]


def refused(call: Callable[[], object], field: str, limit: int, value: int) -> None:
    with pytest.raises(errors.InvalidInput) as caught:
        call()
    got = (caught.value.field, caught.value.limit, caught.value.value)
    assert got == (field, limit, value), str(caught.value)


def relay(length: int) -> str:
    return "wss://relay.example/".ljust(length, "a")


@pytest.mark.parametrize(
    ("field", "limit", "make"),
    [
        ("name", 256, lambda n: "é" * (n // 2) + "a" * (n % 2)),
        ("description", 4096, lambda n: "é" * (n // 2) + "a" * (n % 2)),
        ("relays", 16, lambda n: [f"wss://relay{i}.example" for i in range(n)]),
    ],
)
def test_settings(
    alice: Mdk, pair: GroupId, field: str, limit: int, make: Callable[[int], object]
) -> None:
    def create(size: int) -> PendingCommit:
        arguments = {"name": "Lunch", "relays": RELAYS, field: make(size)}
        return alice.create_group(**arguments)  # type: ignore[arg-type]

    def update(size: int) -> PendingCommit:
        return alice.update_group(pair, **{field: make(size)})  # type: ignore[arg-type]

    for stage in (create, update):
        with stage(limit) as pending:
            pending.confirm()
        refused(partial(stage, limit + 1), field, limit, limit + 1)


def test_relays_of_a_key_package(alice: Mdk) -> None:
    relays = [f"wss://relay{i}.example" for i in range(17)]
    alice.new_key_package(relays=relays[:16])
    refused(lambda: alice.new_key_package(relays=relays), "relays", 16, 17)


def test_tags(alice: Mdk, pair: GroupId) -> None:
    for many in ([["t"]] * 4096, [["t"] * 4096]):
        alice.create_message(pair, "x", tags=many)
    refused(lambda: alice.create_message(pair, "x", tags=[["t"]] * 4097), "tags", 4096, 4097)
    refused(lambda: alice.create_message(pair, "x", tags=[["t"] * 4097]), "tags", 4096, 4097)


def test_relay_urls(alice: Mdk) -> None:
    with alice.create_group("Lunch", relays=[relay(512)]) as pending:
        pending.confirm()
    with pytest.raises(errors.InvalidInput) as caught:
        alice.create_group("Lunch", relays=[relay(513)])
    assert caught.value.field == "relays"
    for bad in (
        "http://relay.example",
        "wss://",
        "wss://user:pw@relay.example",
        "",
    ):
        with pytest.raises(errors.InvalidInput) as caught:
            alice.new_key_package(relays=[bad])
        assert caught.value.field == "relays"
        assert "example" not in str(caught.value)
    with pytest.raises(errors.InvalidInput):
        alice.create_group("Lunch", relays=[])
    with pytest.raises(errors.InvalidInput):
        alice.create_group("Lunch", relays="wss://relay.example")


def test_reactions(alice: Mdk, pair: GroupId) -> None:
    message = alice.create_message(pair, "hi").message.id
    alice.react(pair, message, "é" * 64)
    refused(lambda: alice.react(pair, message, "é" * 65), "emoji", 64, 65)
    with pytest.raises(errors.InvalidInput):
        alice.react(pair, message, "")


def test_message_size(carol: Mdk, bob: Mdk, meet: Callable[..., GroupId]) -> None:
    # The limit counts the whole inner event; ASCII text adds one byte for each character.
    limit = 1024
    group = meet(carol, bob)
    with pytest.raises(errors.InvalidInput) as caught:
        carol.create_message(group, "x" * limit)
    assert caught.value.field == "text"
    assert caught.value.limit == limit
    assert caught.value.value is not None
    overhead = caught.value.value - limit
    carol.create_message(group, "x" * (limit - overhead))
    refused(
        lambda: carol.create_message(group, "x" * (limit - overhead + 1)),
        "text",
        limit,
        limit + 1,
    )


def test_numbers(alice: Mdk, pair: GroupId) -> None:
    alice.messages(pair, limit=10_000)
    refused(lambda: alice.messages(pair, limit=10_001), "limit", 10_000, 10_001)
    alice.search("x", limit=10_000)
    refused(lambda: alice.search("x", limit=10_001), "limit", 10_000, 10_001)
    assert list(alice.events(limit=0)) == []
    assert list(alice.events(limit=2**32 - 1))
    refused(lambda: alice.events(limit=2**32), "limit", 2**32 - 1, 2**32)
    alice.create_message(pair, "x", kind=65_535)
    refused(lambda: alice.create_message(pair, "x", kind=65_536), "kind", 65_535, 65_536)
    assert len(alice.export_secret(pair, "x", b"", 8160)) == 8160
    refused(lambda: alice.export_secret(pair, "x", b"", 8161), "length", 8160, 8161)
    for number in (-1, 2**70, -(2**70)):
        with pytest.raises(errors.InvalidInput) as caught:
            alice.messages(pair, limit=number)
        assert caught.value.field == "limit"


def test_ids_and_durations(alice: Mdk, pair: GroupId) -> None:
    calls: list[tuple[str, Callable[[], object]]] = [
        ("group_id", lambda: alice.group(GroupId("xyz"))),
        ("group_id", lambda: alice.group(GroupId(pair.upper()))),
        ("message_id", lambda: alice.message(pair, EventId("00"))),
        ("before", lambda: alice.messages(pair, before=EventId("g" * 64))),
        ("after", lambda: alice.messages(pair, after=EventId(""))),
        ("reply_to", lambda: alice.create_message(pair, "x", reply_to=EventId("1"))),
        ("invite_id", lambda: alice.accept(EventId("?"))),
        ("ref", lambda: alice.delete_key_package("ff")),
        ("after", lambda: alice.events(after="latest")),
        ("retention", lambda: alice.update_group(pair, retention=timedelta(seconds=-1))),
        ("retention", lambda: alice.update_group(pair, retention=timedelta(seconds=1.5))),
        ("older_than", lambda: alice.needs_self_update(older_than=timedelta(days=-1))),
        ("tags", lambda: alice.create_message(pair, "x", tags=["ab"])),
        ("slot", lambda: alice.new_key_package(relays=RELAYS, slot="")),
    ]
    for field, call in calls:
        with pytest.raises(errors.InvalidInput) as caught:
            call()
        assert caught.value.field == field, str(caught.value)
    with pytest.raises(errors.GroupNotFound):
        alice.group(GroupId("00" * 16))


def test_the_longest_text_is_as_the_guide_says(alice: Mdk, pair: GroupId) -> None:
    alice.create_message(pair, "x" * 65_331)
    for text in ("x" * 65_332, "\n" + "x" * 65_330):
        with pytest.raises(errors.InvalidInput) as caught:
            alice.create_message(pair, text)
        assert caught.value.limit == Config().max_message_bytes
