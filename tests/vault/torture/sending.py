"""What the account makes itself: messages, KeyPackages, and commits until they are confirmed or given up."""

from __future__ import annotations

from typing import Any

from mdk import GroupId, Mdk, SignedEvent

from .operation import Context, Once, Operation, opened, texts
from .world import Place, publish, require, talk, took


class Send(Once):
    name = "send"
    what = "a sent message"

    def call(self, place: Place, context: Context) -> Any:
        sent = context.alice.create_message(GroupId(place.facts["group"]), "a new one")
        return sent.event.to_json()

    def there(self, place: Place, alice: Mdk) -> bool:
        return "a new one" in texts(place, alice)


class Delete(Once):
    name = "delete"
    what = "an acknowledged deletion"

    def call(self, place: Place, context: Context) -> Any:
        facts = place.facts
        return context.alice.delete(GroupId(facts["group"]), facts["own"]).event.to_json()

    def check(self, place: Place, *, acknowledged: bool, control: Any = None) -> Any:
        place.learn(history=place.facts["history"][1:])
        return super().check(place, acknowledged=acknowledged, control=control)

    def there(self, place: Place, alice: Mdk) -> bool:
        message = alice.message(GroupId(place.facts["group"]), place.facts["own"])
        return message.deleted and not message.text


class TickAfterDeletion(Delete):
    """What was deleted leaves the log."""

    name = "tick"

    def prepare(self, place: Place) -> Context:
        context = super().prepare(place)
        context.alice.delete(GroupId(place.facts["group"]), place.facts["own"])
        return context

    def call(self, _place: Place, context: Context) -> Any:
        context.alice.tick()

    def repeat(self, place: Place, alice: Mdk) -> None:
        self.check_acknowledged(place, alice)
        alice.tick()


class NewKeyPackage(Operation):
    """A KeyPackage, whose private keys must be there when it is used."""

    name = "key_package"

    def setup(self, place: Place) -> None:
        with place.alice() as alice:
            place.learn(packages=len(alice.key_packages()))

    def call(self, _place: Place, context: Context) -> Any:
        return context.alice.new_key_package(relays=["wss://relay.example"]).to_json()

    def check(self, place: Place, *, acknowledged: bool, control: Any = None) -> Any:
        with opened(place) as alice:
            count, before = len(alice.key_packages()), place.facts["packages"]
            require(count in {before, before + 1}, "broken", f"{count} KeyPackages")
            require(not acknowledged or count > before, "lost", "an acknowledged KeyPackage")
        return super().check(place, acknowledged=acknowledged, control=control)

    def repeat(self, place: Place, alice: Mdk) -> None:
        if len(alice.key_packages()) == place.facts["packages"]:
            alice.new_key_package(relays=["wss://relay.example"])


class Leave(Once):
    name = "leave"
    what = "an acknowledged leave"

    def call(self, place: Place, context: Context) -> Any:
        return context.alice.leave(GroupId(place.facts["other"])).to_json()

    def there(self, place: Place, alice: Mdk) -> bool:
        return alice.group(GroupId(place.facts["other"])).state == "leaving"


# ------------------------------------------------------------------ commits


class Stage(Once):
    """A commit is made and kept until it is known to be published."""

    name = "commit_stage"
    what = "a staged commit"

    def call(self, place: Place, context: Context) -> Any:
        event = context.alice.update_group(GroupId(place.facts["group"]), name="Supper").event
        return event.to_json() if event else None

    def there(self, _place: Place, alice: Mdk) -> bool:
        return len(alice.pending()) == 1

    def follow(self, place: Place, alice: Mdk, bob: Mdk) -> None:
        (pending,) = alice.pending()
        event, _ = publish(pending)
        assert event is not None
        took(bob.process(event), "our commit")
        group = GroupId(place.facts["group"])
        require(bob.group(group).epoch == alice.group(group).epoch, "broken", "epochs differ")


class Confirm(Operation):
    """A published commit is merged; it adds a member, who must be able to join."""

    name = "commit_confirm"

    def setup(self, place: Place) -> None:
        spare = SignedEvent.from_json(place.facts["spare"])
        with place.alice() as alice:
            pending = alice.add_members(GroupId(place.facts["group"]), [spare])
            assert pending.event is not None
            place.learn(
                commit=pending.event.to_json(),
                added=pending.welcomes[0].to_json(),
                epoch=alice.group(GroupId(place.facts["group"])).epoch,
            )

    def prepare(self, place: Place) -> Context:
        context = super().prepare(place)
        self.reopened(place, context)
        return context

    def reopened(self, _place: Place, context: Context) -> None:
        (context.pending,) = context.alice.pending()

    def call(self, _place: Place, context: Context) -> Any:
        assert context.pending is not None
        return context.pending.confirm().epoch

    def repeat(self, _place: Place, alice: Mdk) -> None:
        for pending in alice.pending():
            pending.confirm()

    def check_acknowledged(self, place: Place, alice: Mdk) -> None:
        epoch = alice.group(GroupId(place.facts["group"])).epoch
        require(epoch == place.facts["epoch"] + 1, "lost", "a confirmed commit")

    def follow(self, place: Place, alice: Mdk, bob: Mdk) -> None:
        facts = place.facts
        group = GroupId(facts["group"])
        took(bob.process(facts["commit"]), "our commit")
        require(bob.group(group).epoch == alice.group(group).epoch, "broken", "epochs differ")
        with place.peer("carol") as carol:
            took(carol.process(facts["added"]), "our Welcome")
            (invite,) = carol.invites()
            carol.accept(invite.id)
            talk(alice, carol, group)


class Discard(Confirm):
    """A commit that could not be published is forgotten."""

    name = "commit_discard"

    def call(self, _place: Place, context: Context) -> Any:
        assert context.pending is not None
        context.pending.discard()
        return "discarded"

    def repeat(self, _place: Place, alice: Mdk) -> None:
        for pending in alice.pending():
            pending.discard()

    def check_acknowledged(self, _place: Place, alice: Mdk) -> None:
        require(not alice.pending(), "broken", "a discarded commit is pending")

    def follow(self, place: Place, alice: Mdk, bob: Mdk) -> None:
        group = GroupId(place.facts["group"])
        require(bob.group(group).epoch == alice.group(group).epoch, "broken", "epochs differ")


class CreateGroup(Once):
    name = "create_group"
    what = "a founded group"

    def call(self, place: Place, context: Context) -> Any:
        spare = SignedEvent.from_json(place.facts["spare"])
        pending = context.alice.create_group("Tea", members=[spare], relays=["wss://relay.example"])
        return pending.confirm().id

    def repeat(self, place: Place, alice: Mdk) -> None:
        for pending in alice.pending():
            pending.discard()
        super().repeat(place, alice)

    def recover(self, place: Place, context: Context, before: Any, reopen: bool) -> dict[str, Any]:
        # Two calls: the error may have come between them, with the commit staged.
        for pending in context.alice.pending():
            pending.discard()
        report = super().recover(place, context, before, reopen)
        return report | {"unchanged": True}

    def there(self, _place: Place, alice: Mdk) -> bool:
        return any(g.name == "Tea" for g in alice.groups())
