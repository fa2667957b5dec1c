"""A backup is one encrypted file. Restoring it is a move: the old copy must not run again."""

import asyncio

from mdk import Client, DatabaseKey
from mdk.errors import WrongPassphrase


async def save() -> None:
    async with Client.open("alice") as client:
        await client.backup("alice.mdkbackup", passphrase="correct horse battery staple")


async def load() -> None:
    try:
        client = await Client.restore(
            "alice.mdkbackup",
            "alice-laptop",
            passphrase="correct horse battery staple",
            key=DatabaseKey.keyring(),
        )
    except WrongPassphrase:
        raise SystemExit("wrong passphrase")
    async with client:  # first connect: self-updates every group, new key package
        print(f"{len(client.groups)} groups, reachable as {client.npub}")


asyncio.run(save())
asyncio.run(load())
