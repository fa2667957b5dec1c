"""Words of a message as values: numbers, durations, people, choices.

`Rest` is the annotation of the parameter that gets the rest of the line.
"""

import enum
import inspect
import math
import re
import types
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    Literal,
    Protocol,
    TypeAlias,
    Union,
    final,
    get_args,
    get_origin,
)

from ._mdk import PublicKey
from .errors import InvalidKey
from .values import Member, Message

if TYPE_CHECKING:
    from .client import Client, Group

_LONGEST_SHOWN = 40
"""Letters of a word that are repeated to whoever wrote it."""
_MOST_DIGITS = 30
"""Of a number: more than any that somebody means."""
_INTEGER = re.compile(rf"[+-]?[0-9]{{1,{_MOST_DIGITS}}}")
_DECIMAL = re.compile(rf"[+-]?([0-9]{{1,{_MOST_DIGITS}}}\.?[0-9]*|\.[0-9]+)")
_DURATION = re.compile(r"(?:([0-9]{1,9})([wdhms]))")
_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_YES = frozenset({"yes", "y", "true", "on", "1"})
_NO = frozenset({"no", "n", "false", "off", "0"})
# Phones write the quotes of their language.
_QUOTES = {'"': '"', "“": "”", "„": "“”", "«": "»"}


@final
class _RestMark:
    """Marks `Rest`."""


Rest: TypeAlias = Annotated[str, _RestMark()]
"""The rest of the line as it stands, also with several spaces, quotes and line breaks. It is the last parameter."""


class Handled(Protocol):
    """A message that a handler has, as Context shows it."""

    @property
    def client(self) -> "Client":
        """The bot's client."""

    @property
    def group(self) -> "Group":
        """Where it was sent."""

    @property
    def message(self) -> Message:
        """The message."""

    @property
    def sender(self) -> PublicKey:
        """Who sent it."""


class Misfit(Exception):
    """A word is not what it has to be. Its text is for whoever wrote the word."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a text; several in quotes are one."""

    text: str
    """Without the quotes."""
    begin: int
    """Where it begins in the text."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value that words can be."""

    shown: str
    """What the usage line says of it, behind the name; empty for a text."""
    read: Callable[[str, Handled], Awaitable[Any]]
    """The value of a word. Raises Misfit."""
    is_rest: bool = False
    """Whether it takes the rest of the line."""


def words_of(text: str) -> list[Word]:
    """The words of a text. What stands between quotes is one, if they stand where a word begins and ends."""
    found: list[Word] = []
    at = 0
    while (begin := _skip(text, at)) < len(text):
        end = _closing(text, begin)
        if end is not None:
            found.append(Word(text[begin + 1 : end], begin))
            at = end + 1
        else:
            at = begin
            while at < len(text) and not text[at].isspace():
                at += 1
            found.append(Word(text[begin:at], begin))
    return found


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _closing(text: str, begin: int) -> int | None:
    """Where the quotes end that begin here."""
    closing = _QUOTES.get(text[begin])
    if closing is None:
        return None
    for at in range(begin + 1, len(text)):
        if text[at] in closing and (at + 1 == len(text) or text[at + 1].isspace()):
            return at
    return None


def shown(word: str) -> str:
    """A word as it is repeated to whoever wrote it."""
    return f'"{word}"' if len(word) <= _LONGEST_SHOWN else f'"{word[:_LONGEST_SHOWN]}…"'


# the kinds


def _at_once(read: Callable[[str], object]) -> Callable[[str, Handled], Awaitable[object]]:
    async def reading(word: str, _ctx: Handled) -> object:
        return read(word)

    return reading


def _integer(word: str) -> int:
    if not _INTEGER.fullmatch(word):
        raise Misfit(f"{shown(word)} is no whole number")
    return int(word)


def _number(word: str) -> float:
    if not _DECIMAL.fullmatch(word) or not math.isfinite(float(word)):
        raise Misfit(f"{shown(word)} is no number")
    return float(word)


def _truth(word: str) -> bool:
    folded = word.casefold()
    if folded not in _YES | _NO:
        raise Misfit(f"{shown(word)} is neither yes nor no")
    return folded in _YES


def _duration(word: str) -> timedelta:
    parts = _DURATION.findall(word.lower())
    units = [unit for _, unit in parts]
    written = "".join(number + unit for number, unit in parts)
    # Each unit once, the largest first: what is written otherwise is rather a mistake.
    in_order = [unit for unit in _UNITS if unit in units]
    if parts and written == word.lower() and units == in_order:
        # So many weeks may be more than there will be.
        with suppress(OverflowError):
            return timedelta(**{_UNITS[unit]: int(number) for number, unit in parts})
    raise Misfit(f"{shown(word)} is no duration like 1h30m or 2d")


async def _person(word: str, ctx: Handled) -> PublicKey:
    if word.casefold() == "me":
        return ctx.sender
    try:
        return PublicKey.parse(word.removeprefix("@"))
    except InvalidKey:
        raise Misfit(f"{shown(word)} is no account: an npub, or me") from None


async def _member(word: str, ctx: Handled) -> Member:
    who = await _person(word, ctx)
    for member in await ctx.group.members():
        if member.public_key == who:
            return member
    raise Misfit(f"{shown(word)} is not in this group")


def _choice(values: Iterable[tuple[str, object]]) -> Kind:
    """One of these, by what people write for it."""
    named = list(values)
    names = [name for name, _ in named]
    found: dict[str, object] = {}
    for name, value in named:
        found.setdefault(name.casefold(), value)

    def read(word: str) -> object:
        if word.casefold() not in found:
            raise Misfit(f"{shown(word)} is none of {', '.join(names)}")
        return found[word.casefold()]

    return Kind("|".join(names), _at_once(read))


TEXT: Final = Kind("", _at_once(lambda word: word))
_REST: Final = Kind("", _at_once(lambda word: word), is_rest=True)
_KINDS: Final[dict[object, Kind]] = {
    str: TEXT,
    int: Kind("number", _at_once(_integer)),
    float: Kind("number", _at_once(_number)),
    bool: Kind("yes|no", _at_once(_truth)),
    timedelta: Kind("duration", _at_once(_duration)),
    PublicKey: Kind("account", _person),
    Member: Kind("member", _member),
}


def kind_of(annotation: object) -> Kind | None:
    """The kind of value that a parameter with this annotation gets out of words; None if it is none of them."""
    if get_origin(annotation) is Annotated:
        inner, *marks = get_args(annotation)
        return _REST if any(isinstance(one, _RestMark) for one in marks) else kind_of(inner)
    if get_origin(annotation) is Literal:
        return _choice((str(value), value) for value in get_args(annotation))
    if inspect.isclass(annotation) and issubclass(annotation, enum.Enum):
        return _choice((name.lower(), value) for name, value in annotation.__members__.items())
    try:
        return _KINDS.get(annotation)
    except TypeError:
        return None  # what has no hash


def without_none(annotation: object) -> tuple[object, bool]:
    """`X` for `X | None`, and whether it was one; otherwise the annotation itself."""
    if get_origin(annotation) not in {Union, types.UnionType}:
        return annotation, False
    left = [one for one in get_args(annotation) if one is not type(None)]
    if len(left) == len(get_args(annotation)) or len(left) != 1:
        return annotation, False
    return left[0], True
