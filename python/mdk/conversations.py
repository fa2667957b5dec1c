"""Questions that handlers ask, and the answers, which are for them alone."""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .arguments import TEXT, Handled, Kind, Misfit, kind_of
from .calling import Unanswered
from .client.readers import Reader
from .client.session import public_keys
from .errors import InvalidInput
from .events import Event, MessageReceived
from .values import EventId, Message, PublicKeyLike
from .values import Kind as Kinds

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._mdk import Mdk, PublicKey
    from .runs import Run

_PATIENCE = 10.0
"""Seconds that a question waits for a group which is between two states, as in Group.send()."""


class Desk:
    """Where the questions of one bot are asked. What was an answer, no handler gets."""

    def __init__(self, hears: "Callable[[Message], bool]") -> None:
        """`hears`: whether a message is for the bot at all."""
        self._hears = hears
        self._answers: set[EventId] = set()
        """Messages that were answers and that the bot has still to pass by."""

    def was_answer(self, event: Event) -> bool:
        """Whether this is a message that answered a question. It is forgotten by that."""
        if not isinstance(event, MessageReceived) or event.message.id not in self._answers:
            return False
        self._answers.discard(event.message.id)
        return True

    async def ask(
        self,
        ctx: Handled,
        run: "Run",
        question: str,
        kind: object,
        *,
        timeout: float | None,
        of: Iterable[PublicKeyLike] | None,
    ) -> Any:
        """See Context.ask()."""
        wanted = kind_of(kind)
        if wanted is None:
            raise InvalidInput("kind: not a type that words can be", field="kind")
        people = frozenset([ctx.sender] if of is None else public_keys(of, "of"))
        if not people:
            raise InvalidInput("of: empty", field="of", limit=1, value=0)
        # While people think, the handler takes nobody's place, and none of its own time.
        async with run.paused():
            answers = self._reader(ctx, people, await _ask(ctx, question))
            limit = asyncio.timeout(timeout)
            try:
                async with limit:
                    return await self._fitting(ctx, answers, wanted, question)
            except TimeoutError:
                if not limit.expired():
                    raise
                raise Unanswered(f"no answer within {timeout:g} seconds") from None

    async def _fitting(self, ctx: Handled, answers: Reader, kind: Kind, question: str) -> Any:
        """The first answer that fits, as a value; others are told why they do not."""
        while True:
            answer = await answers.next()
            if answer.id in self._answers:
                continue  # It has answered another question.
            self._answers.add(answer.id)
            is_text = kind is TEXT or kind.is_rest
            try:
                return await kind.read(answer.text if is_text else answer.text.strip(), ctx)
            except Misfit as misfit:
                await ctx.group.send(f"{misfit}. {question}", reply_to=answer)

    def _reader(self, ctx: Handled, people: "frozenset[PublicKey]", after: int) -> Reader:
        def heard(message: Message) -> bool:
            gone = message.deleted or message.invalidated
            return message.sender in people and not gone and self._hears(message)

        chat = frozenset([int(Kinds.CHAT)])
        return Reader(ctx.client._session, ctx.group.id, chat, after=after, heard=heard)


async def _ask(ctx: Handled, question: str) -> int:
    """Send the question, as an answer to the message that is handled. The place in the log behind which answers are."""
    session, message = ctx.client._session, ctx.message
    marked = await session.marked(message.group_id, ())

    def say(mdk: "Mdk") -> int:
        mdk.create_message(message.group_id, question, reply_to=message.id, tags=marked)
        # Before it goes out: what is there by now was said without knowing the question.
        return session.store.last_cursor()

    return await session.patient(say, _PATIENCE)
