"""What a handler of a bot gets."""

from ._mdk import PublicKey
from .client import Client, Group, Sent
from .values import Message, PathArg


class Context:
    """A message that is being handled, and what can be done about it."""

    def __init__(self, client: Client, group: Group, message: Message, args: list[str]) -> None:
        """Made by Bot."""
        self._client = client
        self._group = group
        self._message = message
        self._args = args

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
