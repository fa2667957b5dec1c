"""Which handlers of a bot an event is for."""

import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

from ._mdk import PublicKey
from .arguments import Misfit
from .calling import call
from .client import Client, Group
from .context import Context
from .conversations import Desk
from .errors import InvalidInput, NotFound
from .events import (
    Event,
    Invited,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    ReactionAdded,
    ReactionRemoved,
)
from .help import NAME, listed
from .pace import BOT_MARK
from .routers import Command, Listener, Middleware, Next, Registered, Router
from .runs import Run
from .signatures import Signature
from .values import GroupState, Kind, Message

_log = logging.getLogger("mdk.bot")


RespondTo: TypeAlias = Literal["all", "mentions", "direct"]
"""Which chat messages that are no commands a bot hears."""


@dataclass(frozen=True, slots=True)
class Call:
    """One handler that is to be called."""

    name: str
    work: Callable[[Run], Awaitable[object]]


class Handlers:
    """The handlers of one bot."""

    def __init__(
        self,
        client: Client,
        router: Router,
        allowed: frozenset[PublicKey] | None,
        prefix: str,
        *,
        respond_to: RespondTo,
        hears_bots: bool,
        helps: bool,
    ) -> None:
        self._client = client
        self._respond_to = respond_to
        self._router = router
        self._allowed = allowed
        self._hears_bots = hears_bots
        self._passed_over = False
        """Whether it was said that another bot is not heard."""
        self._prefix = prefix
        self._helps = helps
        self.desk: Desk = Desk(self._hears)
        self.provided: dict[object, object] = {}
        """What parameters of handlers get, by their types."""

    def registered(self) -> Iterator[Registered]:
        """What was put on each router, in the order in which handlers are called."""
        for router in self._router._walk():
            yield router._own

    def check(self) -> None:
        """Look at all of them before the first message comes.

        Raises:
            InvalidInput: two commands have one name, or a parameter of a handler can be filled with nothing.
        """
        twice = self._router._twice()
        if twice is not None:
            raise InvalidInput(f"name: two commands are called {twice}", field="name")
        for own in self.registered():
            for signature in own.signatures():
                signature.check(self.provided)

    async def calls(self, event: Event) -> list[Call]:
        """What is to be called for an event: nothing if it comes from somebody who is not allowed."""
        if not await self._is_heard(event):
            return []
        calls: list[Call] = []
        if isinstance(event, MessageReceived):
            message = event.message
            if message.is_mine or message.deleted or message.invalidated:
                return []
            if message.kind == Kind.CHAT:
                calls += await self._message_calls(event)

        def bound(handler: Signature) -> Call:
            return Call(handler.name, lambda _run: handler.call(self.provided, event))

        for own in self.registered():
            calls += [bound(handler) for kind, handler in own.events if isinstance(event, kind)]
        return calls

    async def is_over(self, event: Event) -> bool:
        """Whether a message is none to be handled any more: it has expired meanwhile, or was deleted."""
        if not isinstance(event, MessageReceived):
            return False
        message = event.message
        try:
            now = await self._client._session.look(
                lambda mdk: mdk.message(message.group_id, message.id)
            )
        except NotFound:
            return True
        return now.deleted or now.invalidated

    async def _is_heard(self, event: Event) -> bool:
        match event:
            case MessageReceived(message) | MessageEdited(message):
                return self._hears(message)
            case ReactionAdded(reaction) | ReactionRemoved(reaction):
                return self._may(reaction.sender)
            case Invited(invite):
                return self._may(invite.inviter)
            case MessageDeleted():
                return self._allowed is None or await self._is_of_allowed(event)
            case _:
                return self._is_inside(event)

    def _may(self, who: PublicKey) -> bool:
        return self._allowed is None or who in self._allowed

    def _hears(self, message: Message) -> bool:
        """Whether a message is for handlers: by somebody who is allowed, and of no other bot."""
        if not self._may(message.sender):
            return False
        if self._hears_bots or message.is_mine or BOT_MARK not in message.tags:
            return True
        if not self._passed_over:
            self._passed_over = True
            _log.info(
                "a message of another bot is not handled, and the next ones neither (hears_bots=)"
            )
        return False

    async def _is_of_allowed(self, event: MessageDeleted) -> bool:
        """Whether a message that is gone came from somebody who is allowed. Of one that has expired nobody knows."""
        group_id, message_id = event.group_id, event.message_id
        if group_id is None:
            return False
        try:
            message = await self._client._session.look(
                lambda mdk: mdk.message(group_id, message_id)
            )
        except NotFound:
            return False
        return self._may(message.sender)

    def _is_inside(self, event: Event) -> bool:
        """Whether the bot is, or was, in the group: what goes on in one that it is only invited to is for nobody."""
        if event.group_id is None:
            return True
        info = self._client._session.native.group(event.group_id)
        return info is not None and info.state is not GroupState.PENDING

    async def _message_calls(self, event: MessageReceived) -> list[Call]:
        message = event.message
        words = message.text.split()
        session = self._client._session
        found = self._command(words)
        answers_me = found is None and await self._answers_me(message)
        args = [] if found is None else words[1:]

        def bound(handler: Callable[[Context], Awaitable[object]], name: str) -> Call:
            # A handle of its own: a conversation in one handler takes nothing from others.
            group = Group(session, message.group_id, after=int(event.cursor), heard=self._hears)

            async def work(run: Run) -> None:
                await handler(
                    Context(
                        self._client,
                        group,
                        message,
                        args,
                        desk=self.desk,
                        run=run,
                        answers_me=answers_me,
                    )
                )

            return Call(name, work)

        info = session.native.group(message.group_id)
        is_admin = info is not None and message.sender in info.admins
        layers = list(self._router._layers())
        if self._asks_for_help(words):
            text = listed(self._router._commands().values(), self._prefix, is_admin=is_admin)
            # The list is the bot's own, like what is around all of its handlers.
            say = _wrapped(lambda ctx: ctx.reply(text), layers[0][1])
            return [bound(say, NAME)] if text else []
        if found is None:
            if not self._is_addressed(message, answers_me=answers_me):
                return []
            return [
                bound(partial(self._listen, one, around), one.handler.name)
                for own, around in layers
                for one in own.listeners
            ]
        command, around = found
        if command.admin_only and not is_admin:
            return []
        return [bound(_wrapped(partial(self._obey, command), around), command.handler.name)]

    async def _listen(
        self, listener: Listener, around: tuple[Middleware, ...], ctx: Context
    ) -> None:
        # Filters are asked here, and not before: what one raises is what its handler raises.
        if all(matches(ctx) for matches in listener.filters):
            await _wrapped(partial(listener.handler.call, self.provided), around)(ctx)

    async def _obey(self, command: Command, ctx: Context) -> None:
        # What stands behind the first word, as it stands.
        line = ctx.text.lstrip()[len(ctx.text.split(maxsplit=1)[0]) :]
        try:
            words = await command.handler.read(line, ctx)
        except Misfit as misfit:
            usage = command.handler.usage(self._prefix + command.names[0])
            await ctx.reply(f"{misfit}.\nUsage: {usage}")
            return
        await command.handler.call(self.provided, ctx, words)

    def _name_in(self, words: list[str]) -> str | None:
        """The name that a command would have which begins with these words."""
        if not words or not words[0].startswith(self._prefix):
            return None
        return words[0].removeprefix(self._prefix).casefold()

    def _command(self, words: list[str]) -> tuple[Command, tuple[Middleware, ...]] | None:
        """The command that begins with these words, and what is called around it."""
        name = self._name_in(words)
        for own, around in self._router._layers():
            if name is not None and name in own.commands:
                return own.commands[name], around
        return None

    def _asks_for_help(self, words: list[str]) -> bool:
        """Whether this is for the list of commands: there is one, and no handler of the bot's own is for it."""
        if not self._helps or self._name_in(words) != NAME:
            return False
        commands = self._router._commands()
        return NAME not in commands and not all(one.hidden for one in commands.values())

    def _is_addressed(self, message: Message, *, answers_me: bool) -> bool:
        """Whether a message that is no command is for the bot, by `respond_to`."""
        if self._respond_to == "all":
            return True
        info = self._client._session.native.group(message.group_id)
        if info is not None and info.member_count == 2:
            return True
        return self._respond_to == "mentions" and (
            answers_me or self._client.public_key in message.mentions
        )

    async def _answers_me(self, message: Message) -> bool:
        """Whether it answers a message of the bot. Filters cannot wait, so it is found out before."""
        answered = message.reply_to
        if answered is None:
            return False
        try:
            return (
                await self._client._session.look(
                    lambda mdk: mdk.message(message.group_id, answered)
                )
            ).is_mine
        except NotFound:
            return False


def _wrapped(handler: Next, around: tuple[Middleware, ...]) -> Next:
    """The handler with what is called around it, the outermost first."""
    for wrap in reversed(around):
        handler = partial(_step, wrap, handler)
    return handler


async def _step(wrap: Middleware, call_next: Next, ctx: Context) -> object:
    return await call(wrap, ctx, call_next)
