"""Two users, one group, one machine, no internet."""

import asyncio

from mdk import Client
from mdk.testing import LocalRelay


async def main() -> None:
    async with (
        LocalRelay() as relay,
        Client.open(":memory:", relays=[relay.url], name="Alice") as alice,
        Client.open(":memory:", relays=[relay.url], name="Bob") as bob,
    ):
        group = await alice.groups.create("Lunch", [bob.public_key])
        room = await bob.invites.accept(await bob.invites.next(timeout=5))

        await group.send("Soup or sandwich?")
        question = await room.next_message(timeout=5)
        await room.send("Soup.", reply_to=question)
        await group.next_message(timeout=5)

        async for message in group.history(newest_first=False):
            print(f"{message.sender.npub[:12]}: {message.text}")


asyncio.run(main())
