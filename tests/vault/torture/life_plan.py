"""What a life of an account is made of: calls of all kinds, in an order that is drawn."""

from __future__ import annotations

import random
import shutil
from datetime import timedelta
from typing import Any

from tests.vault.kit import RELAYS

from mdk import GroupId, Mdk

from .life import FILES, Step, peers
from .world import Place, publish

# How many groups of its own an account keeps.
KEPT = 3
# A backup takes its time on purpose.
WHOLE = ["verify", "rekey", "verify", "rekey", "backup"]
# Calls that follow each other in this order, others in between; what is in one list is done together.
Line = list[list[Step]]


def plan(place: Place, rng: random.Random) -> list[Step]:
    """What peers send in it is made here, before."""
    number = place.facts.get("lives", 0) + 1
    clock = place.clock()
    # Commits of the life before have settled by now.
    clock.advance(timedelta(seconds=10))
    place.learn(now=clock.now.isoformat(), lives=number)
    with place.alice() as alice, peers(place) as others:
        alice.settle()
        lines = [
            *talk(place, others["bob"], number),
            *invites(alice, others["carol"], number),
            *own_groups(alice, others, number),
            commit(place, others["bob"], number, ours=rng.random() < 0.5),
            [[{"do": "key_package"}], [{"do": "drop_key_package"}], [{"do": "tick"}]],
            [[{"do": "reopen"}], [{"do": rng.choice(WHOLE), "name": f"backup-{number}"}]],
            [[other_database(place, rng.choice(sorted(FILES)), number)]] * (rng.random() < 0.5),
        ]
    order = [line for line in lines for _ in line]
    rng.shuffle(order)
    return [step for line in order for step in line.pop(0)]


def talk(place: Place, bob: Mdk, number: int) -> list[Line]:
    group = GroupId(place.facts["group"])
    main = {"group": group}
    heard = [bob.create_message(group, f"heard {number}.{n}").event.to_json() for n in range(8)]
    text, new, second = f"said {number}", f"edited {number}", f"second {number}"
    return [
        [[{"do": "receive", "events": [event]}] for event in heard[:5]],
        [[{"do": "receive", "events": heard[5:]}], [{"do": "read"} | main]],
        [
            [{"do": "send", "text": text} | main],
            [{"do": "react", "text": text} | main],
            [{"do": "edit", "text": text, "new": new} | main],
            [{"do": "send", "text": second} | main],
            [{"do": "delete", "text": new} | main],
        ],
    ]


def commit(place: Place, bob: Mdk, number: int, *, ours: bool) -> Line:
    """Of the group that bob is in: by one of the two."""
    group, name = GroupId(place.facts["group"]), f"Lunch {number}"
    if ours:
        return [change(group, "rename", name=name)]
    event, _ = publish(bob.update_group(group, name=name))
    assert event is not None
    return [[{"do": "receive", "events": [event.to_json()], "commit": True}]]


def change(group: str, do: str, then: str = "confirm", **more: Any) -> list[Step]:
    return [{"do": do, "group": group} | more, {"do": then}]


def invites(alice: Mdk, carol: Mdk, number: int) -> list[Line]:
    """One is accepted, one declined; and a group that was joined in an earlier life is left."""
    lines: list[Line] = []
    for what in ("accept", "decline"):
        invited = alice.new_key_package(relays=RELAYS)
        pending = carol.create_group(f"{what} {number}", members=[invited], relays=RELAYS)
        _, (welcome,) = publish(pending)
        lines.append([[{"do": "receive", "events": [welcome.to_json()]}, {"do": what}]])
    joined = [g.id for g in alice.groups() if g.state == "active" and g.name.startswith("accept")]
    return lines + [[[{"do": "leave", "group": group}]] for group in joined[:1]]


def own_groups(alice: Mdk, others: dict[str, Mdk], number: int) -> list[Line]:
    """A new one gets members and an admin; the oldest loses them and is ended; and one that has ended is deleted."""
    who = {name: peer.public_key for name, peer in others.items()}
    found = [group for group in alice.groups() if group.name.startswith("own")]
    active = sorted((g.name, g.id) for g in found if g.state == "active")
    lines: list[Line] = [
        [[{"do": "delete_group", "group": g.id}]] for g in found if g.state == "disbanded"
    ]
    if len(active) < KEPT:
        packages = {n: p.new_key_package(relays=RELAYS).to_json() for n, p in others.items()}
        name = f"own {number}"
        create = [{"do": "create", "name": name, "package": packages["carol"]}, {"do": "confirm"}]
        add = change(name, "add", package=packages["bob"])
        lines.append([create, add, change(name, "promote", who=who["carol"].hex)])
    oldest = active[0][1]
    members = {member.public_key: member.is_admin for member in alice.members(oldest)}
    line = [change(oldest, "draft", "discard", name=f"own {number}, never")]
    if members[who["carol"]]:
        line.append(change(oldest, "demote", who=who["carol"].hex))
    if who["bob"] in members:
        line.append(change(oldest, "remove", who=who["bob"].hex))
    if len(active) > 1:
        line.append(change(oldest, "disband"))
    return [*lines, line]


def other_database(place: Place, do: str, number: int) -> Step:
    """One that is made in a folder of its own."""
    folder = f"{do}-{number}"
    if do == "encrypt":
        (place.watched / folder).mkdir(mode=0o700)
        shutil.copy2(place.aside / "plain.db", place.watched / folder / "mdk.db")
    return {"do": do, "name": folder}
