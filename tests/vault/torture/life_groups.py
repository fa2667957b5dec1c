"""Steps of a life around groups: members, admins and end of its own; commits given up and invites declined."""

from __future__ import annotations

from typing import Any

from tests.vault.kit import RELAYS

from mdk import GroupId, Mdk, PendingCommit, SignedEvent

from .life_model import Done, Founded, Model, Now, Part, Plan, Step, Tell
from .world import Place, publish, require, talk, took

# How many groups of its own an account keeps.
KEPT = 4


class Change(Part):
    """A commit by the account in a group of its own, which carol is always in, and bob at times."""

    def plan(self, plan: Plan) -> Step | None:
        fit = sorted(group.id for group in plan.founded.values() if self.fits(plan, group))
        if not (plan.changes and fit):
            return None
        plan.changes -= 1
        group = plan.founded[plan.rng.choice(fit)]
        step = {"do": self.name, "group": group.id} | self.details(plan)
        self.apply(plan.founded, step)
        return step

    def fits(self, plan: Plan, group: Founded) -> bool:
        raise NotImplementedError

    def details(self, plan: Plan) -> Step:
        """What the step says beside its group. A key stands for an account."""
        return {name: peer.public_key.hex for name, peer in plan.peers.items()}

    def apply(self, founded: dict[str, Founded], step: Step) -> None:
        """What it comes to."""
        raise NotImplementedError

    def stage(self, alice: Mdk, step: Step) -> PendingCommit:
        raise NotImplementedError

    def call(self, _place: Place, alice: Mdk, step: Step, tell: Tell) -> Any:
        pending = self.stage(alice, step)
        # Said before it is merged, as a relay must have it first.
        tell(published=parts(pending))
        pending.confirm()

    def done(self, now: Now, done: Done) -> None:
        self.publish(now, done.step, done.told)

    def cut(self, now: Now, flight: Done) -> None:
        told = flight.told
        for pending in now.alice.pending():
            require(told in ([], parts(pending)), "broken", "not the commit that was published")
            told = parts(pending)
            pending.confirm()
        if told:
            self.publish(now, flight.step, told)
        # Otherwise it was never made, and `settled` sees that nothing of it is there.

    def publish(self, now: Now, step: Step, told: list[str]) -> None:
        """The others get it, in their order."""
        group = now.model.founded[step["group"]]
        for name in sorted(group.members):
            took(now.peers[name].process(told[0]), f"our {self.name}")
        before = set(group.members)
        self.apply(now.model.founded, step)
        if step["group"] in now.model.founded:
            for name in sorted(group.members - before):
                join(now.peers[name], told[1:])


def parts(pending: PendingCommit) -> list[str]:
    event = pending.event.to_json() if pending.event else ""
    return [event, *(welcome.to_json() for welcome in pending.welcomes)]


def join(peer: Mdk, welcomes: list[str]) -> None:
    for welcome in welcomes:
        took(peer.process(welcome), "our Welcome")
    invites = peer.invites()
    require(len(invites) == 1, "broken", f"{len(invites)} invites came of our Welcome")
    peer.accept(invites[0].id)


class CreateGroup(Change):
    name = "create_group"

    def plan(self, plan: Plan) -> Step | None:
        if not plan.changes or len(plan.founded) >= KEPT:
            return None
        plan.changes -= 1
        package = plan.peers["carol"].new_key_package(relays=RELAYS)
        return {
            "do": self.name,
            "group": None,
            "name": plan.model.next("own"),
            "package": package.to_json(),
        }

    def stage(self, alice: Mdk, step: Step) -> PendingCommit:
        package = SignedEvent.from_json(step["package"])
        return alice.create_group(step["name"], members=[package], relays=RELAYS)

    def publish(self, now: Now, step: Step, told: list[str]) -> None:
        ids = [group.id for group in now.alice.groups() if group.name == step["name"]]
        require(len(ids) == 1, "lost", f"{len(ids)} groups are named {step['name']!r}")
        join(now.peers["carol"], told[1:])
        now.model.founded[ids[0]] = Founded(ids[0], step["name"], {"carol"})


