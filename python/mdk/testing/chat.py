"""Talking to a bot."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from mdk._mdk import Keys, PublicKey
from mdk.bot import Bot
from mdk.calling import Failure
from mdk.client import Client, Group
from mdk.errors import Closed
from mdk.events import Event, Joined, MessageEdited, MessageReceived, ReactionAdded
from mdk.values import EventId, Message, Reaction

from .clients import client
from .relay import LocalRelay

T = TypeVar("T")
E = TypeVar("E", bound=Event)

# For what has to happen, also on a busy machine.
_PATIENCE = 30.0
_HANDLED = 5.0
"""Seconds that the bot gets, when a chat is left, for what was said last."""


class HandlerFailed(AssertionError):
    """A handler of the bot has raised, and no answer came after it. What it raised is the `__cause__`.

    `handler` is its name, and `attempt` the number of the call for that message.
    """

    def __init__(self, failure: Failure) -> None:
        name, raised = failure.handler, type(failure.error).__name__
        super().__init__(f"the handler {name} raised {raised} (attempt {failure.attempt})")
        self.handler: str = name
        self.attempt: int = failure.attempt


class Chat:
    """Talks to a Bot as a user would: `async with Chat(bot, relay) as chat:` runs the bot and shares a group with it.

    Leaving it waits, five seconds at most, until the bot is through with what was said. It raises HandlerFailed if a
    handler has raised since the last answer and expect() has not told it.

    Args:
        bot: a bot that was not run yet and uses the relay.
        relay: where both meet.
        keys: the user's keys, if the bot does not allow everybody.
    """

    def __init__(self, bot: Bot, relay: LocalRelay, *, keys: Keys | None = None) -> None:
        self._bot = bot
        self._relay = relay
        self._keys = keys
        self._serving: asyncio.Task[None] | None = None
        self._user: Client | None = None
        self._group: Group | None = None
        self._begin = "0"
        """The cursor of the user where the chat began."""
        self._seen: dict[type[Event], str] = {}
        """The cursor behind which the next event of a class is waited for."""
        self._failures: list[Failure] = []
        """What handlers raised since the last answer."""
        self._said: Message | None = None
        """What was said last, if there was no answer since."""
        self._through: set[EventId] = set()
        """Messages that the bot is through with."""
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        started = asyncio.Event()

        async def note(_client: Client) -> None:  # a handler is a coroutine function
            started.set()

        self._bot.on_start(note)
        # No phone is looking on, for whose sake a bot waits before it speaks.
        self._bot.client._settings.timing["speak_after"] = 0.0
        self._bot._delivery.watches.append(self._note)
        self._bot._delivery.through.append(self._note_through)
        self._serving = asyncio.create_task(self._bot.serve())
        try:
            self._user = await client(self._relay, "user", keys=self._keys)
            await self._or_failed(started.wait())
            await self._or_failed(self._bot.client.ready(_PATIENCE))
            bot = self._bot.client
            begin = bot.cursor
            self._begin = self._user.cursor
            self._group = await self._user.groups.create("chat", [bot.public_key])
            await self._or_failed(self._joined(bot, begin))
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if value is None:
            with suppress(TimeoutError):
                await self._handled()
        await self._end()
        if value is None:
            self._tell()

    async def _handled(self) -> None:
        """Wait until the bot is through with what was said last, or has ended, or a handler has raised."""
        serving = self._serving
        async with asyncio.timeout(_HANDLED):
            while self._said is not None and self._said.id not in self._through:
                if self._failures or serving is None or serving.done():
                    return
                self._news.clear()
                news = asyncio.ensure_future(self._news.wait())
                try:
                    await asyncio.wait({news, serving}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    news.cancel()

    def _tell(self) -> None:
        """Raise what handlers raised, once."""
        failures, self._failures = self._failures, []
        for failure in failures:
            raise HandlerFailed(failure) from failure.error

    async def _joined(self, bot: Client, begin: str) -> None:
        async for event in bot.events(after=begin):
            if isinstance(event, Joined):
                return

    async def _or_failed(
        self, work: Coroutine[Any, Any, object], timeout: float = _PATIENCE
    ) -> None:
        """Wait for `work`, or raise what ended the bot."""
        assert self._serving is not None
        task = asyncio.ensure_future(work)
        await asyncio.wait(
            [task, self._serving], timeout=timeout, return_when=asyncio.FIRST_COMPLETED
        )
        if task.done():
            task.result()
            return
        task.cancel()
        if self._serving.done():
            self._serving.result()
            raise Closed("the bot has ended")
        raise TimeoutError("the bot does not come")

    async def _end(self) -> None:
        serving, self._serving = self._serving, None
        if serving is not None:
            self._bot.stop()
            await asyncio.wait([serving])
        if self._user is not None:
            await self._user.close()
        if serving is not None and not serving.cancelled():
            serving.result()

    async def _answer(self, work: Coroutine[Any, Any, T], timeout: float, nothing: str) -> T:
        """What the bot does, or why there is nothing of it."""
        serving = self._serving
        answer = asyncio.ensure_future(work)
        waiting: set[asyncio.Future[Any]] = {one for one in (answer, serving) if one is not None}
        try:
            await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                self._failures, self._said = [], None
                return answer.result()
        finally:
            answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)
        self._tell()
        if serving is not None and serving.done():
            serving.result()
            raise Closed("the bot has ended")
        raise TimeoutError(nothing)

    async def _next(self, kind: type[E], is_wanted: Callable[[E], bool]) -> E:
        """The next event of a class that the bot brought about, each once."""
        async for event in self.user.events(after=self._seen.get(kind, self._begin)):
            if event.group_id == self.group.id and isinstance(event, kind) and is_wanted(event):
                self._seen[kind] = event.cursor
                return event
        raise Closed("the user's client was closed")

    def _is_bots(self, who: PublicKey) -> bool:
        return who == self._bot.client.public_key

    def _note(self, failure: Failure) -> None:
        self._failures.append(failure)
        self._news.set()

    def _note_through(self, event: Event) -> None:
        if isinstance(event, MessageReceived):
            self._through.add(event.message.id)
            self._news.set()

    @property
    def user(self) -> Client:
        """The user's client."""
        if self._user is None:
            raise Closed("the chat is not open", hint="Use `async with Chat(bot, relay) as chat:`.")
        return self._user

    @property
    def group(self) -> Group:
        """The user's handle of the group."""
        if self._group is None:
            raise Closed("the chat is not open", hint="Use `async with Chat(bot, relay) as chat:`.")
        return self._group

    async def say(self, text: str) -> Message:
        """Write to the bot; what was sent. It does not wait for a relay."""
        self._said = (await self.group.send(text)).message
        return self._said

    async def expect(self, text: str | None = None, timeout: float = 5.0) -> Message:
        """The bot's next message.

        Args:
            text: what it has to say; None for anything.
            timeout: seconds to wait for it.

        Raises:
            AssertionError: it says something else.
            HandlerFailed: it says nothing, and one of its handlers has raised since the last answer. A handler that
                raises is called again, so an answer may still come, and is waited for.
            TimeoutError: it says nothing.
            Closed: the bot has ended.
        """
        message = await self._answer(self.group.next_message(), timeout, "the bot says nothing")
        if text is not None and message.text != text:
            raise AssertionError(f"expected {text!r}, got {message.text!r}")
        return message

    async def expect_file(self, filename: str | None = None, timeout: float = 5.0) -> Message:
        """The bot's next message, which has to carry a file: `chat.user.media.download()` opens it.

        Args:
            filename: what a file of it has to be called; None for anything.
            timeout: as in expect().

        Raises:
            AssertionError: it carries no file, or none of that name. Otherwise as expect().
        """
        message = await self.expect(timeout=timeout)
        names = [attachment.filename for attachment in message.attachments]
        if not names:
            raise AssertionError(f"expected a file, got {message.text!r}")
        if filename is not None and filename not in names:
            raise AssertionError(f"expected the file {filename!r}, got {names}")
        return message

    async def expect_reaction(self, emoji: str | None = None, timeout: float = 5.0) -> Reaction:
        """The bot's next reaction; `message_id` says to which message.

        Reactions, edits and messages are waited for apart: what comes first of them may be expected last.

        Args:
            emoji: what it has to be; None for anything.
            timeout: as in expect().

        Raises:
            AssertionError: it is another one. Otherwise as expect().
        """
        event = await self._answer(
            self._next(ReactionAdded, lambda event: self._is_bots(event.reaction.sender)),
            timeout,
            "the bot does not react",
        )
        if emoji is not None and event.reaction.emoji != emoji:
            raise AssertionError(f"expected {emoji!r}, got {event.reaction.emoji!r}")
        return event.reaction

    async def expect_edit(self, text: str | None = None, timeout: float = 5.0) -> Message:
        """The next message that the bot has edited, as it is then.

        Args:
            text: what it has to say now; None for anything.
            timeout: as in expect().

        Raises:
            AssertionError: it says something else. Otherwise as expect().
        """
        event = await self._answer(
            self._next(MessageEdited, lambda event: self._is_bots(event.message.sender)),
            timeout,
            "the bot edits nothing",
        )
        if text is not None and event.message.text != text:
            raise AssertionError(f"expected {text!r}, got {event.message.text!r}")
        return event.message
