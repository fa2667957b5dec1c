"""What parameters of handlers are filled with: words of a command, and what the bot provides."""

from __future__ import annotations

import enum
import functools
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Literal

import pytest
from tests.client.bots import bot_of
from tests.client.people import PATIENCE

from mdk import Bot, Client, Context, Joined, Keys, Member, PublicKey, Router, errors
from mdk.arguments import Rest, words_of
from mdk.testing import Chat, LocalRelay

SOMEBODY = Keys.generate().public_key


class Color(enum.Enum):
    RED = 1
    DARK_BLUE = 2


class Database:
    def __init__(self, name: str = "database") -> None:
        self.name = name


class Special(Database):
    """Given as a Database."""


async def dialogue(bot: Bot, relay: LocalRelay, *lines: tuple[str, str]) -> None:
    async with Chat(bot, relay) as chat:
        for said, answer in lines:
            await chat.say(said)
            await chat.expect(answer, timeout=PATIENCE)


def telling(bot: Router, *names: str) -> Callable[[Any], Any]:
    """A command that says what its handler returns."""

    def register(handler: Callable[..., Any]) -> None:
        @bot.command(*names)
        @functools.wraps(handler)
        async def tell(ctx: Context, *arguments: Any, **named: Any) -> None:
            await ctx.send(repr(handler(ctx, *arguments, **named)))

    return register


async def test_words_fill_parameters_by_their_types(relay: LocalRelay) -> None:
    bot = bot_of(relay)
    telling(bot, "int")(_int)
    telling(bot, "float")(_float)
    telling(bot, "bool")(_bool)
    telling(bot, "text")(_text)
    telling(bot, "time")(_time)
    telling(bot, "choice")(_choice)
    telling(bot, "color")(_color)
    await dialogue(
        bot,
        relay,
        ("/int -12", "-12"),
        ("/float 2.50", "2.5"),
        ("/bool YES", "True"),
        ("/bool off", "False"),
        ("/text word", "('word', 'none')"),
        ('/text "two  words" "3"', "('two  words', '3')"),
        ('/text “two words” 5"', "('two words', '5\"')"),
        ("/time 1h30m", "5400.0"),
        ("/time 2D", "172800.0"),
        ("/choice small", "'small'"),
        ("/choice 3", "3"),
        ("/color dark_blue", "<Color.DARK_BLUE: 2>"),
    )


def _int(_ctx: Context, n: int) -> object:
    return n


def _float(_ctx: Context, n: float) -> object:
    return n


def _bool(_ctx: Context, b: bool) -> object:
    return b


def _text(_ctx: Context, a: str, b: str = "none") -> object:
    return a, b


def _time(_ctx: Context, t: timedelta) -> object:
    return t.total_seconds()


def _choice(_ctx: Context, size: Literal["small", "LARGE", 3]) -> object:
    return size


def _color(_ctx: Context, color: Color) -> object:
    return color


async def test_people_are_named_by_key_or_as_me(relay: LocalRelay) -> None:
    bot = bot_of(relay)

    @bot.command("who")
    async def who(ctx: Context, key: PublicKey) -> None:
        await ctx.send(key.npub)

    @bot.command("member")
    async def member(ctx: Context, who: Member) -> None:
        await ctx.send(f"{who.public_key.npub} {who.is_me}")

    async with Chat(bot, relay) as chat:
        user, me = chat.user.public_key, bot.client.public_key
        for said, answer in (
            ("/who me", user.npub),
            (f"/who {SOMEBODY.npub}", SOMEBODY.npub),
            (f"/who {SOMEBODY.hex}", SOMEBODY.npub),
            (f"/who nostr:{SOMEBODY.npub}", SOMEBODY.npub),
            ("/member me", f"{user.npub} False"),
            (f"/member {me.hex}", f"{me.npub} True"),
        ):
            await chat.say(said)
            await chat.expect(answer, timeout=PATIENCE)
        await chat.say(f"/member {SOMEBODY.npub}")
        answer = (await chat.expect(timeout=PATIENCE)).text
        assert "is not in this group" in answer
        await chat.say("/who bob")
        answer = (await chat.expect(timeout=PATIENCE)).text
        assert answer.startswith('key: "bob" is no account: an npub, or me.\n')


