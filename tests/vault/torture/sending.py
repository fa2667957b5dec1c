"""What the account makes itself: messages, KeyPackages, and commits until they are confirmed or given up."""

from __future__ import annotations

from typing import Any

from tests.vault.kit import RELAYS

from mdk import GroupId, Mdk, SignedEvent

from .operation import Context, Once
from .world import Place, publish, require, talk, took


def group_of(place: Place) -> GroupId:
    return GroupId(place.facts["group"])


class Send(Once):
    name = "send"

    def call(self, place: Place, context: Context) -> Any:
        return context.alice.create_message(group_of(place), "a new one").event.to_json()


class Delete(Once):
    name = "delete"

    def call(self, place: Place, context: Context) -> Any:
        return context.alice.delete(group_of(place), place.facts["own"]).event.to_json()

    def check(self, place: Place, *, acknowledged: bool, control: Any = None) -> Any:
        place.learn(history=place.facts["history"][1:])
        return super().check(place, acknowledged=acknowledged, control=control)


class TickAfterDeletion(Delete):
    """What was deleted leaves the log."""

    name = "tick"

    def prepare(self, place: Place) -> Context:
        context = super().prepare(place)
        context.alice.delete(group_of(place), place.facts["own"])
        return context

    def call(self, _place: Place, context: Context) -> Any:
        context.alice.tick()

    def repeat(self, place: Place, alice: Mdk) -> None:
        self.check_acknowledged(place, alice)
        alice.tick()


class NewKeyPackage(Once):
    """A KeyPackage, whose private keys must be there when it is used."""

    name = "key_package"

    def call(self, _place: Place, context: Context) -> Any:
        return context.alice.new_key_package(relays=RELAYS).to_json()


class Leave(Once):
    name = "leave"

    def call(self, place: Place, context: Context) -> Any:
        return context.alice.leave(GroupId(place.facts["other"])).to_json()


# ------------------------------------------------------------------ commits


def same_epoch(place: Place, alice: Mdk, bob: Mdk) -> None:
    group = group_of(place)
    require(bob.group(group).epoch == alice.group(group).epoch, "broken", "epochs differ")


class Stage(Once):
    """A commit is made and kept until it is known to be published."""

    name = "commit_stage"

    def call(self, place: Place, context: Context) -> Any:
        event = context.alice.update_group(group_of(place), name="Supper").event
        return event.to_json() if event else None

    def follow(self, place: Place, alice: Mdk, bob: Mdk) -> None:
        (pending,) = alice.pending()
        event, _ = publish(pending)
        assert event is not None
        took(bob.process(event), "our commit")
        same_epoch(place, alice, bob)


class Confirm(Once):
    """A published commit is merged; it adds a member, who must be able to join."""

    name = "commit_confirm"

    def setup(self, place: Place) -> None:
        spare = SignedEvent.from_json(place.facts["spare"])
        with place.alice() as alice:
            pending = alice.add_members(group_of(place), [spare])
            assert pending.event is not None
            place.learn(commit=pending.event.to_json(), added=pending.welcomes[0].to_json())

    def call(self, _place: Place, context: Context) -> Any:
        (pending,) = context.alice.pending()
        return pending.confirm().epoch

    def follow(self, place: Place, alice: Mdk, bob: Mdk) -> None:
        took(bob.process(place.facts["commit"]), "our commit")
        same_epoch(place, alice, bob)
        with place.peer("carol") as carol:
            took(carol.process(place.facts["added"]), "our Welcome")
            (invite,) = carol.invites()
            carol.accept(invite.id)
            talk(alice, carol, group_of(place))


class Discard(Confirm):
    """A commit that could not be published is forgotten."""

    name = "commit_discard"

    def call(self, _place: Place, context: Context) -> Any:
        (pending,) = context.alice.pending()
        pending.discard()
        return "discarded"

    def follow(self, place: Place, alice: Mdk, bob: Mdk) -> None:
        require(not alice.pending(), "broken", "a discarded commit is pending")
        same_epoch(place, alice, bob)


class CreateGroup(Once):
    name = "create_group"

    def call(self, place: Place, context: Context) -> Any:
        spare = SignedEvent.from_json(place.facts["spare"])
        return context.alice.create_group("Tea", members=[spare], relays=RELAYS).confirm().id

    def there(self, _place: Place, alice: Mdk) -> bool:
        # Two calls: it may have ended between them, with the commit staged.
        for pending in alice.pending():
            pending.discard()
        return any(g.name == "Tea" for g in alice.groups())

    def recover(self, place: Place, context: Context, before: Any, reopen: bool) -> dict[str, Any]:
        self.there(place, context.alice)
        report = super().recover(place, context, before, reopen)
        return report | {"unchanged": True}