class AddMembers(Change):
    name = "add_members"

    def fits(self, _plan: Plan, group: Founded) -> bool:
        return "bob" not in group.members

    def details(self, plan: Plan) -> Step:
        package = plan.peers["bob"].new_key_package(relays=RELAYS)
        return super().details(plan) | {"package": package.to_json()}

    def apply(self, founded: dict[str, Founded], step: Step) -> None:
        founded[step["group"]].members.add("bob")

    def stage(self, alice: Mdk, step: Step) -> PendingCommit:
        return alice.add_members(GroupId(step["group"]), [SignedEvent.from_json(step["package"])])


class RemoveMembers(Change):
    name = "remove_members"

    def fits(self, _plan: Plan, group: Founded) -> bool:
        return "bob" in group.members

    def apply(self, founded: dict[str, Founded], step: Step) -> None:
        founded[step["group"]].members.discard("bob")

    def stage(self, alice: Mdk, step: Step) -> PendingCommit:
        return alice.remove_members(GroupId(step["group"]), [step["bob"]])

    def publish(self, now: Now, step: Step, told: list[str]) -> None:
        super().publish(now, step, told)
        state = now.peers["bob"].group(GroupId(step["group"])).state
        require(state == "removed", "broken", f"who was removed is {state}")


class Promote(Change):
    name = "promote"

    def fits(self, _plan: Plan, group: Founded) -> bool:
        return "carol" not in group.admins

    def apply(self, founded: dict[str, Founded], step: Step) -> None:
        founded[step["group"]].admins.add("carol")

    def stage(self, alice: Mdk, step: Step) -> PendingCommit:
        return alice.promote(GroupId(step["group"]), [step["carol"]])


class Demote(Change):
    name = "demote"

    def fits(self, _plan: Plan, group: Founded) -> bool:
        return "carol" in group.admins

    def apply(self, founded: dict[str, Founded], step: Step) -> None:
        founded[step["group"]].admins.discard("carol")

    def stage(self, alice: Mdk, step: Step) -> PendingCommit:
        return alice.demote(GroupId(step["group"]), [step["carol"]])


class Disband(Change):
    name = "disband"

    def fits(self, plan: Plan, _group: Founded) -> bool:
        # One is kept, to be changed.
        return len(plan.founded) > 1

    def apply(self, founded: dict[str, Founded], step: Step) -> None:
        del founded[step["group"]]

    def stage(self, alice: Mdk, step: Step) -> PendingCommit:
        return alice.disband(GroupId(step["group"]))

    def publish(self, now: Now, step: Step, told: list[str]) -> None:
        super().publish(now, step, told)
        now.model.ended.append(step["group"])
        state = now.peers["carol"].group(GroupId(step["group"])).state
        require(state == "disbanded", "broken", f"there it is {state}")


class DeleteGroup(Part):
    """A group that the account ended goes with all that was said in it: whole, and for good."""

    name = "delete_group"

    def plan(self, plan: Plan) -> Step | None:
        if not plan.ended:
            return None
        return {"do": self.name, "group": plan.ended.pop()}

    def call(self, _place: Place, alice: Mdk, step: Step, _tell: Tell) -> Any:
        alice.delete_group(GroupId(step["group"]))

    def done(self, now: Now, done: Done) -> None:
        """`settled` sees that it is not there."""
        now.model.ended.remove(done.step["group"])

    def cut(self, now: Now, flight: Done) -> None:
        group = GroupId(flight.step["group"])
        if any(info.id == group for info in now.alice.groups()):
            require(now.alice.group(group).state == "disbanded", "broken", "a half deleted group")
            now.alice.delete_group(group)
        self.done(now, flight)


class Discard(Part):
    """A commit is staged and given up: it is pending or gone, and nothing of it is ever in the group."""

    name = "discard"

    def plan(self, plan: Plan) -> Step | None:
        group = plan.rng.choice(sorted(plan.founded))
        return {"do": self.name, "group": group, "name": plan.model.next("never")}

    def call(self, _place: Place, alice: Mdk, step: Step, _tell: Tell) -> Any:
        alice.update_group(GroupId(step["group"]), name=step["name"]).discard()

    def done(self, _now: Now, _done: Done) -> None:
        """`settled` sees that it is not pending and the group is as it was."""

    def cut(self, now: Now, _flight: Done) -> None:
        for pending in now.alice.pending():
            pending.discard()


