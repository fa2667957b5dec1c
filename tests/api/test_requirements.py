"""What a group asks of its members' apps: more of it, and settings that go."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from mdk import Applied, GroupId, GroupUpdated, Mdk, PendingCommit, errors
from mdk.testing import Clock

RELAYS = ["wss://relay.example"]
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
    (updated,) = (e for e in outcome.events if isinstance(e, GroupUpdated))
    return set(updated.changed)


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


def test_it_waits_over_a_restart(
    reopened: Callable[[], Mdk], bob: Mdk, meet: Callable[..., GroupId]
) -> None:
    with reopened() as alice:
        group = meet(alice, bob)
        made = alice.change_requirements(group, components=[RETENTION], extensions=[STREAMS])
        assert made.event is not None
        handed_out = made.event.to_json()
    with reopened() as alice:
        (pending,) = alice.pending()
        assert pending.event is not None
        assert pending.event.to_json() == handed_out
        assert taken(pending, bob) == {"required"}
        assert secret(alice, group) == secret(bob, group)


def test_refusals(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
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
