"""What a hostile member or a stranger may cost: bounded, told, and nobody else's loss."""

from __future__ import annotations

from collections.abc import Callable

from mdk import Config, Event, GroupId, HistoryTrimmed, Keys, Mdk, Rejected
from mdk.testing import Clock

RELAYS = ["wss://relay.example"]


def test_a_member_who_says_too_much_loses_the_oldest(
    bob: Mdk, clock: Clock, meet: Callable[..., GroupId]
) -> None:
    with Mdk.in_memory(clock=clock, config=Config(max_sender_messages=100)) as alice:
        group = meet(bob, alice)
        told: list[Event] = []
        for n in range(120):
            said = bob.create_message(group, f"message {n}")
            told += alice.process(said.event).events
        trimmed = [event for event in told if isinstance(event, HistoryTrimmed)]
        assert [event.sender for event in trimmed] == [bob.public_key]
        assert trimmed == [e for e in alice.events() if isinstance(e, HistoryTrimmed)]
        texts = [message.text for message in alice.messages(group, limit=200)]
        assert texts[-1] == "message 119"
        assert 90 < len(texts) <= 100


def test_a_stranger_whose_invites_are_not_taken_is_rejected(alice: Mdk, bob: Mdk) -> None:
    bob._set_inviters([Keys.generate().public_key], strangers=False)
    package = bob.new_key_package(relays=RELAYS)
    with alice.create_group("Lunch", members=[package], relays=RELAYS) as pending:
        (welcome,) = pending.welcomes
        pending.confirm()
    outcome = bob.process(welcome)
    assert isinstance(outcome, Rejected)
    assert (outcome.code, outcome.rule) == ("authorization_failed", "B4-40")
    assert bob.invites() == []
    bob._set_inviters([alice.public_key], strangers=False)
    bob.process(welcome)
    assert [invite.inviter for invite in bob.invites()] == [alice.public_key]
