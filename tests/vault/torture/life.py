"""A life of an account: calls over the whole API by a child that may die in any of them, and what must be true then.

A life is lived to its end once, and its state is looked at after each call. Whoever dies in the same life later is
found in the state after the last call that was acknowledged, or, all of it, after the one that was cut short. That one
is made again then and gives what it would have given, and the account and its peers go on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.vault.kit import RELAYS
from tests.vault.sqlcipher_format import MAGIC

import mdk
from mdk import (
    Applied,
    DatabaseKey,
    GroupId,
    Mdk,
    Member,
    Message,
    Outcome,
    PendingCommit,
    SignedEvent,
)

from .operation import check_files, opened
from .world import PASSPHRASE, Broken, Place, adopt, decoded, publish, require, talk, took

PAUSE = timedelta(seconds=5)
Step = dict[str, Any]
Tell = Callable[..., None]


@dataclass
class Life:
    """Calls, what each gave, and the state before the first and after each."""

    steps: list[Step]
    results: list[Any] = field(default_factory=list)
    states: list[Any] = field(default_factory=list)


# ------------------------------------------------------------------ the calls


def of(alice: Mdk, step: Step) -> GroupId:
    """The group that a step is about: by its id, or by its name if it is made in this life."""
    wanted = step["group"]
    return next(g.id for g in alice.groups() if wanted in (g.id, g.name))


def message(alice: Mdk, step: Step) -> Message:
    found = alice.messages(of(alice, step), limit=1000)
    return next(message for message in found if message.text == step["text"])


def package(step: Step) -> list[SignedEvent]:
    return [SignedEvent.from_json(step["package"])]


def parts(pending: PendingCommit) -> list[str]:
    """What is published of a commit."""
    events = [*([pending.event] if pending.event else []), *pending.welcomes]
    return [event.to_json() for event in events]


STAGES: dict[str, Callable[[Mdk, Step], PendingCommit]] = {
    "create": lambda a, s: a.create_group(s["name"], members=package(s), relays=RELAYS),
    "rename": lambda a, s: a.update_group(of(a, s), name=s["name"]),
    # One that is given up.
    "draft": lambda a, s: a.update_group(of(a, s), name=s["name"]),
    "add": lambda a, s: a.add_members(of(a, s), package(s)),
    "remove": lambda a, s: a.remove_members(of(a, s), [s["who"]]),
    "promote": lambda a, s: a.promote(of(a, s), [s["who"]]),
    "demote": lambda a, s: a.demote(of(a, s), [s["who"]]),
    "disband": lambda a, s: a.disband(of(a, s)),
}
SAYS: dict[str, Callable[[Mdk, Step], SignedEvent]] = {
    "send": lambda a, s: a.create_message(of(a, s), s["text"]).event,
    "react": lambda a, s: a.react(of(a, s), message(a, s).id, "+").event,
    "edit": lambda a, s: a.edit(of(a, s), message(a, s).id, s["new"]).event,
    "delete": lambda a, s: a.delete(of(a, s), message(a, s).id).event,
    "leave": lambda a, s: a.leave(of(a, s)),
}


def said_of(outcome: Outcome) -> str:
    return f"{type(outcome).__name__} {getattr(outcome, 'reason', '')}".strip()


def _drop(alice: Mdk) -> None:
    alice.delete_key_package(alice.key_packages()[-1].ref)


def _backup(alice: Mdk, archive: Path) -> None:
    alice.backup(archive, passphrase=PASSPHRASE)


def _salvage(place: Place, folder: Path, key: DatabaseKey) -> Any:
    source = place.aside / "whole"
    to, from_key = folder / "mdk.db", DatabaseKey.from_file(source / "key")
    report = mdk.vault.salvage(source / "mdk.db", to, key=from_key, to_key=key)
    require(not decoded(source).damaged, "broken", "the source of a salvage")
    return list(report.missing)


def _encrypt(_place: Place, folder: Path, key: DatabaseKey) -> Any:
    mdk.vault.encrypt_existing(folder / "mdk.db", key=key)


def _restore(place: Place, folder: Path, key: DatabaseKey) -> Any:
    Mdk.restore(place.aside / "archive", folder / "mdk.db", passphrase=PASSPHRASE, key=key)


def _first_open(place: Place, folder: Path, _key: DatabaseKey) -> Any:
    extra(place, folder).close()


FILES: dict[str, Callable[[Place, Path, DatabaseKey], Any]] = {
    "restore": _restore,
    "salvage": _salvage,
    "encrypt": _encrypt,
    "first_open": _first_open,
}
OTHERS: dict[str, Callable[[Place, Mdk, Step], Any]] = {
    "receive": lambda _p, a, s: [said_of(o) for o in a.process_many(s["events"])],
    "confirm": lambda _p, a, _s: a.pending()[0].confirm().epoch,
    "discard": lambda _p, a, _s: a.pending()[0].discard(),
    "accept": lambda _p, a, _s: a.accept(a.invites()[0].id).name,
    "decline": lambda _p, a, _s: a.decline(a.invites()[0].id),
    "delete_group": lambda _p, a, s: a.delete_group(of(a, s)),
    "key_package": lambda _p, a, _s: a.new_key_package(relays=RELAYS).kind,
    "drop_key_package": lambda _p, a, _s: _drop(a),
    "read": lambda _p, a, s: a.mark_read(of(a, s)),
    "tick": lambda _p, a, _s: type(a.tick()).__name__,
    "rekey": lambda _p, a, _s: a.rekey().old_key_kept,
    "verify": lambda _p, a, _s: list(a.verify().problems),
    "backup": lambda p, a, s: _backup(a, p.watched / s["name"]),
}


def extra(place: Place, folder: Path) -> Mdk:
    """A database beside that of the account."""
    key = DatabaseKey.from_file(folder / "key")
    return Mdk.open(folder / "mdk.db", keys=place.keys("alice"), key=key, clock=place.clock())


def call(place: Place, alice: Mdk, step: Step) -> dict[str, Any]:
    """What came of it, and what is to be published."""
    do = step["do"]
    if do in STAGES:
        told = parts(STAGES[do](alice, step))
        return {"told": told if do != "draft" else [], "result": None}
    if do in SAYS:
        return {"told": [SAYS[do](alice, step).to_json()], "result": None}
    if do in FILES:
        folder = place.watched / step["name"]
        return {"result": FILES[do](place, folder, DatabaseKey.from_file(folder / "key"))}
    return {"result": OTHERS[do](place, alice, step)}


def live(
    place: Place, steps: list[Step], tell: Tell, look: Callable[[Mdk], None] = lambda _: None
) -> None:
    """Opens the account and does the steps, saying before and after each where it is."""
    clock = place.clock()
    tell(begin=-1)
    alice = place.alice(clock)
    tell(end=-1)
    look(alice)
    for n, step in enumerate(steps):
        # No choice between branches is open for as long.
        clock.advance(PAUSE)
        tell(begin=n)
        if step["do"] == "reopen":
            alice.close()
            alice = place.alice(clock)
            tell(end=n, result=None)
        else:
            tell(end=n, **call(place, alice, step))
        look(alice)
    tell(begin=len(steps))
    alice.close()
    tell(end=len(steps))


# ------------------------------------------------------------------ states


def state(place: Place, alice: Mdk, beside: dict[str, Any] | None = None) -> Any:
    """All that a user sees, but for ids; and what other databases there are, if it is not known."""
    names = {place.keys(name).public_key: name for name in place.facts["accounts"]}
    groups = {
        group.name: [
            str(group.state),
            group.epoch,
            group.unread_count,
            sorted(
                (names[m.public_key], m.is_admin)
                for m in (alice.members(group.id) if group.state == "active" else [])
            ),
            sorted(
                (m.text or "", m.deleted, m.edited, m.is_mine, len(m.reactions))
                for m in alice.messages(group.id, limit=1000)
            ),
        ]
        for group in alice.groups()
    }
    return {
        "groups": groups,
        "pending": len(alice.pending()),
        "invites": sorted(invite.group_name for invite in alice.invites()),
        "packages": len(alice.key_packages()),
        "files": dict(files(place)) if beside is None else beside,
    }


def files(place: Place) -> Iterator[tuple[str, Any]]:
    for path in sorted(place.watched.iterdir()):
        database = path / "mdk.db"
        if path.is_file() and not path.suffix:
            yield path.name, "a backup"
        elif path != place.account and database.exists():
            if database.read_bytes().startswith(MAGIC):
                yield path.name, "plain"
                continue
            with extra(place, path) as other:
                texts = [[m.text for m in other.messages(g.id, limit=1000)] for g in other.groups()]
            plain = [file.name for file in path.iterdir() if MAGIC in file.read_bytes()]
            require(not plain, "left_over", f"plain text in {plain}")
            yield path.name, sorted(texts)


# ------------------------------------------------------------------ a life is planned, lived and judged


@contextmanager
def peers(place: Place) -> Iterator[dict[str, Mdk]]:
    clock = place.clock()
    with place.peer("bob", clock) as bob, place.peer("carol", clock) as carol:
        yield {"bob": bob, "carol": carol}


def begin(place: Place) -> None:
    """A group of its own; and the account as it is then, closed: as it is, plain, and as a backup."""
    with place.alice() as alice, place.peer("carol") as carol:
        for event in place.facts["messages"]:
            took(alice.process(event), "a message")
        invited = carol.new_key_package(relays=RELAYS)
        _, (welcome,) = publish(alice.create_group("own 0", members=[invited], relays=RELAYS))
        took(carol.process(welcome), "our Welcome")
        carol.accept(carol.invites()[0].id)
        alice.backup(place.aside / "archive", passphrase=PASSPHRASE)
    whole = place.aside / "whole"
    shutil.copytree(place.account, whole)
    for record in whole.glob("*.keyinfo"):
        adopt(record)
    (place.aside / "plain.db").write_bytes(decoded(whole).image())
    (place.aside / "plain.db").chmod(0o600)


def lived(place: Place, steps: list[Step]) -> Life:
    """Lives it to its end."""
    life = Life(steps)

    def tell(**record: Any) -> None:
        if 0 <= record.get("end", -1) < len(steps):
            life.results.append(record["result"])

    def look(alice: Mdk) -> None:
        last = steps[len(life.states) - 1]["do"] if life.states else "backup"
        fresh = last == "backup" or last in FILES
        life.states.append(state(place, alice, None if fresh else life.states[-1]["files"]))

    live(place, steps, tell, look)
    return life


@dataclass
class Heard:
    """What a child said, put in order."""

    done: list[dict[str, Any]] = field(default_factory=list)
    # The call that it died in, or -1 and behind the last when it opened and closed.
    flight: int | None = None


def sort_out(steps: list[Step], said: list[dict[str, Any]]) -> Heard:
    heard = Heard()
    for record in said:
        if "crash" in record:
            raise Broken("broken", f"the child failed: {record['crash']}")
        if "begin" in record:
            heard.flight = record["begin"]
        elif "end" in record:
            heard.flight = None
            if 0 <= record["end"] < len(steps):
                heard.done.append(record)
    return heard


def judge(place: Place, life: Life, heard: Heard) -> None:
    """Holds what is on the disk against what was acknowledged, and brings account and peers to the same state."""
    done, told = len(heard.done), [event for one in heard.done for event in one.get("told", [])]
    clock = place.clock()
    clock.advance(PAUSE * (len(life.steps) + 2))
    place.learn(now=clock.now.isoformat())
    results = [one["result"] for one in heard.done]
    require(
        results == life.results[:done], "broken", f"{results[-1:]}, not {life.results[:done][-1:]}"
    )
    alice = opened(place)
    try:
        now = state(place, alice)
        if heard.flight == done < len(life.steps):
            told += repeated(place, alice, life, done, now)
            now, done = state(place, alice), done + 1
        if now != life.states[done]:
            known = now in life.states
            raise Broken("lost" if known else "broken", difference(life.states[done], now))
        for step in life.steps[done:]:
            # The peer made this commit before the life began.
            if step.get("commit"):
                took(alice.process(step["events"][0]), "a commit")
        for pending in alice.pending():
            told += [event for event in parts(pending) if event not in told]
            pending.confirm()
        go_on(place, alice, told)
    finally:
        alice.close()
    check_files(place)
    for path in place.watched.iterdir():
        if path.is_dir() and path != place.account:
            shutil.rmtree(path)


def repeated(place: Place, alice: Mdk, life: Life, n: int, now: Any) -> list[str]:
    """The call that was cut short, again if it had no effect; what is to be published of it."""
    step = life.steps[n]
    if now == life.states[n] and step["do"] != "reopen":
        again = call(place, alice, step)
        require(again["result"] == life.results[n], "broken", f"again: {again['result']}")
        return list(again.get("told", []))
    if step["do"] == "receive":
        for outcome in alice.process_many(step["events"]):
            took(outcome, "an event again")
    return []


def difference(wanted: Any, found: Any) -> str:
    """Where two states differ."""
    if not isinstance(wanted, dict) or not isinstance(found, dict):
        return f"{wanted!r:.500} became {found!r:.500}"
    differ = [k for k in wanted | found if wanted.get(k) != found.get(k)]
    return "; ".join(f"{k}: {difference(wanted.get(k), found.get(k))}" for k in differ)


def roles(members: list[Member]) -> set[tuple[str, bool]]:
    return {(member.public_key.hex, member.is_admin) for member in members}


def go_on(place: Place, alice: Mdk, told: list[str]) -> None:
    """The peers learn, in their order, what was published, and see what the account sees."""
    with peers(place) as others:
        for event in told:
            outcomes = [peer.process(event) for peer in others.values()]
            require(any(isinstance(o, Applied) for o in outcomes), "broken", f"{outcomes!r:.200}")
            for outcome in outcomes:
                for reply in outcome.reply:
                    took(alice.process(reply), "an answer of a peer")
            for peer in others.values():
                for invite in peer.invites():
                    peer.accept(invite.id)
        names = {peer.public_key: peer for peer in others.values()}
        for group in (group for group in alice.groups() if group.state == "active"):
            members = alice.members(group.id)
            for peer in (names[m.public_key] for m in members if m.public_key in names):
                theirs = peer.group(group.id)
                require(theirs.epoch == group.epoch, "broken", f"{group.name}: epochs differ")
                require(theirs.name == group.name, "broken", f"{group.name}: names differ")
                same = roles(peer.members(group.id)) == roles(members)
                require(same, "broken", f"{group.name}: members differ")
                talk(alice, peer, group.id)
