"""A bridge or archiver: a durable cursor, so nothing is lost or done twice across restarts."""

import asyncio
import json
from pathlib import Path

from mdk import Client, MessageDeleted, MessageEdited, MessageReceived, MessagesInvalidated

CURSOR, OUT = Path("cursor"), Path("archive.ndjson")


async def main() -> None:
    after = CURSOR.read_text() if CURSOR.exists() else None
    async with Client.open("archiver") as client:
        with OUT.open("a", encoding="utf-8") as out:
            async for event in client.events(after=after):
                match event:
                    case MessageReceived(message) | MessageEdited(message):
                        out.write(
                            json.dumps(
                                {"id": message.id, "by": message.sender.hex, "text": message.text}
                            )
                            + "\n"
                        )
                    case MessageDeleted(message_id):
                        out.write(json.dumps({"id": message_id, "deleted": True}) + "\n")
                    case MessagesInvalidated():
                        out.write(json.dumps({"void": list(event.message_ids)}) + "\n")
                    case _:
                        pass
                out.flush()
                CURSOR.write_text(event.cursor)


asyncio.run(main())
