"""Re-key after a scare: new leaf keys in every group, a new key package, a new database key."""

import asyncio

from mdk import Client


async def main() -> None:
    async with Client.open("alice") as client:
        report = await client.rekey()
        print(f"{len(report.groups_updated)} groups updated")
        for group_id, why in report.groups_failed.items():
            print(f"{group_id[:8]} not updated: {why}")

        # or one at a time, in the protocol's own words:
        for group in client.groups:
            await group.self_update()  # MLS: Commit with an UpdatePath from our leaf
        await client.key_packages.rotate()  # Marmot: same `d` slot, fresh init key


asyncio.run(main())
