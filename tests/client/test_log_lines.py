"""Clients at the level TRACE, with relays that fail in every way: no log line has an id, a key or content.

Nor has one a URL, but for that of a relay that its owner named, where it does not do what it should.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from tests.client.bots import bot_of
from tests.client.people import KEY, PATIENCE, Account, hear, join, until
from tests.client.pictures import png
from tests.vault.log_lines import Heard, Private, listening, require_silence

from mdk import Client, Context, DatabaseKey, Delivery, Group, Keys, Mdk, RestoreReport, errors
from mdk.testing import BlobFaults, Chat, Faults, HandlerFailed, LocalBlossom, LocalRelay
from mdk.testing.clients import impatient

T = TypeVar("T")
PHRASE = "planted passphrase"


class Life:
    """Two clients, and what they were given."""

    def __init__(self, folder: Path, relay: LocalRelay, blobs: LocalBlossom) -> None:
        self.private = Private()
        self.take = self.private.take
        self.folder, self.relay, self.blobs = folder / "planted-folder", relay, blobs
        self.accounts = [Account(self.folder, name, relay) for name in ("alice", "bob")]
        self.take([relay.url, relay.url.removeprefix("ws://"), "127.0.0.1", blobs.url, PHRASE])
        self.take([KEY, str(self.folder), "planted-folder", *(one.keys for one in self.accounts)])

    def text(self) -> str:
        """Words that were not said before."""
        self.private.word(text := f"planted text {secrets.token_hex(8)}")
        return text

    async def say(self, group: Group, room: Group) -> None:
        """A message arrives, whatever the relays have done before."""
        text = self.text()
        self.take(await group.send(text))
        while text not in await hear(room, 1):
            pass

    async def fails(self, error: type[Exception], call: Awaitable[object]) -> None:
        with pytest.raises(error):
            await call

    def look(self, *clients: Client) -> None:
        for one in clients:
            self.take([one.npub, one.invite_uri, one.relays, one.stats(), one.cursor])
            engine = one.engine
            self.take([engine.info, engine.key_packages(), engine.interests(), engine.groups()])
            self.take(list(engine.events()))
        for kind in (0, 3, 443, 444, 445, 1059, 10002, 10050, 10051, 30443):
            self.take(self.relay.events(kind))

    async def talk(self, group: Group, room: Group) -> None:
        sent = self.take(await group.send(self.text(), tags=[["t", self.text()]]))
        await hear(room, 1)
        answer = self.take(await room.send(self.text(), reply_to=sent.message))
        await hear(group, 1)
        await room.react(sent.message, "planted")
        await room.unreact(sent.message)
        self.take(await room.edit(answer.message, self.text()))
        self.take(await room.delete(answer.message))
        await room.mark_read()
        self.take([message async for message in room.history()])
        self.take(await group.update(name=self.text(), description=self.text()))
        (other,) = (member for member in self.take(await group.members()) if not member.is_me)
        self.take(await group.promote(other.public_key))
        self.take(await room.self_update())
        self.take(await group.demote(other.public_key))
        self.take(await group.self_update())
        await self.say(group, room)

    async def files(self, group: Group, room: Group, reader: Client) -> None:
        content = self.private.secret(self.text().encode() * 40)
        sent = await group.send_file(content, caption=self.text(), filename="planted-name.txt")
        self.take(sent)
        (attachment,) = self.take(await room.next_message(PATIENCE)).attachments
        assert await reader.media.download(attachment, self.folder / "planted-copy") == content
        for fault in (BlobFaults(wrong_bytes=True), BlobFaults(refuse=self.text())):
            self.blobs.faults(fault)
            await self.fails(errors.MediaError, reader.media.download(attachment))
        await self.fails(errors.MediaError, group.send_file(content))
        self.blobs.faults()
        self.take(await group.set_image(png(64, 64)))
        self.take(await group.image())
        self.take(self.blobs.uploaders)

    async def outages(self, group: Group, room: Group, sender: Client) -> None:
        relay = self.relay
        await relay.pause()
        sent = self.take(await group.send(self.text()))
        await self.fails(TimeoutError, sent.delivered(0.05))
        mistake = self.take(await group.send(self.text()))
        await sender.outbox.cancel(mistake.message.id)
        await relay.resume()
        await hear(room, 1)
        for fault in (
            Faults(duplicate=True, reorder=7),
            Faults(false_events=True),
            Faults(lose_ok=True),
        ):
            relay.faults(fault)
            await relay.cut()
            await self.say(group, room)
        relay.faults()
        await relay.cut()
        await relay.wipe()
        await self.say(group, room)
        # The words of a relay may hold what it was sent: they are told, but for what may name somebody.
        self.private.word(token := secrets.token_hex(16))
        self.private.word(gone := f"wss://{secrets.token_hex(4)}.example/planted")
        words = f"nobody likes {token} {sender.npub} {group.id} {sent.message.id} {gone}"
        relay.refuse(kinds={445}, reason=f"rate-limited: {words}")
        waiting = self.take(await group.send(self.text()))
        await eventually(lambda: sender._session.store.delivery_errors(waiting.message.id) != {})
        relay.accept()
        assert (await waiting.delivered(PATIENCE)).delivery is Delivery.ACCEPTED
        await hear(room, 1)
        relay.refuse(kinds={445}, reason=f"blocked: {words}")
        refused = self.take(await group.send(self.text()))
        assert (await refused.delivered(PATIENCE)).delivery is Delivery.FAILED
        await self.fails(errors.NoRelayAccepted, group.update(name=self.text()))
        relay.accept()
        self.take(await sender.outbox.retry(refused.message.id))
        await hear(room, 1)

    async def wrong(self, group: Group, client: Client) -> None:
        stranger = self.take(Keys.generate().public_key)
        await self.fails(errors.KeyPackageNotFound, group.add(stranger))
        await self.fails(errors.InvalidKey, group.add(self.text()))
        await self.fails(errors.InvalidInput, group.send(self.text() * 9_000))
        await self.fails(errors.MdkError, group.edit(self.text(), self.text()))  # type: ignore[arg-type]
        busy = Client.open(self.accounts[0].path, key=DatabaseKey.raw(KEY), relays=[self.relay.url])
        await self.fails(errors.DatabaseBusy, busy.start())
        self.take(await client.key_packages.rotate())
        self.take(await client.key_packages.mine())

    async def restored(self, alice: Client, bob: Client, room: Group) -> None:
        """The account moves to another file, renews itself, and ends its group."""
        path = self.folder / "planted-backup"
        await alice.backup(path, passphrase=PHRASE)
        await self.fails(errors.DestinationExists, alice.backup(path, passphrase=PHRASE))
        await alice.close()
        key, to = DatabaseKey.raw(KEY), self.folder / "moved" / "mdk.db"
        wrong = Client.restore(path, to, passphrase=PHRASE[1:], key=key)
        await self.fails(errors.WrongPassphrase, wrong)
        reports: list[RestoreReport] = []
        moved = impatient(
            await Client.restore(
                path,
                to,
                passphrase=PHRASE,
                key=key,
                keys=self.accounts[0].keys,
                on_restored=reports.append,
            )
        )
        moved._settings.config = alice._settings.config
        self.take([report.must_update for report in reports])
        async with moved:
            group = moved.groups[room.id]
            await until(lambda: not moved.engine.needs_self_update(), moved)
            await self.say(group, room)
            self.look(moved, bob)
            await room.leave()
            await until(lambda: group.info.member_count == 1, moved)
            self.take(await group.disband())
            self.look(moved)


async def test_a_long_life_at_trace_says_nothing_private(
    relay: LocalRelay, blobs: LocalBlossom, tmp_path: Path
) -> None:
    with listening() as heard:
        life = Life(tmp_path, relay, blobs)
        async with AsyncExitStack() as stack:
            alice, bob = [
                await stack.enter_async_context(one.open(blobs=[blobs])) for one in life.accounts
            ]
            group, room = await join(alice, bob, name=life.text())
            await life.talk(group, room)
            await life.files(group, room, bob)
            await life.wrong(group, alice)
            await life.outages(group, room, alice)
            life.take(await alice.rekey(database=False))
            life.look(alice, bob)
            await life.restored(alice, bob, room)
        drain()
    assert heard.loggers >= {"mdk.client", "mdk.core", "mdk.python"}
    assert len(life.private.texts) > 500
    told = [f"{code}: nobody likes … … … … …" for code in ("rate-limited", "blocked")]
    assert all(f"words={words})" in heard.text for words in told)
    heard.may_name(relay.url, *told)
    require_silence(heard, life.private)


@pytest.mark.parametrize("what", ["nothing", "all it knows"])
async def test_what_a_handler_puts_into_an_exception_is_in_its_traceback_only(
    relay: LocalRelay, what: str
) -> None:
    """Handlers of every sort raise: no line has anything of the message, nor a traceback but what is put into it."""
    private = Private()
    private.word(planted := f"planted text {secrets.token_hex(8)}")
    bot = bot_of(relay)

    @bot.on_message
    async def fail(ctx: Context) -> None:
        known = f"{ctx.text} {ctx.sender.npub} {ctx.group.id}"
        raise RuntimeError("out of order" if what == "nothing" else known)

    @bot.on_error
    async def fail_again(*_: object) -> bool:
        raise RuntimeError("out of order" if what == "nothing" else planted)

    @bot.every(timedelta(seconds=0.05))
    async def fail_now_and_then(*_: object) -> None:
        raise RuntimeError("out of order" if what == "nothing" else planted)

    async def talk(heard: Heard) -> None:
        async with Chat(bot, relay) as chat:
            private.take((await chat.say(planted)).sender)
            private.take([bot.client.npub, relay.url, bot.client.engine.groups()])
            await eventually(lambda: bot_is_done(heard))

    with listening() as heard:
        with pytest.raises(HandlerFailed):
            await talk(heard)
        drain()
    if what == "nothing":
        require_silence(heard, private)
    else:
        require_silence(heard.without_tracebacks(), private)
        assert planted in heard.text
        assert private.found_in(heard.text)


def bot_is_done(heard: Heard) -> bool:
    """Each of the three has raised."""
    said = ("the handler ", "the error handler ", "the timer's handler ")
    return all(any(f" {words}" in line for line in heard.lines) for words in said)


async def eventually(check: Callable[[], bool]) -> None:
    """Wait until it is true; nothing wakes us for it."""
    async with asyncio.timeout(PATIENCE):
        while not check():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def drain() -> None:
    """What threads have noted is handed out by the next call."""
    gc.collect()
    Mdk.in_memory().close()
