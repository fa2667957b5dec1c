"""Send a picture, then fetch the pictures others sent. EXIF is stripped before encryption."""

import asyncio
from pathlib import Path

from mdk import Client


async def main() -> None:
    async with Client.open("alice", blossom=["https://blossom.primal.net"]) as client:
        group = await client.groups.direct(
            "npub1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"
        )
        await group.send_file("cat.jpg", caption="She moved in.")

        async for message in group.history(limit=100):
            for picture in message.attachments:
                await client.media.download(picture, to=Path("inbox") / picture.filename)


asyncio.run(main())
