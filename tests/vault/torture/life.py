"""A life of an account: calls over the whole API by a child that may die in any of them, and what must be true then."""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from tests.vault.kit import RELAYS

from mdk import DatabaseKey, EventId, GroupId, Mdk, MessageReceived, Outcome, SignedEvent
from mdk.testing import Clock

from . import life_files, life_groups
from .life_model import Done, Heard, Model, Now, Part, Plan, Step, Tell
from .operation import check_files, opened
from .world import PASSPHRASE, Place, publish, require, talk, took

PARTS: dict[str, Part] = {part.name: part for part in [*life_groups.PARTS, *life_files.PARTS]}
# What a life is made of, by how often. What a part cannot do just then is drawn anew.
CHOICES = [
    *["receive"] * 6,
    *["send"] * 5,
    *["commit"] * 2,
    *["edit"] * 2,
    *PARTS,
    *["receive_many", "react", "delete", "join", "leave", "key_package", "drop_key_package"],
    *["read", "tick", "reopen", "first_open", "rekey", "backup"],
]


# ------------------------------------------------------------------ in the child


def live(place: Place, steps: list[Step], tell: Tell) -> None:
    """Opens the account and does the steps, saying before and after each where it is."""
    clock = place.clock()
    tell(begin=-1, do="open")
    alice = place.alice(clock)
    tell(end=-1)
    for n, step in enumerate(steps):
        tell(begin=n, do=step["do"])
        if step["do"] == "reopen":
            alice.close()
            alice = place.alice(clock)
            tell(end=n, result=None)
        else:
            tell(end=n, result=STEPS[step["do"]](place, alice, step, tell))
    tell(begin=len(steps), do="close")
    alice.close()
    tell(end=len(steps))


def _commit(_place: Place, alice: Mdk, step: Step, tell: Tell) -> Any:
    pending = alice.update_group(GroupId(step["group"]), name=step["name"])
    assert pending.event is not None
    # Said before it is merged, as a relay must have it first.
    tell(published=[pending.event.to_json()])
    return pending.confirm().epoch


def _join(_place: Place, alice: Mdk, step: Step, _tell: Tell) -> Any:
    alice.process(step["event"])
    return [alice.accept(invite.id).id for invite in alice.invites()]


def _first_open(place: Place, _alice: Mdk, step: Step, _tell: Tell) -> Any:
    extra(place, step["name"]).close()


def extra(place: Place, name: str) -> Mdk:
    folder = place.watched / name
    key = DatabaseKey.from_file(folder / "key")
    return Mdk.open(folder / "mdk.db", keys=place.keys("carol"), key=key, clock=place.clock())


def said_of(outcome: Outcome) -> str:
    return f"{type(outcome).__name__} {getattr(outcome, 'reason', '')}".strip()


def _group(step: Step) -> GroupId:
    return GroupId(step["group"])


def _drop(_place: Place, alice: Mdk, _step: Step, _tell: Tell) -> Any:
    for package in alice.key_packages():
        if package.used:
            alice.delete_key_package(package.ref)
            return


def _rekey(_place: Place, alice: Mdk, _step: Step, _tell: Tell) -> Any:
    alice.rekey()


def _backup(place: Place, alice: Mdk, step: Step, _tell: Tell) -> Any:
    alice.backup(place.watched / step["name"], passphrase=PASSPHRASE)


STEPS: dict[str, Callable[[Place, Mdk, Step, Tell], Any]] = {
    "receive": lambda _p, a, s, _t: said_of(a.process(s["event"])),
    "receive_many": lambda _p, a, s, _t: [said_of(o) for o in a.process_many(s["events"])],
    "receive_commit": lambda _p, a, s, _t: said_of(a.process(s["event"])),
    "send": lambda _p, a, s, _t: a.create_message(_group(s), s["text"]).event.to_json(),
    "react": lambda _p, a, s, _t: a.react(_group(s), EventId(s["id"]), "+").event.to_json(),
    "edit": lambda _p, a, s, _t: a.edit(_group(s), EventId(s["id"]), s["text"]).event.to_json(),
    "delete": lambda _p, a, s, _t: a.delete(_group(s), EventId(s["id"])).event.to_json(),
    "commit": _commit,
    "join": _join,
    "leave": lambda _p, a, s, _t: a.leave(_group(s)).to_json(),
    "key_package": lambda _p, a, _s, _t: a.new_key_package(relays=RELAYS).id,
    "drop_key_package": _drop,
    "read": lambda _p, a, s, _t: a.mark_read(_group(s)),
    "tick": lambda _p, a, _s, _t: type(a.tick()).__name__,
    "first_open": _first_open,
    "rekey": _rekey,
    "backup": _backup,
} | {name: part.call for name, part in PARTS.items()}


# ------------------------------------------------------------------ in the parent


