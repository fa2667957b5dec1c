"""Routers and filters: which handler a message is for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.client.bots import bot_of, in_a_chat
from tests.client.people import PATIENCE, hear

from mdk import Bot, Client, Context, F, Group, Joined, Message, Router, errors
from mdk.filters import Filter
from mdk.testing import Chat, LocalBlossom, LocalRelay
from mdk.testing.fixtures import MakeClient


async def answers(bot: Bot, relay: LocalRelay, *said: str) -> list[list[str]]:
    """What the bot answers to each, of which the bot says `end` last."""
    found: list[list[str]] = []
    async with Chat(bot, relay) as chat:
        for text in said:
            await chat.say(text)
            heard: list[str] = []
            while (answer := (await chat.expect(timeout=PATIENCE)).text) != "end":
                heard.append(answer)
            found.append(heard)
    return found


def answering(router: Router, name: str, *filters: Filter) -> None:
    @router.message(*filters)
    async def answer(ctx: Context) -> None:
        await ctx.send(name)


async def test_each_handler_whose_filters_match_gets_the_message(relay: LocalRelay) -> None:
    bot = bot_of(relay)
    answering(bot, "is", F.text == "one two")
    answering(bot, "is not", F.text != "one two")
    answering(bot, "among", F.text.in_({"one two", "three"}))
    answering(bot, "starts", F.text.startswith("one", "three"))
    answering(bot, "ends", F.text.endswith("two"))
    answering(bot, "contains", F.text.contains("hr"))
    answering(bot, "both", F.text.contains("t"), F.text.contains("o"))
    answering(bot, "and", F.text.contains("t") & (lambda ctx: "r" in ctx.text))
    answering(bot, "or", (lambda ctx: ctx.text == "four") | F.text.contains("r"))
    answering(bot, "not", ~F.text.contains("t"))
    answering(bot, "end")
    assert await answers(bot, relay, "one two", "three", "four") == [
        ["is", "among", "starts", "ends", "both"],
        ["is not", "among", "starts", "contains", "and", "or"],
        ["is not", "or", "not"],
    ]


async def test_a_pattern_that_matches_is_in_the_context(relay: LocalRelay) -> None:
    bot = bot_of(relay)

    @bot.message(F.text.matches(r"(\d+) \+ (\d+)"))
    async def add(ctx: Context) -> None:
        assert ctx.match is not None
        await ctx.send(str(int(ctx.match[1]) + int(ctx.match[2])))

    @bot.on_message
    async def end(ctx: Context) -> None:
        assert ctx.match is None
        await ctx.send("end")

    assert await answers(bot, relay, "what is 3 + 4?", "3 and 4") == [["7"], []]


async def test_filters_know_the_group_and_its_people(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    admin, member = await make_client("admin"), await make_client("member")
    bot = bot_of(relay)
    answering(bot, "direct", F.is_direct)
    answering(bot, "admin", F.from_admin)
    answering(bot, "member", F.sender == member.npub)
    answering(bot, "not member", F.sender != member.public_key)
    answering(bot, "some", F.sender.in_([admin.public_key, member.npub]))
    answering(bot, "mine", F.replies_to_me)
    answering(bot, "end")

    async with in_a_chat(bot, admin) as group:
        await group.send("hello")
        assert await hear(group, 5) == ["direct", "admin", "not member", "some", "end"]
        await group.add(member.public_key)
        room = await member.invites.accept(await member.invites.next(PATIENCE))
        sent = await room.send("hello")
        assert await hear(room, 3) == ["member", "some", "end"]
        # An answer to somebody else is none to the bot.
        await room.send("hello?", reply_to=sent.message)
        assert await hear(room, 3) == ["member", "some", "end"]
        await room.send("again", reply_to=await last(room))
        assert await hear(room, 4) == ["member", "some", "mine", "end"]


async def last(group: Group) -> Message:
    return await anext(group.history(limit=1))


async def test_a_file_is_seen_by_its_filter(make_client: MakeClient, relay: LocalRelay) -> None:
    async with LocalBlossom() as blobs:
        user = await make_client("user", blobs=blobs)
        bot = bot_of(relay)
        answering(bot, "file", F.has_file)
        answering(bot, "end")
        async with in_a_chat(bot, user) as group:
            await group.send("no file")
            assert await hear(group, 1) == ["end"]
            await group.send_file(b"content", filename="a.bin")
            assert await hear(group, 2) == ["file", "end"]


async def test_a_filter_that_raises_is_what_its_handler_raises(relay: LocalRelay) -> None:
    bot = bot_of(relay, tries=2)
    told: list[tuple[str, int]] = []

    def broken(_ctx: Context) -> bool:
        raise ZeroDivisionError

    @bot.message(broken)
    async def never(ctx: Context) -> None:
        await ctx.send("never")

    @bot.on_error
    async def note(_event: object, error: Exception, attempts: int) -> None:
        told.append((type(error).__name__, attempts))

    answering(bot, "end")
    assert await answers(bot, relay, "hello") == [[]]
    assert told == [("ZeroDivisionError", 1), ("ZeroDivisionError", 2)]


def test_what_cannot_be_a_filter_is_refused() -> None:
    router: Any = Router()

    async def waits(_ctx: Context) -> bool:
        return True

    class Waits:
        async def __call__(self, _ctx: Context) -> bool:
            return True

    for wrong in (waits, Waits(), Waits, "text", True, None):
        with pytest.raises(errors.InvalidInput) as raised:
            router.message(wrong)
        assert raised.value.field == "filters"
    with pytest.raises(errors.InvalidInput):
        _ = F.is_direct & waits
    with pytest.raises(TypeError):
        bool(F.is_direct)
    with pytest.raises(errors.InvalidKey):
        F.sender.in_(["npub1nobody"])


async def test_routers_are_asked_one_after_the_other(relay: LocalRelay) -> None:
    bot, first, second, inner = bot_of(relay), Router("first"), Router("second"), Router()
    bot.include(first)
    bot.include(second)
    first.include(inner)
    answering(second, "second")
    answering(second, "end")
    answering(inner, "inner")
    answering(first, "first")
    answering(bot, "bot")
    assert await answers(bot, relay, "hello") == [["bot", "first", "inner", "second"]]


async def test_everything_of_a_router_is_the_bots(relay: LocalRelay) -> None:
    happened: list[str] = []

    class Games:
        """Bound methods are handlers, too."""

        def __init__(self) -> None:
            self.router = Router("games")
            self.router.command("roll")(self.roll)
            self.router.on(Joined)(self.joined)
            self.router.on_start(self.started)
            self.router.on_stop(self.stopped)
            self.router.every(timedelta(microseconds=1))(self.ticked)
            self.router.on_error(self.failed)

        async def roll(self, ctx: Context) -> None:
            if "failed" not in happened:
                raise ValueError
            await ctx.send("6")

        async def joined(self, _event: Joined) -> None:
            happened.append("joined")

        async def started(self, _client: Client) -> None:
            happened.append("started")

        async def stopped(self, _client: Client) -> None:
            happened.append("stopped")

        async def ticked(self, _client: Client) -> None:
            if "ticked" not in happened:
                happened.append("ticked")

        async def failed(self, _event: object, _error: Exception, _attempts: int) -> None:
            happened.append("failed")

    bot = bot_of(relay)
    bot.include(Games().router)
    async with Chat(bot, relay) as chat:
        await chat.say("/roll")
        await chat.expect("6", timeout=PATIENCE)
    assert sorted(happened) == ["failed", "joined", "started", "stopped", "ticked"]
    assert (happened[0], happened[-1]) == ("started", "stopped")


async def test_a_command_has_aliases_in_any_case(relay: LocalRelay) -> None:
    bot = bot_of(relay)

    @bot.command("Weather", "w")
    async def weather(ctx: Context) -> None:
        await ctx.send(" ".join(["sun", *ctx.args]))
        await ctx.send("end")

    assert await answers(bot, relay, "/weather", "/WEATHER in May", "/W x") == [
        ["sun"],
        ["sun in May"],
        ["sun x"],
    ]


async def test_a_command_of_admins_is_for_nobody_else(
    relay: LocalRelay, make_client: MakeClient
) -> None:
    admin, member = await make_client("admin"), await make_client("member")
    bot = bot_of(relay)
    called: list[bool] = []

    @bot.command("close", admin_only=True)
    async def close(ctx: Context) -> None:
        called.append(ctx.is_admin)
        await ctx.send("closed")

    answering(bot, "heard")

    async with in_a_chat(bot, admin) as group:
        await group.add(member.public_key)
        room = await member.invites.accept(await member.invites.next(PATIENCE))
        await room.send("/close")
        await room.send("hello")
        # Nothing was said about the command: this is the answer to what came after it.
        assert await hear(group, 2) == ["/close", "hello"]
        assert await hear(group, 1) == ["heard"]
        assert called == []
        await group.send("/close")
        assert await hear(group, 1) == ["closed"]
    assert called == [True]


def test_a_name_is_taken_once() -> None:
    async def handler(_ctx: Context) -> None: ...

    bot = Bot(":memory:", allow=[], relays=["wss://relay.example"])
    bot.command("add", "a")(handler)
    for wrong in (["ADD"], ["a"], ["new", "a"], ["new", "NEW"], ["two words"], [""], []):
        with pytest.raises(errors.InvalidInput) as raised:
            bot.command(*wrong)
        assert raised.value.field == "name"
    router = Router("other")
    router.command("A")(handler)
    with pytest.raises(errors.InvalidInput, match="its command a is taken"):
        bot.include(router)
    # A name that is taken after both were put together is found at the start.
    late = Router()
    bot.include(late)
    late.command("sub")(handler)
    bot.command("plus")(handler)
    with pytest.raises(errors.InvalidInput):
        bot.command("sub")


async def test_two_routers_with_one_command_do_not_start(relay: LocalRelay) -> None:
    async def handler(_ctx: Context) -> None: ...

    bot, first, second = bot_of(relay), Router(), Router()
    bot.include(first)
    bot.include(second)
    first.command("add")(handler)
    second.command("Add")(handler)
    with pytest.raises(errors.InvalidInput, match="add"):
        await bot.serve()
    await bot.client.close()


def test_a_router_is_included_once() -> None:
    bot = Bot(":memory:", allow=[], relays=["wss://relay.example"])
    outer, inner = Router(), Router()
    outer.include(inner)
    bot.include(outer)
    wrong: Any
    for into, wrong in ((bot, inner), (bot, outer), (inner, outer), (outer, outer)):
        with pytest.raises(errors.InvalidInput):
            into.include(wrong)
    for wrong in (bot, None, Bot):
        with pytest.raises(errors.InvalidInput):
            Router().include(wrong)
