"""Two clients, one group, a relay in this process: `python -m mdk.demo`. No internet.

Each client has an encrypted database in a temporary directory, and speaks to the relay on loopback as it would to any.
"""

import asyncio
import os
import tempfile
import time
from pathlib import Path

from . import Client, DatabaseKey, Group, Keys
from .testing import LocalRelay

PATIENCE = 10.0
"""Seconds to wait for what comes at once."""
GIFT_WRAP, GROUP_MESSAGE = 1059, 445


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


def say(who: str, what: str) -> None:
    """Print one line of the play."""
    print(f"  {who:<6} {what}", flush=True)


def describe(group: Group) -> str:
    """Describe a group in a few words."""
    return f"“{group.name}”, {group.info.member_count} members, epoch {group.info.epoch}"


async def play(folder: Path) -> None:
    """Play the whole story."""
    async with LocalRelay() as relay:
        print("Connect")
        say("relay", f"listens on {relay.url}")
        alice, bob = Person("Alice", folder, relay), Person("Bob", folder, relay)
        async with alice.client() as hers:
            say("Alice", f"is {hers.npub[:20]}…, reachable")
            async with bob.client() as his:
                say("Bob", f"is {his.npub[:20]}…, reachable")
                group = await chat(alice, hers, bob, his)

            print("Away")
            await group.send("Are you still there?")
            say("Alice", "writes while Bob is not running")
            async with bob.client() as his:
                room = his.groups[group.id]
                missed = await room.next_message(PATIENCE)
                say("Bob", f"comes back and reads  {missed.text}")

                print("What Bob keeps")
                async for message in room.history(newest_first=False):
                    author = "Bob" if message.is_mine else "Alice"
                    reactions = " ".join(reaction.emoji for reaction in message.reactions)
                    say(author, f"{message.text} {reactions}".rstrip())
        print("What the relay knows")
        print(
            f"  {relay.count(GROUP_MESSAGE)} events of a group and {relay.count(GIFT_WRAP)} gift wrap,"
            " all encrypted, from keys used once"
        )
    size = bob.path.stat().st_size
    head = bob.path.read_bytes()[:8].hex(" ")
    print(f"  Bob's file: {size // 1024} KiB that begin with {head}: SQLCipher, not SQLite")


async def chat(alice: Person, hers: Client, bob: Person, his: Client) -> Group:
    """An invite, a question, an answer, a reaction, fresh keys."""
    print("Invite")
    group = await hers.groups.create("Lunch", [his.public_key])
    say(alice.name, f"founds {describe(group)}")
    room = await his.invites.accept(await his.invites.next(PATIENCE))
    say(bob.name, f"joins  {describe(room)}")

    print("Chat")
    await group.send("Soup or sandwich?")
    question = await room.next_message(PATIENCE)
    say(bob.name, f"reads  {question.text}")
    await room.send("Soup.", reply_to=question)
    answer = await group.next_message(PATIENCE)
    say(alice.name, f"reads  {answer.text}")
    await group.react(answer, "🥣")
    say(alice.name, "reacts 🥣")

    print("Fresh keys")
    await group.self_update()
    say(alice.name, f"is at epoch {group.info.epoch}")
    await hers.outbox.flush(PATIENCE)
    await his.sync()
    say(bob.name, f"is at epoch {room.info.epoch}")
    return group


def main() -> None:
    """Run the demo in a temporary directory and say how long it took."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mdk-demo-") as folder:
        asyncio.run(play(Path(folder)))
    print(f"Done in {time.monotonic() - started:.2f} s.")


if __name__ == "__main__":
    main()