def plan_life(
    model: Model,
    place: Place,
    bob: Mdk,
    carol: Mdk,
    clock: Clock,
    rng: random.Random,
    count: int,
    choices: Sequence[str] = CHOICES,
) -> list[Step]:
    """Steps of one life. What peers send in it is made here, before; `clock` is that of the peers."""
    group = model.group
    # Commits of the life before have settled by now.
    clock.advance(timedelta(seconds=10))
    place.learn(now=clock.now.isoformat())
    with place.alice() as alice:
        package, second = (alice.new_key_package(relays=RELAYS) for _ in range(2))
    ours = rng.random() < 0.5
    commits = 2 if ours else 1
    joins = 1
    has_rekey = hasattr(Mdk, "rekey")
    vault = 2 if has_rekey and rng.random() < 0.3 else 0
    peers = {"bob": bob, "carol": carol}
    founded = copy.deepcopy(model.founded)
    plan = Plan(model, place, peers, rng, founded, list(model.ended), second)
    plan.files = 2 if rng.random() < 0.5 else 0

    def message() -> tuple[str, str]:
        # What is not reached before the kill never arrives, as relays may have it.
        text = model.next("from bob")
        return text, bob.create_message(group, text).event.to_json()

    own = dict(model.own)
    joined = list(model.joined)
    steps: list[Step] = []
    while len(steps) < count:
        do = rng.choice(choices)
        if do in PARTS:
            if drawn := PARTS[do].plan(plan):
                steps.append(drawn)
            continue
        step: Step = {"do": do, "group": group}
        match do:
            case "receive":
                step["text"], step["event"] = message()
            case "receive_many":
                many = [message() for _ in range(3)]
                step["texts"], step["events"] = [t for t, _ in many], [e for _, e in many]
            case "send":
                step["text"] = model.next("from alice")
            case "react" | "edit" | "delete" if own:
                step["id"] = rng.choice(sorted(own))
                if do == "edit":
                    step["old"], step["text"] = own[step["id"]], model.next("edited")
                    own[step["id"]] = step["text"]
                elif do == "delete":
                    step["text"] = own.pop(step["id"])
            case "commit" if commits:
                commits -= 1
                if ours:
                    step["name"] = model.next("name")
                else:
                    step["do"], step["name"] = "receive_commit", model.next("name")
                    event, _ = publish(bob.update_group(group, name=step["name"]))
                    assert event is not None
                    step["event"] = event.to_json()
            case "join" if joins:
                joins -= 1
                _, welcomes = publish(
                    carol.create_group(model.next("side"), members=[package], relays=RELAYS)
                )
                step["event"] = welcomes[0].to_json()
            case "leave" if joined:
                step["group"] = joined.pop()
            case "first_open":
                step["name"] = model.next("extra").replace(" ", "-")
            case "rekey" | "backup" if vault:
                vault -= 1
                if do == "backup":
                    step["name"] = model.next("backup").replace(" ", "-")
            case "key_package" | "drop_key_package" | "read" | "tick" | "reopen":
                pass
            case _:
                continue
        steps.append(step)
    return steps


def judge(model: Model, place: Place, bob: Mdk, carol: Mdk, heard: Heard) -> None:
    """Holds what is on the disk against what was acknowledged, and brings model and peers to the same state."""
    alice = opened(place)
    try:
        _judge(model, place, alice, bob, carol, heard)
        talk(alice, bob, model.group)
    finally:
        alice.close()
    check_files(place)


def _judge(model: Model, place: Place, alice: Mdk, bob: Mdk, carol: Mdk, heard: Heard) -> None:
    present = Counter(m.text for m in alice.messages(model.group, limit=10_000) if not m.deleted)
    cut = heard.flight or Done({"do": None})
    flight = cut.step
    may_go: set[str] = set()
    may_come: set[str] = set()
    for done in heard.done:
        step, result = done.step, done.result
        match step["do"]:
            case "receive" | "receive_many":
                results = result if isinstance(result, list) else [result]
                require(set(results) <= {"Applied"}, "broken", f"received: {results}")
                model.texts.update(step.get("texts", [step.get("text")]))
            case "send":
                model.texts.add(step["text"])
            case "edit":
                model.texts.discard(step["old"])
                model.texts.add(step["text"])
            case "delete":
                model.texts.discard(step["text"])
                model.deleted.add(step["id"])
            case "commit" | "receive_commit":
                model.name = step["name"]
    match flight["do"]:
        case "send" | "receive":
            may_come = {flight["text"]}
        case "receive_many":
            may_come = set(flight["texts"])
        case "edit":
            may_go, may_come = {flight["old"]}, {flight["text"]}
            both = [flight["old"] in present, flight["text"] in present]
            require(sum(both) == 1, "broken", "half an edit")
        case "delete":
            may_go = {flight["text"]}
    lost = model.texts - may_go - set(present)
    require(not lost, "lost", f"{sorted(lost)[:5]}")
    ghosts = set(present) - model.texts - may_come - {"still there?"}
    require(not ghosts, "broken", f"never acknowledged: {sorted(ghosts)[:5]}")
    twice = [t for t, n in present.items() if n > 1 and t != "still there?"]
    require(not twice, "broken", f"twice: {twice[:5]}")
    if flight["do"] == "receive_many":
        there = [t in present for t in flight["texts"]]
        require(all(there) or not any(there), "broken", "half a transaction")

    # The peer learns, in their order, what was published.
    now = Now(model, place, alice, {"bob": bob, "carol": carol})
    for done in heard.done:
        step, result = done.step, done.result
        if step["do"] in PARTS:
            PARTS[step["do"]].done(now, done)
        match step["do"]:
            case "send":
                outcome = bob.process(result)
                took(outcome, "a message of ours")
                for event in outcome.events:
                    if isinstance(event, MessageReceived):
                        model.own[event.message.id] = event.message.text
            case "react":
                bob.process(result)
            case "edit":
                _edited(model, bob, step, result)
            case "delete":
                took(bob.process(result), "a deletion of ours")
                require(alice.message(model.group, step["id"]).deleted, "lost", "a deletion")
                model.own.pop(step["id"], None)
            case "commit":
                took(bob.process(done.told[0]), "our commit")
            case "join":
                model.joined.extend(result)
            case "leave":
                _left(model, alice, carol, step, result)
            case "first_open":
                require((place.watched / step["name"] / "mdk.db").exists(), "lost", "a database")
                extra(place, step["name"]).close()
            case "backup":
                require((place.watched / step["name"]).exists(), "lost", "a backup")
    _land(now, bob, cut, present)
    life_groups.settled(now)
    for step in heard.unbegun:
        # The peer made this commit before the life began.
        if step["do"] == "receive_commit":
            took(alice.process(step["event"]), "a commit")
            model.name = step["name"]
    name = alice.group(model.group).name
    require(name == model.name, "lost", f"the group is named {name!r}, not {model.name!r}")
    mine, theirs = alice.group(model.group).epoch, bob.group(model.group).epoch
    require(mine == theirs, "broken", f"epoch {mine} here, {theirs} there")
    for group in model.joined[-1:]:
        if alice.group(GroupId(group)).state == "active":
            talk(alice, carol, GroupId(group))