async def test_what_may_be_left_out_and_what_takes_the_rest(relay: LocalRelay) -> None:
    bot = bot_of(relay)

    @bot.command("after")
    async def after(ctx: Context, seconds: int | None, what: Rest) -> None:
        await ctx.send(f"{seconds} {what!r}")

    @bot.command("maybe")
    async def maybe(ctx: Context, n: int | None, what: Rest = "nothing") -> None:
        await ctx.send(f"{n} {what!r}")

    @bot.command("all")
    async def every(ctx: Context, first: int, *others: int) -> None:
        await ctx.send(f"{first} {others}")

    @bot.command("args")
    async def args(ctx: Context) -> None:
        await ctx.send(str(ctx.args))

    await dialogue(
        bot,
        relay,
        ('  /AFTER 5   a  "b"\n c ', "5 'a  \"b\"\\n c'"),
        ("/maybe", "None 'nothing'"),
        ("/maybe 4", "4 'nothing'"),
        ("/all 1", "1 ()"),
        ("/all 1 2 3", "1 (2, 3)"),
        ('/args 1 "two words"', "['1', '\"two', 'words\"']"),
    )


async def test_what_does_not_fit_is_answered_once_and_calls_nobody(relay: LocalRelay) -> None:
    bot = bot_of(relay)
    called: list[object] = []

    @bot.command("remind", "r")
    async def remind(_ctx: Context, after: timedelta, what: Rest) -> None:
        called.append((after, what))

    @bot.command("paint")
    async def paint(_ctx: Context, color: Color, big: bool = False, *spare_rooms: str) -> None:
        called.append((color, big, spare_rooms))

    @bot.command("one")
    async def one(_ctx: Context, n: int, x: float = 1.0) -> None:
        called.append((n, x))

    usage = "Usage: /remind <after: duration> <what…>"
    paint_usage = "Usage: /paint <color: red|dark_blue> [big: yes|no] [spare rooms…]"
    one_usage = "Usage: /one <n: number> [x: number]"
    long = "x" * 100
    await dialogue(
        bot,
        relay,
        ("/r soon tea", f'after: "soon" is no duration like 1h30m or 2d.\n{usage}'),
        ("/r 30m1h tea", f'after: "30m1h" is no duration like 1h30m or 2d.\n{usage}'),
        ("/r 999999999w x", f'after: "999999999w" is no duration like 1h30m or 2d.\n{usage}'),
        ("/remind", f"after is missing.\n{usage}"),
        ("/remind 5m", f"what is missing.\n{usage}"),
        ("/paint green", f'color: "green" is none of red, dark_blue.\n{paint_usage}'),
        ("/paint red perhaps", f'big: "perhaps" is neither yes nor no.\n{paint_usage}'),
        ("/one 1 2 3", f"there is more than it takes: 3.\n{one_usage}"),
        ("/one 1.5", f'n: "1.5" is no whole number.\n{one_usage}'),
        ("/one 1 inf", f'x: "inf" is no number.\n{one_usage}'),
        (f"/one {long}", f'n: "{long[:40]}…" is no whole number.\n{one_usage}'),
        (f"/one {'1' * 5000}", f'n: "{"1" * 40}…" is no whole number.\n{one_usage}'),
    )
    assert called == []


async def test_what_is_provided_comes_by_its_type(relay: LocalRelay) -> None:
    bot = bot_of(relay)
    got: dict[str, object] = {}
    given = Special("given")

    @bot.on_start
    async def started(_client: Client, db: Database) -> None:
        got["start"] = db

    @bot.on_stop
    async def stopped(_client: Client, *, db: Database) -> None:
        got["stop"] = db

    @bot.on(Joined)
    async def joined(_event: Joined, db: Database) -> None:
        got["event"] = db

    @bot.on_message
    async def message(ctx: Context, db: Database, other: Router | None = None) -> None:
        got["message"] = (db, other)
        await ctx.send("done")

    @bot.command("count")
    async def count(ctx: Context, db: Database, n: int, *words: str) -> None:
        got["command"] = (db, n, words)
        await ctx.send("done")

    bot.provide(Database("replaced"))
    bot.provide(given, as_=Database)
    await dialogue(bot, relay, ("hello", "done"), ("/count 3 a b", "done"))
    assert got == {
        "start": given,
        "stop": given,
        "event": given,
        "message": (given, None),
        "command": (given, 3, ("a", "b")),
    }


