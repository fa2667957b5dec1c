"""What an admin changes of a group besides its name: its place, its picture, its servers, what it asks of apps."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from mdk import Applied, GroupId, GroupUpdated, Mdk, PendingCommit, errors
from mdk.testing import Clock

RELAYS = ["wss://relay.example"]
PICTURE = "https://pictures.example/a.png"
RETENTION = 0x8005
MEDIA = 0x800B
LIFECYCLE = 0x800C
STREAMS = 0xF2D1


def taken(pending: PendingCommit, reader: Mdk) -> set[str]:
    """What a confirmed change meant to a reader."""
    with pending:
        event = pending.event
        pending.confirm()
    assert event is not None
    outcome = reader.process(event)
    assert isinstance(outcome, Applied)
    reader.settle()
    updated = [e for e in outcome.events if isinstance(e, GroupUpdated)]
    return {name for event in updated for name in event.changed}


def asked(mdk: Mdk) -> set[str]:
    """The ids that relays are asked for."""
    filters = [json.loads(interest.to_json()) for interest in mdk.interests()]
    return {route for wanted in filters for route in wanted.get("#h", [])}


def route(event: str) -> str:
    (tag,) = (tag for tag in json.loads(event)["tags"] if tag[0] == "h")
    return str(tag[1])


def test_a_rotation(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
    old = alice.group(pair).nostr_group_id
    late = bob.create_message(pair, "on its way").event
    with alice.update_group(pair, rotate_routing=True) as given_up:
        given_up.discard()
    assert alice.group(pair).nostr_group_id == old
    pending = alice.update_group(pair, rotate_routing=True)
    assert pending.event is not None
    assert route(pending.event.to_json()) == old
    assert taken(pending, bob) == {"relays"}
    info = alice.group(pair)
    new = info.nostr_group_id
    assert new != old
    assert list(info.relays) == RELAYS
    assert bob.group(pair).nostr_group_id == new
    assert asked(alice) == asked(bob) == {old, new}
    assert isinstance(alice.process(late), Applied)
    said = bob.create_message(pair, "here").event
    assert route(said.to_json()) == new
    assert isinstance(alice.process(said), Applied)
    moved = alice.update_group(pair, rotate_routing=True, relays=["wss://new.example"], name="Far")
    assert taken(moved, bob) == {"relays", "name"}
    there = bob.group(pair)
    assert (list(there.relays), there.name) == (["wss://new.example"], "Far")
    assert there.nostr_group_id not in (old, new)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda a, g: a.update_group(g, rotate_routing=True, avatar_url=PICTURE),
            {"relays", "avatar"},
        ),
        (
            lambda a, g: a.change_requirements(g, components=[RETENTION], extensions=[STREAMS]),
            {"required"},
        ),
    ],
    ids=["settings", "requirements"],
)
def test_it_waits_over_a_restart(
    reopened: Callable[[], Mdk],
    bob: Mdk,
    meet: Callable[..., GroupId],
    change: Callable[[Mdk, GroupId], PendingCommit],
    told: set[str],
) -> None:
    with reopened() as alice:
        group = meet(alice, bob)
        made = change(alice, group)
        old = alice.group(group).nostr_group_id
        assert made.event is not None
        handed_out = made.event.to_json()
    with reopened() as alice:
        (pending,) = alice.pending()
        assert pending.event is not None
        assert pending.event.to_json() == handed_out
        assert taken(pending, bob) == told
        assert secret(alice, group) == secret(bob, group)
    with reopened() as alice:
        assert asked(alice) == {old, alice.group(group).nostr_group_id}
        assert (alice.group(group).nostr_group_id != old) is ("relays" in told)
        assert alice.avatar_url(group) == bob.avatar_url(group)


def test_a_public_picture(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
    assert alice.avatar_url(pair) is None
    assert taken(alice.update_group(pair, avatar_url="https://Pictures.example"), bob) == {"avatar"}
    for mdk in (alice, bob):
        assert mdk.avatar_url(pair) == "https://pictures.example/"
        assert mdk.group(pair).has_image
    assert taken(alice.update_group(pair, name="Dinner"), bob) == {"name"}
    assert bob.avatar_url(pair) is not None
    assert taken(alice.update_group(pair, avatar_url=""), bob) == {"avatar"}
    for mdk in (alice, bob):
        assert mdk.avatar_url(pair) is None
        assert not mdk.group(pair).has_image


def test_servers_for_files(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
    usual = alice.media_servers(pair)
    servers = iter(["https://files.example", "https://files.example/deep"])
    assert taken(alice.update_group(pair, media_servers=servers), bob) == {"media"}
    assert bob.media_servers(pair) == ["https://files.example/", "https://files.example/deep"]
    assert taken(alice.update_group(pair, media_servers=[]), bob) == {"media"}
    assert bob.media_servers(pair) == usual


def test_refusals(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
    changes: list[Callable[[Mdk], object]] = [
        lambda mdk: mdk.update_group(pair, rotate_routing=True),
        lambda mdk: mdk.update_group(pair, avatar_url=PICTURE),
        lambda mdk: mdk.update_group(pair, media_servers=["https://files.example"]),
    ]
    for change in changes:
        with pytest.raises(errors.NotAdmin):
            change(bob)
    long = f"{PICTURE}?{'x' * 2048}"
    for url in ("pictures.example", "http://pictures.example", "https://a@b.example", " ", long):
        with pytest.raises(errors.InvalidInput) as raised:
            alice.update_group(pair, rotate_routing=True, avatar_url=url)
        assert raised.value.field == "avatar_url"
    with pytest.raises(errors.InvalidInput) as raised:
        alice.update_group(pair, avatar_url=long)
    assert (raised.value.limit, raised.value.value) == (2048, len(long))
    for servers in (["ftp://files.example"], ["https://a.example"] * 17, "https://a.example"):
        with pytest.raises(errors.InvalidInput) as raised:
            alice.update_group(pair, media_servers=servers)
        assert raised.value.field == "media_servers"
    assert alice.pending() == []


def secret(mdk: Mdk, group: GroupId) -> bytes:
    """Equal for whoever is in the same state of the group."""
    return mdk.export_secret(group, "state", b"", 32)


def test_requiring_and_giving_up(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
    assert taken(alice.change_requirements(pair, components=iter([RETENTION])), bob) == {"required"}
    assert taken(alice.change_requirements(pair, extensions=(STREAMS,)), bob) == {"required"}
    assert taken(alice.update_group(pair, retention=timedelta(hours=1)), bob) == {"retention"}
    assert bob.group(pair).retention == timedelta(hours=1)
    told = taken(alice.change_requirements(pair, remove=[RETENTION, MEDIA]), bob)
    assert told == {"required", "retention", "media"}
    assert bob.group(pair).retention is None
    assert secret(alice, pair) == secret(bob, pair)
    with bob.self_update(pair) as pending:
        event = pending.event
        pending.confirm()
    assert event is not None
    assert isinstance(alice.process(event), Applied)
    assert secret(alice, pair) == secret(bob, pair)


def test_refusals_of_requirements(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
    with pytest.raises(errors.NotAdmin):
        bob.change_requirements(pair, components=[RETENTION])
    calls: list[tuple[str, Callable[[], object]]] = [
        ("components", lambda: alice.change_requirements(pair, components=[0x9ABC])),
        ("extensions", lambda: alice.change_requirements(pair, extensions=[0xF2D2])),
        ("proposals", lambda: alice.change_requirements(pair, proposals=[1])),
        ("remove", lambda: alice.change_requirements(pair, remove=[LIFECYCLE])),
        ("remove", lambda: alice.change_requirements(pair, remove=[RETENTION])),
        ("remove", lambda: alice.change_requirements(pair, remove="12")),  # type: ignore[arg-type]
    ]
    for field, call in calls:
        with pytest.raises(errors.InvalidInput) as raised:
            call()
        assert raised.value.field == field
    for given, limit in ((-1, 0), (0x10000, 0xFFFF), (1 << 80, 0xFFFF)):
        with pytest.raises(errors.InvalidInput) as raised:
            alice.change_requirements(pair, extensions=[STREAMS, given])
        assert (raised.value.field, raised.value.limit) == ("extensions", limit)
        assert raised.value.value == given
    assert alice.pending() == []


def test_who_does_not_fit_is_named(alice: Mdk, pair: GroupId, clock: Clock) -> None:
    with Mdk.in_memory(clock=clock) as carol:
        package = carol.new_key_package(relays=RELAYS)
        clock.advance(timedelta(days=100))
        with pytest.raises(errors.IncompatibleMember) as raised:
            alice.add_members(pair, [package])
        assert raised.value.who == (carol.public_key,)
        assert carol.public_key.npub not in str(raised.value)
        assert carol.public_key.hex not in str(raised.value)
