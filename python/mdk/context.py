"""What a handler of a bot gets."""

import re
from collections.abc import Iterable
from typing import Any, TypeVar, overload

from ._mdk import PublicKey
from .client import Client, Group, Sent
from .conversations import Desk
from .runs import Run
from .values import Message, PathArg, PublicKeyLike

T = TypeVar("T")


class Context:
    """A message that is being handled, and what can be done about it."""

    def __init__(
        self,
        client: Client,
        group: Group,
        message: Message,
        args: list[str],
        *,
        desk: Desk,
        run: Run,
        answers_me: bool,
    ) -> None:
        """Made by Bot."""
        self._client = client
        self._group = group
        self._message = message
        self._args = args
        self._desk = desk
        self._run = run
        self._answers_me = answers_me
        """Whether it answers a message of the bot, for filters."""
        self._match: re.Match[str] | None = None

    @property
    def client(self) -> Client:
        """The bot's client."""
        return self._client

    @property
    def group(self) -> Group:
        """Where the message was sent. `group.next_message()` is the next chat message behind it."""
        return self._group

    @property
    def message(self) -> Message:
        """The message."""
        return self._message

    @property
    def text(self) -> str:
        """Its text."""
        return self._message.text

    @property
    def args(self) -> list[str]:
        """For a command: the words behind it. Otherwise empty."""
        return self._args

    @property
    def sender(self) -> PublicKey:
        """Who sent it, authenticated by MLS."""
        return self._message.sender

    @property
    def is_admin(self) -> bool:
        """Whether the sender is an admin of the group now. False where the group was deleted."""
        info = self._client._session.native.group(self._message.group_id)
        return info is not None and self._message.sender in info.admins

    @property
    def mentioned(self) -> bool:
        """Whether the message mentions the bot (`message.mentions`)."""
        return self._client.public_key in self._message.mentions

    @property
    def match(self) -> re.Match[str] | None:
        """What the filter `F.text.matches()` of this handler found; None without one. Of several, the last."""
        return self._match

    async def reply(self, text: str) -> Sent:
        """Answer the message. Raises as Group.send()."""
        return await self._group.send(text, reply_to=self._message)

    async def send(self, text: str) -> Sent:
        """Send to the same group, without referring to the message. Raises as Group.send()."""
        return await self._group.send(text)

    async def send_file(
        self, source: PathArg | bytes, *, caption: str = "", filename: str | None = None
    ) -> Sent:
        """Send a file to the same group. Raises as Group.send_file()."""
        return await self._group.send_file(source, caption=caption, filename=filename)

    async def react(self, emoji: str = "+") -> Sent:
        """React to the message. Raises as Group.react()."""
        return await self._group.react(self._message, emoji)

    @overload
    async def ask(
        self,
        question: str,
        *,
        timeout: float | None = 60.0,
        of: Iterable[PublicKeyLike] | None = None,
    ) -> str: ...

    @overload
    async def ask(
        self,
        question: str,
        kind: type[T],
        *,
        timeout: float | None = 60.0,
        of: Iterable[PublicKeyLike] | None = None,
    ) -> T: ...

    @overload
    async def ask(
        self,
        question: str,
        kind: object,
        *,
        timeout: float | None = 60.0,
        of: Iterable[PublicKeyLike] | None = None,
    ) -> Any: ...

    async def ask(
        self,
        question: str,
        kind: object = str,
        *,
        timeout: float | None = 60.0,
        of: Iterable[PublicKeyLike] | None = None,
    ) -> Any:
        """Ask the sender, and wait for the answer: the next chat message of theirs in this group, behind the question.

        What does not fit is answered with the reason and the question, and the next one is waited for. No handler gets
        what was an answer. Meanwhile other groups go on, and the time of the handler stands still; further messages of
        this group wait. A bot that ends meanwhile asks again after its next start.

        Args:
            question: it is sent as an answer to the message.
            kind: what the answer has to be, as with the parameters of a command: `int`, `timedelta`, `Literal[…]` and
                so on. A text, `str`, is the whole message.
            timeout: seconds from the question to an answer that fits; None for as long as it takes.
            of: whose answer is waited for instead: npubs, hex or PublicKeys. Accounts outside `allow` are not heard.

        Raises:
            TimeoutError: there was none in time. A handler that lets it pass is not called again for its message.
            InvalidInput: words cannot be of this kind, or `of` is empty. InvalidKey, TypeError: `of`.
            GroupNotFound: the group was deleted. Otherwise as Group.send().
        """
        return await self._desk.ask(self, self._run, question, kind, timeout=timeout, of=of)
