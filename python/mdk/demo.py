"""Two accounts, one group, no network: `python -m mdk.demo`.

Each account has an encrypted database in a temporary directory. What a relay would carry is a list of events.
"""

import os
import tempfile
import time
from pathlib import Path

from . import (
    Applied,
    DatabaseKey,
    GroupInfo,
    Joined,
    Keys,
    Mdk,
    MembersChanged,
    MessageReceived,
    ReactionAdded,
    SignedEvent,
)

RELAYS: list[str] = ["wss://relay.example"]


class Account:
    """One person: keys, a database on disk, and how far along the wire they have read."""

    def __init__(self, name: str, folder: Path, wire: list[SignedEvent]) -> None:
        """Open the account's database for the first time."""
        self.name: str = name
        self.path: Path = folder / name.lower() / "mdk.db"
        self.keys: Keys = Keys.generate()
        self.key: DatabaseKey = DatabaseKey.raw(os.urandom(32))
        self.wire: list[SignedEvent] = wire
        self.read: int = 0
        self.mdk: Mdk = self._open()

    def _open(self) -> Mdk:
        return Mdk.open(self.path, keys=self.keys, key=self.key)

    def restart(self) -> None:
        """Close everything, as a crash or an update would, and open it again."""
        self.mdk.close()
        self.mdk = self._open()

    def catch_up(self) -> None:
        """Process what came since the last look, and say what it meant."""
        for event in self.wire[self.read :]:
            outcome = self.mdk.process(event)
            if isinstance(outcome, Applied):
                for happened in outcome.events:
                    self._tell(happened)
        self.read = len(self.wire)

    def _tell(self, event: object) -> None:
        match event:
            case MessageReceived(message):
                answered = ""
                if message.reply_to is not None:
                    quoted = self.mdk.message(message.group_id, message.reply_to)
                    answered = f"  (to “{quoted.text}”)"
                say(self.name, f"reads  {message.text}{answered}")
            case ReactionAdded(reaction):
                say(self.name, f"sees   {reaction.emoji}")
            case Joined(group):
                say(self.name, f"is in  {describe(group)}")
            case MembersChanged(added, removed):
                say(self.name, f"notes  {len(added)} joined, {len(removed)} removed")
            case _:
                pass


def say(who: str, what: str) -> None:
    """Print one line of the play."""
    print(f"  {who:<6} {what}")


def describe(group: GroupInfo) -> str:
    """Describe a group in a few words."""
    return f"“{group.name}”, {group.member_count} members, epoch {group.epoch}"


def play(folder: Path) -> None:
    """Play the whole story."""
    wire: list[SignedEvent] = []
    alice, bob = Account("Alice", folder, wire), Account("Bob", folder, wire)

    print("Invite")
    package = bob.mdk.new_key_package(relays=RELAYS)
    say("Bob", f"offers a KeyPackage as {str(bob.keys.public_key)[:16]}…")
    with alice.mdk.create_group("Lunch", members=[package], relays=RELAYS) as pending:
        wire.extend(pending.welcomes)
        group = pending.confirm()
    say("Alice", f"founds {describe(group)}")
    bob.catch_up()
    for invite in bob.mdk.invites():
        joined = bob.mdk.accept(invite.id)
        say("Bob", f"joins  {describe(joined)}")

    print("Chat")
    question = alice.mdk.create_message(group.id, "Soup or sandwich?")
    wire.append(question.event)
    say("Alice", f"writes {question.message.text}")
    bob.catch_up()

    bob.restart()
    say("Bob", "restarts; the database is still there, and still encrypted")

    answer = bob.mdk.create_message(group.id, "Soup.", reply_to=question.message.id)
    wire.append(answer.event)
    say("Bob", f"writes {answer.message.text}")
    alice.catch_up()
    liked = alice.mdk.react(group.id, answer.message.id, "🥣")
    wire.append(liked.event)
    say("Alice", "reacts 🥣")
    bob.catch_up()

    print("Fresh keys")
    with alice.mdk.self_update(group.id) as pending:
        assert pending.event is not None
        wire.append(pending.event)
        pending.confirm()
    bob.catch_up()
    say("Alice", f"is at epoch {alice.mdk.group(group.id).epoch}")
    say("Bob", f"is at epoch {bob.mdk.group(group.id).epoch}")

    print("What Bob keeps")
    for message in bob.mdk.messages(group.id):
        author = "Bob" if message.is_mine else "Alice"
        reactions = " ".join(reaction.emoji for reaction in message.reactions)
        say(author, f"{message.text} {reactions}".rstrip())
    size = bob.path.stat().st_size
    head = bob.path.read_bytes()[:8].hex(" ")
    print(f"  on disk {size // 1024} KiB that begin with {head}: SQLCipher, not SQLite")
    alice.mdk.close()
    bob.mdk.close()


def main() -> None:
    """Run the demo in a temporary directory and say how long it took."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mdk-demo-") as folder:
        play(Path(folder))
    print(f"Done in {time.monotonic() - started:.2f} s.")


if __name__ == "__main__":
    main()