async def test_what_nobody_provides_ends_the_bot_before_it_starts(relay: LocalRelay) -> None:
    bot = bot_of(relay)

    @bot.on_message
    async def handler(_ctx: Context, db: Database) -> None: ...

    with pytest.raises(errors.InvalidInput, match=r"parameter db.* Database") as raised:
        await bot.serve()
    assert raised.value.field == "handler"
    await bot.client.close()


async def test_a_type_that_is_not_known_there_is_named(relay: LocalRelay) -> None:
    bot = bot_of(relay)

    class Local: ...

    @bot.command("x")
    async def handler(_ctx: Context, thing: Local) -> None: ...

    with pytest.raises(errors.InvalidInput, match="thing, whose type Local is not known"):
        await bot.serve()
    await bot.client.close()


async def no_type(_ctx: Context, thing) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001


async def behind_rest(_ctx: Context, what: Rest, n: int) -> None: ...


async def by_name(_ctx: Context, *, n: int) -> None: ...


async def strange_rest(_ctx: Context, *things: Database) -> None: ...


async def wrong_first(number: int, _n: int) -> None: ...


async def word_in_a_message(_ctx: Context, n: int) -> None: ...


async def wrong_event(_ctx: Context) -> None: ...


@pytest.mark.parametrize(
    ("handler", "name"),
    [
        (no_type, "thing"),
        (behind_rest, "n"),
        (by_name, "n"),
        (strange_rest, "things"),
        (wrong_first, "number"),
    ],
)
def test_a_command_that_words_cannot_fill_is_refused_at_once(handler: Any, name: str) -> None:
    router = Router()
    with pytest.raises(errors.InvalidInput, match=f"has a parameter {name},") as raised:
        router.command("x")(handler)
    assert raised.value.field == "handler"
    router.command("x")(works)


async def works(_ctx: Context, n: int = 1, *words: str, **_others: object) -> None: ...


def test_only_commands_have_words() -> None:
    router: Any = Router()
    for decorator, handler, name in (
        (router.on_message, word_in_a_message, "n"),
        (router.on(Joined), wrong_event, "_ctx"),
        (router.on_start, wrong_event, "_ctx"),
    ):
        with pytest.raises(errors.InvalidInput, match=f"has a parameter {name},"):
            decorator(handler)


def test_values_of_words_are_not_provided() -> None:
    bot = Bot(":memory:", allow=[], relays=["wss://relay.example"])
    for value in (1, "text", timedelta(1), Color.RED, SOMEBODY):
        with pytest.raises(errors.InvalidInput) as raised:
            bot.provide(value)
        assert raised.value.field == "value"


async def test_bound_methods_and_partial_functions_get_words(relay: LocalRelay) -> None:
    bot = bot_of(relay)

    class Maths:
        async def double(self, ctx: Context, n: int) -> None:
            await ctx.send(str(2 * n))

    async def add(ctx: Context, n: int, more: int) -> None:
        await ctx.send(str(n + more))

    class Times:
        async def __call__(self, ctx: Context, n: int) -> None:
            await ctx.send(str(3 * n))

    partial: Callable[..., Awaitable[None]] = functools.partial(add, more=10)
    bot.command("double")(Maths().double)
    bot.command("add")(partial)
    bot.command("times")(Times())
    await dialogue(bot, relay, ("/double 4", "8"), ("/add 4", "14"), ("/times 4", "12"))


def test_quotes_hold_words_together_where_they_close() -> None:
    for text, words in (
        ("", []),
        ("  a  b ", ["a", "b"]),
        ('"a b" c', ["a b", "c"]),
        ('"a "b" c"', ['a "b', 'c"']),
        ('a"b c"', ['a"b', 'c"']),
        ('"a b', ['"a', "b"]),
        ('""', [""]),
        ("„a b“ «c d»", ["a b", "c d"]),
    ):
        assert [word.text for word in words_of(text)] == words, text
