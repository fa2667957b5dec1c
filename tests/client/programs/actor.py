"""One member, driven by lines of JSON on stdin, answering on stdout: it can be killed at any moment and started again.

actor.py DATABASE RELAY…
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from mdk import (
    Client,
    Config,
    DatabaseKey,
    Delivery,
    DeliveryChanged,
    Event,
    InvitePolicy,
    MessageReceived,
    MessagesInvalidated,
)
from mdk.errors import CommitPending, GroupSettling
from mdk.testing.clients import impatient

path, relays = sys.argv[1], sys.argv[2:]


def answer(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def told_of_others(events: list[Event]) -> dict[str, list[str]]:
    """What others said, as this program was told: what stands, and what came while it stood already.

    What was taken back with its branch may come again, when that one wins after all.
    """
    stands: dict[str, str] = {}
    twice: list[str] = []
    for event in events:
        if isinstance(event, MessagesInvalidated):
            for gone in event.message_ids:
                stands.pop(gone, None)
        if isinstance(event, MessageReceived):
            if event.message.id in stands:
                twice.append(event.message.text)
            stands[event.message.id] = event.message.text
    return {"heard": list(stands.values()), "twice": twice}


async def obey(client: Client, order: dict[str, Any]) -> None:
    match order["do"]:
        case "found":
            group = await client.groups.create("world", order["members"])
            answer(group=group.id)
        case "send":
            try:
                sent = await client.groups[order["group"]].send(order["text"], timeout=1)
            except (CommitPending, GroupSettling):
                # A change of ours waits for a relay: nothing was sent, and it says so.
                answer(sent=None)
                return
            if order.get("settle"):
                await sent.delivered(order["settle"])
            answer(sent=sent.message.id)
        case "update":
            try:
                await asyncio.wait_for(client.groups[order["group"]].self_update(), 2)
                answer(updated=True)
            except Exception as error:  # noqa: BLE001  # lost, refused, no relay: all is well
                answer(updated=False, why=type(error).__name__)
        case "heard":
            answer(**told_of_others(await asyncio.to_thread(lambda: list(client.engine.events()))))
        case "told":
            # What became of each message of ours: by its state, and by what the program was told.
            messages = [m async for m in client.groups[order["group"]].history() if m.is_mine]
            events = await asyncio.to_thread(lambda: list(client.engine.events()))
            words = {
                e.message_id: list(e.errors.items())
                for e in events
                if isinstance(e, DeliveryChanged) and e.delivery is Delivery.FAILED
            }
            gone = {i for e in events if isinstance(e, MessagesInvalidated) for i in e.message_ids}
            answer(
                told={
                    m.text: {
                        "state": f"{m.delivery.name} in epoch {m.epoch}",
                        "failed": m.delivery is Delivery.FAILED,
                        "words": words.get(m.id, []),
                        "invalidated": m.invalidated,
                        "event": m.id in gone,
                    }
                    for m in messages
                }
            )
        case "stands":
            group = client.groups[order["group"]]
            pending = len(await asyncio.to_thread(client.engine.pending))
            answer(
                stands=f"{group.info.state.name} in epoch {group.info.epoch}, {pending} commits pending"
            )
        case "groups":
            answer(groups=[group.id for group in client.groups])
        case other:
            raise ValueError(other)


async def main() -> None:
    client = impatient(
        Client.open(
            path,
            key=DatabaseKey.raw(bytes(range(32))),
            relays=relays,
            invites=InvitePolicy.anyone(),
            config=Config(allow_loopback=True),
        )
    )
    await client.start()
    answer(npub=client.npub)
    while line := await asyncio.to_thread(sys.stdin.readline):
        await obey(client, json.loads(line))
    await client.close()


asyncio.run(main())