class Decline(Part):
    """An invite comes and is declined: it does not come back, and leaves no group."""

    name = "decline"

    def plan(self, plan: Plan) -> Step | None:
        if plan.package is None:
            return None
        package, plan.package, name = plan.package, None, plan.model.next("declined")
        pending = plan.peers["carol"].create_group(name, members=[package], relays=RELAYS)
        _, welcomes = publish(pending)
        return {"do": self.name, "event": welcomes[0].to_json(), "name": name}

    def call(self, _place: Place, alice: Mdk, step: Step, _tell: Tell) -> Any:
        alice.process(step["event"])
        for invite in alice.invites():
            alice.decline(invite.id)

    def done(self, now: Now, done: Done) -> None:
        self.again(now, done.step)
        back = [invite for invite in now.alice.invites() if invite.group_name == done.step["name"]]
        require(not back, "lost", "what was declined is asked again")

    def cut(self, now: Now, flight: Done) -> None:
        self.again(now, flight.step)
        for invite in now.alice.invites():
            now.alice.decline(invite.id)
        self.done(now, flight)

    def again(self, now: Now, step: Step) -> None:
        took(now.alice.process(step["event"]), "a Welcome again")
        active = [g.name for g in now.alice.groups(state=None) if g.state == "active"]
        require(step["name"] not in active, "broken", "joined without being asked")


PARTS: list[Part] = [
    CreateGroup(),
    AddMembers(),
    RemoveMembers(),
    Promote(),
    Demote(),
    Disband(),
    DeleteGroup(),
    Discard(),
    Decline(),
]


def settled(now: Now) -> None:
    """The groups that the account made are those that it was told it has, as it and its peers see them."""
    model, alice, carol = now.model, now.alice, now.peers["carol"]
    keys = {name: peer.public_key for name, peer in now.peers.items()} | {"alice": alice.public_key}
    names = {key: name for name, key in keys.items()}
    there = {g.id: g for g in alice.groups(state=None) if g.name.startswith(("own ", "never "))}
    active = {group for group, info in there.items() if info.state == "active"}
    require(set(model.founded) <= active, "lost", "a group that was made")
    extra = [f"{there[g].name} is {there[g].state}" for g in active - set(model.founded)]
    require(not extra, "lost" if active & set(model.ended) else "broken", f"{extra}")
    ended = {group for group, info in there.items() if info.state == "disbanded"}
    require(set(model.ended) == ended, "lost", "the end of a group, or its deletion")
    for group in model.founded.values():
        require(there[GroupId(group.id)].name == group.name, "broken", "a group's name")
        for view in (alice, carol):
            members = view.members(GroupId(group.id))
            found = {names[m.public_key] for m in members}
            wanted = group.members | {"alice"}
            require(found == wanted, "lost", f"members {sorted(found)}, not {sorted(wanted)}")
            found = {names[m.public_key] for m in members if m.is_admin}
            wanted = group.admins | {"alice"}
            require(found == wanted, "lost", f"admins {sorted(found)}, not {sorted(wanted)}")
        mine, theirs = there[GroupId(group.id)].epoch, carol.group(GroupId(group.id)).epoch
        require(mine == theirs, "broken", f"epoch {mine} here, {theirs} there")
    talk(alice, carol, GroupId(list(model.founded)[-1]))


def begin(model: Model, alice: Mdk, carol: Mdk) -> None:
    """The first group of its own."""
    name, package = model.next("own"), carol.new_key_package(relays=RELAYS)
    _, welcomes = publish(alice.create_group(name, members=[package], relays=RELAYS))
    join(carol, [welcome.to_json() for welcome in welcomes])
    (group,) = (group.id for group in alice.groups() if group.name == name)
    model.founded[group] = Founded(group, name, {"carol"})
