"""Two clients, one group, a relay in this process: `mdk demo`. No internet.

Each client has an encrypted database in a temporary directory, and speaks to the relay on loopback as it would to any.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from . import Client, DatabaseKey, Group, Keys
from .testing import LocalRelay

PATIENCE = 10.0
"""Seconds to wait for what comes at once."""
GIFT_WRAP, GROUP_MESSAGE = 1059, 445
Tell: TypeAlias = Callable[[str], None]
"""What shows a line of the play, or leaves it out."""


@dataclass(frozen=True, slots=True)
class Line:
    """A message, as Bob keeps it."""

    author: str
    text: str
    reactions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What there is when the play is over."""

    group: str
    members: int
    epoch: int
    messages: tuple[Line, ...]
    """Oldest first."""
    group_events: int
    """What the relay has seen of the group."""
    gift_wraps: int
    """Invites that the relay has seen."""
    database_bytes: int
    """Of Bob's file."""
    database_head: str
    """Its first eight bytes, in hex: no database of SQLite begins like this."""
    seconds: float


class Person:
    """Somebody with a name, an account and a database on disk."""

    def __init__(self, name: str, folder: Path, relay: LocalRelay) -> None:
        """Nothing is opened yet."""
        self.name: str = name
        self.path: Path = folder / name.lower() / "mdk.db"
        self._keys = Keys.generate()
        self._key = DatabaseKey.raw(os.urandom(32))
        self._relay = relay

    def client(self) -> Client:
        """The account, as it is now."""
        return Client.open(
            self.path, keys=self._keys, key=self._key, relays=[self._relay.url], name=self.name
        )


def show(line: str) -> None:
    """Print one line of the play at once."""
    print(line, flush=True)


def leave_out(line: str) -> None:
    """Print nothing."""


def said(who: str, what: str) -> str:
    """Write a line of one of them."""
    return f"  {who:<6} {what}"


def describe(group: Group) -> str:
    """Describe a group in a few words."""
    return f"“{group.name}”, {group.info.member_count} members, epoch {group.info.epoch}"


async def play(folder: Path, tell: Tell) -> Outcome:
    """Play the whole story."""
    started = time.monotonic()
    async with LocalRelay() as relay:
        tell("Connect")
        tell(said("relay", f"listens on {relay.url}"))
        alice, bob = Person("Alice", folder, relay), Person("Bob", folder, relay)
        async with alice.client() as hers:
            tell(said("Alice", f"is {hers.npub[:20]}…, reachable"))
            async with bob.client() as his:
                tell(said("Bob", f"is {his.npub[:20]}…, reachable"))
                group = await chat(hers, his, tell)

            tell("Away")
            await group.send("Are you still there?")
            tell(said("Alice", "writes while Bob is not running"))
            async with bob.client() as his:
                room = his.groups[group.id]
                missed = await room.next_message(PATIENCE)
                tell(said("Bob", f"comes back and reads  {missed.text}"))

                tell("What Bob keeps")
                messages: list[Line] = []
                async for message in room.history(newest_first=False):
                    author = "Bob" if message.is_mine else "Alice"
                    reactions = tuple(reaction.emoji for reaction in message.reactions)
                    messages.append(Line(author, message.text, reactions))
                    tell(said(author, f"{message.text} {' '.join(reactions)}".rstrip()))
                info = room.info
        events, wraps = relay.count(GROUP_MESSAGE), relay.count(GIFT_WRAP)
        tell("What the relay knows")
        tell(
            f"  {events} events of a group and {wraps} gift wrap, all encrypted, from keys used once"
        )
    size = bob.path.stat().st_size
    head = bob.path.read_bytes()[:8].hex(" ")
    tell(f"  Bob's file: {size // 1024} KiB that begin with {head}: SQLCipher, not SQLite")
    return Outcome(
        group=info.name,
        members=info.member_count,
        epoch=info.epoch,
        messages=tuple(messages),
        group_events=events,
        gift_wraps=wraps,
        database_bytes=size,
        database_head=head,
        seconds=round(time.monotonic() - started, 2),
    )


async def chat(hers: Client, his: Client, tell: Tell) -> Group:
    """An invite, a question, an answer, a reaction, fresh keys."""
    tell("Invite")
    group = await hers.groups.create("Lunch", [his.public_key])
    tell(said("Alice", f"founds {describe(group)}"))
    room = await his.invites.accept(await his.invites.next(PATIENCE))
    tell(said("Bob", f"joins  {describe(room)}"))

    tell("Chat")
    await group.send("Soup or sandwich?")
    question = await room.next_message(PATIENCE)
    tell(said("Bob", f"reads  {question.text}"))
    await room.send("Soup.", reply_to=question)
    answer = await group.next_message(PATIENCE)
    tell(said("Alice", f"reads  {answer.text}"))
    await group.react(answer, "🥣")
    tell(said("Alice", "reacts 🥣"))

    tell("Fresh keys")
    await group.self_update()
    tell(said("Alice", f"is at epoch {group.info.epoch}"))
    await hers.outbox.flush(PATIENCE)
    await his.sync()
    tell(said("Bob", f"is at epoch {room.info.epoch}"))
    return group


def run(tell: Tell) -> Outcome:
    """Play in a temporary directory, which is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="mdk-demo-") as folder:
        return asyncio.run(play(Path(folder), tell))


def main() -> None:
    """Run the demo and say how long it took."""
    started = time.monotonic()
    run(show)
    show(f"Done in {time.monotonic() - started:.2f} s.")
