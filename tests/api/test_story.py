"""Every public method of the engine, once, as its user calls it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

import mdk
from mdk import (
    Applied,
    Deferred,
    Duplicate,
    EpochChanged,
    Event,
    EventId,
    GroupId,
    GroupState,
    GroupUpdated,
    Invited,
    Joined,
    Kind,
    Mdk,
    MembersChanged,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    Outgoing,
    PendingCommit,
    ReactionAdded,
    Rejected,
    Removed,
    SignedEvent,
)
from mdk.testing import Clock

RELAYS = ["wss://relay.example"]


def publish(pending: PendingCommit, *readers: Mdk) -> list[Event]:
    """Confirms a commit of ours; returns what it meant to the readers."""
    with pending:
        event = pending.event
        assert event is not None
        assert event.kind == Kind.GROUP_MESSAGE
        pending.confirm()
    # Settled: the readers may commit themselves then.
    return [
        e
        for reader in readers
        for e in (*applied(reader, event), *reader.settle().events)
        if not isinstance(e, Joined)
    ]


def applied(reader: Mdk, event: SignedEvent) -> list[Event]:
    """What the event meant; what accept() and confirm() meant is reported along with it."""
    outcome = reader.process(event)
    assert isinstance(outcome, Applied), outcome
    return [e for e in outcome.events if not isinstance(e, Joined)]


def test_key_packages(alice: Mdk, bob: Mdk) -> None:
    event = bob.new_key_package(relays=RELAYS)
    assert event.kind == Kind.KEY_PACKAGE
    assert event.pubkey == bob.public_key
    (package,) = bob.key_packages()
    assert package.event_id == event.id
    assert package.relays == tuple(RELAYS)
    assert package.created_at.tzinfo is not None
    assert package.expires_at - package.created_at <= timedelta(days=85)
    assert alice.check_key_package(event).usable
    assert alice.select_key_package([event]) == event
    assert alice.select_key_package([]) is None
    bob.delete_key_package(package.ref)
    assert bob.key_packages() == []
    with pytest.raises(mdk.errors.KeyPackageNotFound):
        bob.delete_key_package(package.ref)


def test_an_event_that_is_no_key_package_is_not_usable(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
    verdict = alice.check_key_package(bob.create_message(pair, "hi").event)
    assert not verdict.usable
    assert verdict.rule is not None
    assert verdict.rule.startswith("A2")
    assert verdict.code
    assert verdict.reason


def test_found_invite_accept(alice: Mdk, bob: Mdk) -> None:
    package = bob.new_key_package(relays=RELAYS)
    with alice.create_group(
        "Lunch",
        members=[package],
        relays=RELAYS,
        description="where to eat",
        admins=[bob.public_key.npub],
        retention=timedelta(days=1),
    ) as pending:
        assert pending.event is None
        assert alice.groups() == []
        (welcome,) = pending.welcomes
        group = pending.confirm()
    assert welcome.kind == Kind.GIFT_WRAP
    assert group.state is GroupState.ACTIVE
    assert group.epoch == 1
    assert group.admins == {alice.public_key, bob.public_key}
    assert group.retention == timedelta(days=1)
    assert alice.groups() == [group]
    assert alice.groups(state=GroupState.LEFT) == []

    (invited,) = applied(bob, welcome)
    assert isinstance(invited, Invited)
    invite = invited.invite
    assert bob.invites() == [invite]
    assert invite.inviter == alice.public_key
    assert (invite.group_name, invite.description) == ("Lunch", "where to eat")
    assert invite.member_count == 2
    assert bob.group(group.id).state is GroupState.PENDING
    joined = bob.accept(invite.id)
    assert joined.id == group.id
    assert joined.state is GroupState.ACTIVE
    assert bob.invites() == []
    with pytest.raises(mdk.errors.InviteNotFound):
        bob.decline(invite.id)
    members = {m.public_key: m for m in bob.members(group.id)}
    assert set(members) == {alice.public_key, bob.public_key}
    assert members[bob.public_key].is_me
    assert members[alice.public_key].is_admin


def test_a_chat(alice: Mdk, bob: Mdk, pair: GroupId, clock: Clock) -> None:
    sent = alice.create_message(pair, "Soup or sandwich?", tags=[["subject", "food"]])
    assert isinstance(sent, Outgoing)
    assert sent.event.kind == Kind.GROUP_MESSAGE
    assert sent.relays == tuple(RELAYS)
    assert sent.message.is_mine
    assert sent.message.delivery is mdk.Delivery.QUEUED
    match applied(bob, sent.event):
        case [MessageReceived(message)]:
            assert message.text == "Soup or sandwich?"
            assert message.sender == alice.public_key
            assert message.created_at == clock.now
            assert ("subject", "food") in message.tags
            assert message.attachments == ()
            assert not message.is_mine
        case other:
            pytest.fail(f"{other}")
    assert isinstance(bob.process(sent.event.to_json()), Duplicate)
    assert isinstance(alice.process(sent.event.to_json().encode()), Duplicate)
    assert bob.group(pair).unread_count == 1
    bob.mark_read(pair)
    assert bob.group(pair).unread_count == 0

    answer = bob.create_message(pair, "Soup", reply_to=message.id)
    (received,) = applied(alice, answer.event)
    assert isinstance(received, MessageReceived)
    assert received.message.reply_to == message.id

    (reacted,) = applied(alice, bob.react(pair, message.id, "🍲").event)
    assert isinstance(reacted, ReactionAdded)
    assert alice.message(pair, message.id).reactions == (reacted.reaction,)

    (edited,) = applied(bob, alice.edit(pair, message.id, "Soup?").event)
    assert isinstance(edited, MessageEdited)
    assert (edited.message.text, edited.message.edited) == ("Soup?", True)

    (deleted,) = applied(bob, alice.delete(pair, message.id).event)
    assert isinstance(deleted, MessageDeleted)
    assert deleted.message_id == message.id
    assert bob.message(pair, message.id).deleted
    with pytest.raises(mdk.errors.NotAllowed):
        alice.edit(pair, answer.message.id, "Sandwich")
    with pytest.raises(mdk.errors.MessageNotFound):
        alice.message(pair, EventId("0" * 64))
    last = bob.group(pair).last_message
    assert last is not None
    assert last.text == "Soup"


def test_history_pages_and_search(alice: Mdk, pair: GroupId) -> None:
    ids = [alice.create_message(pair, f"message {n}").message.id for n in range(7)]
    page = alice.messages(pair, limit=3)
    assert [m.id for m in page] == ids[4:]
    page = alice.messages(pair, limit=3, before=page[0].id)
    assert [m.id for m in page] == ids[1:4]
    assert [m.id for m in alice.messages(pair, limit=3, after=ids[4])] == ids[5:]
    assert alice.messages(pair, limit=0) == []
    assert [m.id for m in alice.search("message 3")] == [ids[3]]
    assert alice.search("message 3", group_id=pair, limit=1)[0].id == ids[3]
    assert alice.search("dinner") == []


def test_settings_and_members(alice: Mdk, bob: Mdk, carol: Mdk, pair: GroupId) -> None:
    with pytest.raises(mdk.errors.NotAdmin):
        bob.update_group(pair, name="Dinner")
    events = publish(
        alice.update_group(pair, name="Dinner", description="late", relays=["wss://other.example"]),
        bob,
    )
    updated = [e for e in events if isinstance(e, GroupUpdated)]
    assert updated
    assert {"name", "description", "relays"} <= updated[0].changed
    assert updated[0].by == alice.public_key
    assert any(isinstance(e, EpochChanged) and (e.old, e.new) == (1, 2) for e in events)
    assert bob.group(pair).name == "Dinner"
    publish(alice.update_group(pair, retention=timedelta(hours=1)), bob)
    assert bob.group(pair).retention == timedelta(hours=1)
    publish(alice.update_group(pair, retention=timedelta(0)), bob)
    assert bob.group(pair).retention is None

    publish(alice.promote(pair, [bob.public_key]), bob)
    assert bob.public_key in bob.group(pair).admins
    publish(bob.demote(pair, [alice.public_key.hex]), alice)
    assert alice.group(pair).admins == {bob.public_key}
    publish(bob.update_group(pair, admins=[alice.public_key, bob.public_key]), alice)

    # She is made an admin at once.
    pending = alice.add_members(pair, [carol.new_key_package(relays=RELAYS)], promote=True)
    (welcome,) = pending.welcomes
    changed = [e for e in publish(pending, bob) if isinstance(e, MembersChanged)]
    assert changed[0].added == {carol.public_key}
    assert carol.public_key in bob.group(pair).admins
    applied(carol, welcome)
    carol.accept(carol.invites()[0].id)
    assert len(carol.members(pair)) == 3
    events = publish(alice.remove_members(pair, [carol.public_key]), bob, carol)
    assert any(isinstance(e, Removed) and not e.left for e in events)
    assert carol.group(pair).state is GroupState.REMOVED
    with pytest.raises(mdk.errors.NotMember):
        carol.create_message(pair, "hello?")


def test_self_update_and_export(alice: Mdk, bob: Mdk, pair: GroupId, clock: Clock) -> None:
    secret = alice.export_secret(pair, "test", b"context", 32)
    assert len(secret) == 32
    assert secret == bob.export_secret(pair, "test", b"context", 32)
    clock.advance(timedelta(days=8))
    assert alice.needs_self_update() == [pair]
    assert alice.needs_self_update(older_than=timedelta(days=9)) == []
    publish(alice.self_update(pair), bob)
    assert alice.needs_self_update() == []
    assert secret != alice.export_secret(pair, "test", b"context", 32)
    assert alice.export_secret(pair, "x", b"", 16) == bob.export_secret(pair, "x", b"", 16)


def test_leave_is_answered(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
    proposal = bob.leave(pair)
    assert bob.group(pair).state is GroupState.LEAVING
    outcome = alice.process(proposal)
    assert isinstance(outcome, Applied)
    (commit,) = outcome.reply
    gone = [e for e in applied(bob, commit) if isinstance(e, Removed)]
    assert gone[0].left
    assert bob.group(pair).state is GroupState.LEFT


def test_disband(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
    events = publish(alice.disband(pair), bob)
    assert any(isinstance(e, mdk.Disbanded) and e.by == alice.public_key for e in events)
    assert bob.group(pair).state is GroupState.DISBANDED


def test_events_resume_behind_a_cursor(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
    for n in range(5):
        bob.process(alice.create_message(pair, f"{n}").event)
    events = list(bob.events())
    assert [type(e) for e in events[:2]] == [Invited, Joined]
    assert len({e.cursor for e in events}) == len(events)
    for split in range(len(events)):
        assert list(bob.events(after=events[split].cursor)) == events[split + 1 :]
    assert list(bob.events(after="0")) == events
    assert list(bob.events(limit=3)) == events[:3]


def test_process_many_is_process_in_batches(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
    events = [alice.create_message(pair, f"{n}").event for n in range(9)]
    mixed: list[SignedEvent | str | bytes] = [
        e if n % 3 == 0 else e.to_json() if n % 3 == 1 else e.to_json().encode()
        for n, e in enumerate(events)
    ]
    # The last one is in a batch of its own, and the log has more than a page.
    wrong: list[SignedEvent | str | bytes] = ["{", b"\xff"] * 246
    outcomes = list(bob.process_many(iter([*mixed[:8], *wrong, mixed[8]])))
    kinds = [*[Applied] * 8, *[Rejected] * len(wrong), Applied]
    assert [type(outcome) for outcome in outcomes] == kinds
    texts = [e.message.text for o in outcomes for e in o.events if isinstance(e, MessageReceived)]
    assert texts == [f"{n}" for n in range(9)]
    assert {type(o) for o in bob.process_many(mixed)} == {Duplicate}
    assert list(bob.process_many([])) == []

    def source() -> Iterator[SignedEvent]:
        yield alice.create_message(pair, "one").event
        raise ConnectionResetError("relay gone")

    # What the iterable raises comes behind the outcomes.
    last = bob.process_many(source())
    assert isinstance(next(last), Applied)
    with pytest.raises(ConnectionResetError):
        next(last)


def test_too_early_is_deferred_and_taken_up_later(alice: Mdk, bob: Mdk, pair: GroupId) -> None:
    pending = alice.self_update(pair)
    commit = pending.event
    assert commit is not None
    pending.confirm()
    message = alice.create_message(pair, "after the commit").event
    early = bob.process(message)
    assert isinstance(early, Deferred)
    assert early.reason in {"undecryptable", "future_epoch"}
    assert any(isinstance(e, MessageReceived) for e in applied(bob, commit))


def test_a_declined_invite_is_gone(alice: Mdk, bob: Mdk) -> None:
    pending = alice.create_group(
        "Lunch", members=[bob.new_key_package(relays=RELAYS)], relays=RELAYS
    )
    pending.confirm()
    bob.process(pending.welcomes[0])
    bob.decline(bob.invites()[0].id)
    assert bob.invites() == []
    assert bob.groups(state=GroupState.ACTIVE) == []


def test_interests_name_the_group_and_the_inbox(bob: Mdk, pair: GroupId) -> None:
    filters = bob.interests()
    kinds = {kind for f in filters for kind in json.loads(f.to_json())["kinds"]}
    assert {Kind.GROUP_MESSAGE, Kind.GIFT_WRAP} <= kinds
    routing = bob.group(pair).nostr_group_id
    assert any(routing in f.to_json() and f.relays == tuple(RELAYS) for f in filters)


def test_tick_at_a_time_of_the_callers_choice(alice: Mdk, pair: GroupId, clock: Clock) -> None:
    publish(alice.update_group(pair, retention=timedelta(hours=1)))
    message = alice.create_message(pair, "soon gone").message
    assert isinstance(alice.tick(), Applied)
    assert not alice.message(pair, message.id).deleted
    alice.tick(clock.now + timedelta(hours=2))
    with pytest.raises(mdk.errors.MessageNotFound):
        alice.message(pair, message.id)
    # (behind the second of the first one)
    clock.advance(timedelta(seconds=5))
    later = alice.create_message(pair, "now").message
    assert later.created_at == clock.now