def _land(now: Now, bob: Mdk, cut: Done, present: Counter[str]) -> None:
    """The call that was cut short: repeated, as its user would, with the result that it would have had."""
    model, place, alice, flight = now.model, now.place, now.alice, cut.step
    if flight["do"] in PARTS:
        PARTS[flight["do"]].cut(now, cut)
    match flight["do"]:
        case "receive":
            took(alice.process(flight["event"]), "an event again")
            model.texts.add(flight["text"])
        case "receive_many":
            for outcome in alice.process_many(flight["events"]):
                took(outcome, "an event again")
            model.texts.update(flight["texts"])
        case "receive_commit":
            took(alice.process(flight["event"]), "a commit again")
            model.name = flight["name"]
        case "send" if flight["text"] in present:
            model.texts.add(flight["text"])
        case "edit":
            edit = alice.edit(model.group, EventId(flight["id"]), flight["text"])
            _edited(model, bob, flight, edit.event.to_json())
            model.texts.discard(flight["old"])
            model.texts.add(flight["text"])
        case "delete":
            if flight["text"] not in present:
                model.texts.discard(flight["text"])
            model.own.pop(flight["id"], None)
        case "commit":
            for pending in alice.pending():
                event, _ = publish(pending)
                assert event is not None
                took(bob.process(event), "our commit")
                model.name = flight["name"]
                cut.told.clear()
            for text in cut.told:
                took(bob.process(text), "our commit")
                model.name = flight["name"]
        case "join":
            took(alice.process(flight["event"]), "a Welcome again")
            model.joined += [alice.accept(invite.id).id for invite in alice.invites()]
        case "first_open":
            extra(place, flight["name"]).close()
        case "leave":
            state = alice.group(GroupId(flight["group"])).state
            require(state in {"active", "leaving"}, "broken", f"leaving made it {state}")
            if flight["group"] in model.joined:
                model.joined.remove(flight["group"])
    require(not alice.pending(), "broken", "a commit is pending that nobody made")
    got = {m.text for m in alice.messages(model.group, limit=10_000)}
    require(model.texts <= got, "lost", "still missing after the repeated call")


def _edited(model: Model, bob: Mdk, step: Step, event: str) -> None:
    took(bob.process(event), "an edit of ours")
    text = bob.message(model.group, EventId(step["id"])).text
    require(text == step["text"], "broken", f"an edit to {step['text']!r} came as {text!r}")
    model.own[step["id"]] = step["text"]


def _left(model: Model, alice: Mdk, carol: Mdk, step: Step, proposal: str) -> None:
    group = GroupId(step["group"])
    require(alice.group(group).state == "leaving", "lost", "a leave")
    model.joined.remove(step["group"])
    for event in carol.process(SignedEvent.from_json(proposal)).reply:
        took(alice.process(event), "the answer to a leave")
    require(alice.group(group).state == "left", "broken", "a leave that was answered")


def begin(place: Place) -> Model:
    """The model of a fresh world."""
    model = Model(GroupId(place.facts["group"]))
    with place.alice() as alice, place.peer("carol") as carol:
        # The world's own messages of the peer are not used here.
        for event in place.facts["messages"]:
            took(alice.process(event), "a message")
        model.texts = {m.text for m in alice.messages(model.group, limit=1000)}
        life_groups.begin(model, alice, carol)
    life_files.begin(model, place)
    return model
