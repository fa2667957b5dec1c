"""Try an installed `marmot-mdk`: run by scripts/wheel.py in a fresh environment, away from the checkout."""

import asyncio
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import mdk
from mdk import Client, DatabaseKey, Keys, Mdk
from mdk.testing import LocalRelay


async def talk() -> str:
    """Two clients over a relay in this process."""
    async with (
        LocalRelay() as relay,
        Client.open(":memory:", relays=[relay.url], name="Alice") as alice,
        Client.open(":memory:", relays=[relay.url], name="Bob") as bob,
    ):
        group = await alice.groups.create("Lunch", [bob.public_key])
        room = await bob.invites.accept(await bob.invites.next(timeout=20))
        await group.send("Soup or sandwich?")
        return (await room.next_message(timeout=20)).text


def main() -> None:
    """Fail loudly, or say one line."""
    place = Path(mdk.__file__).resolve()
    assert Path(sysconfig.get_path("purelib")).resolve() in place.parents, f"imported from {place}"
    assert (place.parent / "py.typed").exists()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "account" / "mdk.db"
        key = DatabaseKey.from_file(path.with_name("mdk.key"))
        keys = Keys.generate()
        with Mdk.open(path, keys=keys, key=key) as account:
            with account.create_group("Notes", relays=["wss://relay.example"]) as pending:
                group = pending.confirm()
            account.create_message(group.id, "remember the milk")
        assert not path.read_bytes().startswith(b"SQLite format 3"), "the database is not encrypted"
        with Mdk.open(path, keys=keys, key=key) as account:
            assert account.messages(group.id)[-1].text == "remember the milk"
            version = account.info.sqlcipher_version
    assert asyncio.run(talk()) == "Soup or sandwich?"
    shown = subprocess.run(
        [sys.executable, "-m", "mdk", "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert mdk.__version__ in shown, shown
    subprocess.run(
        [sys.executable, "-m", "mdk", "demo"], capture_output=True, text=True, check=True
    )
    print(
        f"smoke: mdk {mdk.__version__}, Python {sys.version.split()[0]}, SQLCipher {version}: works"
    )


if __name__ == "__main__":
    main()
