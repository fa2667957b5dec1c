"""Talking to a bot."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from mdk._mdk import Keys
from mdk.bot import Bot
from mdk.client import Client, Group
from mdk.errors import Closed
from mdk.events import Event, Joined, MessageReceived
from mdk.handlers import Failure
from mdk.values import EventId, Message

from .clients import client
from .relay import LocalRelay

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
        self._bot._watches.append(self._note)
        self._bot._through.append(self._note_through)
        self._serving = asyncio.create_task(self._bot.serve())
        try:
            self._user = await client(self._relay, "user", keys=self._keys)
            await self._or_failed(started.wait())
            await self._or_failed(self._bot.client.ready(_PATIENCE))
            bot = self._bot.client
            begin = bot.cursor
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

    async def _answer(self, timeout: float) -> Message:
        serving = self._serving
        answer = asyncio.ensure_future(self.group.next_message())
        waiting = {one for one in (answer, serving) if one is not None}
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
        raise TimeoutError("the bot says nothing")

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
        message = await self._answer(timeout)
        if text is not None and message.text != text:
            raise AssertionError(f"expected {text!r}, got {message.text!r}")
        return message
