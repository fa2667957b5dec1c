"""Which messages a handler is for: `F`, and what is made of it."""

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias, final

from ._mdk import PublicKey
from .client.session import public_keys
from .context import Context
from .errors import InvalidInput
from .values import PublicKeyLike


class Filter:
    """Whether a message is for a handler: a function of its Context. `&`, `|` and `~` combine filters.

    Args:
        check: answers at once; what it answers counts as true or false.
    """

    def __init__(self, check: Callable[[Context], object]) -> None:
        self._check = check

    def __call__(self, ctx: Context) -> bool:
        """Whether the message of this context is for the handler."""
        return bool(self._check(ctx))

    def __and__(self, other: "Check") -> "Filter":
        """Both."""
        second = checked(other)
        return Filter(lambda ctx: self(ctx) and second(ctx))

    def __or__(self, other: "Check") -> "Filter":
        """One of them, or both. The second is not asked where the first matches."""
        second = checked(other)
        return Filter(lambda ctx: self(ctx) or second(ctx))

    def __rand__(self, other: "Check") -> "Filter":
        """Both."""
        return Filter(checked(other)) & self

    def __ror__(self, other: "Check") -> "Filter":
        """One of them, or both."""
        return Filter(checked(other)) | self

    def __invert__(self) -> "Filter":
        """The opposite."""
        return Filter(lambda ctx: not self(ctx))

    def __bool__(self) -> bool:
        # `a and b` would be `b` alone, and nobody would see it.
        raise TypeError("a filter is neither true nor false: combine filters with &, | and ~")


Check: TypeAlias = Filter | Callable[[Context], object]
"""What says whether a message is for a handler."""


def checked(given: Any) -> Check:
    """What was given as a filter.

    Raises:
        InvalidInput: it is no function, or one with `async`: that would match everything.
    """
    called = given if inspect.isroutine(given) else getattr(type(given), "__call__", None)  # noqa: B004  # of its class
    if not callable(given) or isinstance(given, type):
        raise InvalidInput("filters: not a filter", field="filters", hint='F.text == "hello"')
    if inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(called):
        raise InvalidInput(
            "filters: a coroutine function; a filter answers at once",
            field="filters",
            hint="A decorator that takes filters is written with brackets: @bot.message().",
        )
    check: Check = given
    return check


@final
class Text:
    """The text of a message, in filters. Upper and lower case are two."""

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, text: object) -> Filter:  # type: ignore[override]
        return Filter(lambda ctx: ctx.text == text)

    def __ne__(self, text: object) -> Filter:  # type: ignore[override]
        return Filter(lambda ctx: ctx.text != text)

    def in_(self, texts: Iterable[str]) -> Filter:
        """It is one of these."""
        among = frozenset(texts)
        return Filter(lambda ctx: ctx.text in among)

    def startswith(self, *beginnings: str) -> Filter:
        """It begins with one of these."""
        return Filter(lambda ctx: ctx.text.startswith(beginnings))

    def endswith(self, *ends: str) -> Filter:
        """It ends with one of these."""
        return Filter(lambda ctx: ctx.text.endswith(ends))

    def contains(self, part: str) -> Filter:
        """It has this somewhere."""
        return Filter(lambda ctx: part in ctx.text)

    def matches(self, pattern: str | re.Pattern[str]) -> Filter:
        """A place of it matches the pattern (`re.search`), which `ctx.match` then has.

        Raises:
            re.error: it is no pattern.
        """
        compiled = re.compile(pattern)

        def found(ctx: Context) -> bool:
            match = compiled.search(ctx.text)
            if match is not None:
                ctx._match = match
            return match is not None

        return Filter(found)


@final
class Sender:
    """Who sent a message, in filters. Accounts are npubs, hex or PublicKeys."""

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, who: object) -> Filter:  # type: ignore[override]
        return self.in_([who])  # type: ignore[list-item]  # what is no account is refused there

    def __ne__(self, who: object) -> Filter:  # type: ignore[override]
        return ~(self == who)

    def in_(self, people: Iterable[PublicKeyLike]) -> Filter:
        """It is one of these accounts, as they are now.

        Raises:
            InvalidKey, InvalidInput, TypeError: as Groups.create().
        """
        among: frozenset[PublicKey] = frozenset(public_keys(people, "people"))
        return Filter(lambda ctx: ctx.sender in among)


@final
class Fields:
    """What filters ask of a message."""

    def __init__(self) -> None:
        """Made once: `F`."""
        self.text: Final = Text()
        self.sender: Final = Sender()
        self.is_direct: Final = Filter(lambda ctx: ctx.group.info.member_count == 2)
        self.from_admin: Final = Filter(lambda ctx: ctx.is_admin)
        self.has_file: Final = Filter(lambda ctx: ctx.message.attachments)
        self.mentions_me: Final = Filter(lambda ctx: ctx.mentioned)
        self.replies_to_me: Final = Filter(lambda ctx: ctx._answers_me)


F: Final = Fields()
"""What filters are made of: `F.text` (`==`, `!=`, `in_()`, `startswith()`, `endswith()`, `contains()`, `matches()`),
`F.sender` (`==`, `!=`, `in_()`), `F.is_direct` (nobody else is in the group), `F.from_admin`, `F.has_file`,
`F.mentions_me`, `F.replies_to_me` (it answers a message of the bot)."""
