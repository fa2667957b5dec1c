"""A handler asks, and the answer is for it alone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.client.bots import (
    answered,
    answering,
    at_work,
    bot_of,
    bot_on_disk,
    going,
    has,
    in_a_chat,
)
from tests.client.people import PATIENCE, hear

from mdk import Bot, Client, Context, Event, Group, MessageReceived, errors
from mdk.arguments import Rest
from mdk.testing import Chat, LocalRelay
from mdk.testing.fixtures import MakeClient

SHORT = 0.05


def ordering(bot: Bot, kind: Any = int, **options: Any) -> list[str]:
    """It asks how many, and echoes what is no answer. What handlers of events get."""
    events: list[str] = []

    @bot.command("order")
    async def order(ctx: Context) -> None:
        count = await ctx.ask("How many?", kind, **({"timeout": PATIENCE} | options))
        await ctx.send(f"ordered {count!r}")

    @bot.on_message
    async def echo(ctx: Context) -> None:
        await ctx.send(f"echo {ctx.text}")

    @bot.on(MessageReceived)
    async def note(event: MessageReceived) -> None:
        events.append(event.message.text)

    return events


async def test_an_answer_is_a_value_and_reaches_no_other_handler(relay: LocalRelay) -> None:
    bot = bot_of(relay)
    events = ordering(bot)
    async with Chat(bot, relay) as chat:
        asked = await chat.say("/order")
        question = await chat.expect("How many?", timeout=PATIENCE)
        assert question.reply_to == asked.id
        wrong = await chat.say("seven")
        again = await chat.expect('"seven" is no whole number. How many?', timeout=PATIENCE)
        assert again.reply_to == wrong.id
        await chat.say(" 7 ")
        await chat.expect("ordered 7", timeout=PATIENCE)
        await chat.say("thanks")
        await chat.expect("echo thanks", timeout=PATIENCE)
    assert events == ["/order", "thanks"]


@pytest.mark.parametrize(
    ("kind", "said", "got"),
    [
        (str, '"as it" stands ', "'\"as it\" stands '"),
        (Rest, "the  rest", "'the  rest'"),
        (bool, "Yes", "True"),
        (Literal["small", "large"], "LARGE", "'large'"),
    ],
)
async def test_answers_are_of_the_kinds_of_arguments(
    relay: LocalRelay, kind: Any, said: str, got: str
) -> None:
    bot = bot_of(relay)
    ordering(bot, kind)
    async with Chat(bot, relay) as chat:
        await chat.say("/order")
        await chat.expect("How many?", timeout=PATIENCE)
        await chat.say(said)
        await chat.expect(f"ordered {got}", timeout=PATIENCE)


async def in_three(bot: Bot, alice: Client, bob: Client) -> tuple[Group, Group]:
    group = await alice.groups.create("chat", [bot.client.public_key, bob.public_key])
    return group, await bob.invites.accept(await bob.invites.next(PATIENCE))


@pytest.mark.parametrize("of_bob", [False, True])
async def test_only_who_was_asked_answers(
    relay: LocalRelay, alice: Client, make_client: MakeClient, of_bob: bool
) -> None:
    bob = await make_client("bob")
    bot = bot_of(relay)
    ordering(bot, of=[bob.npub] if of_bob else None)
    async with at_work(bot):
        group, room = await in_three(bot, alice, bob)
        asked, other = (room, group) if of_bob else (group, room)
        await group.send("/order")
        assert (await hear(group, 1)) == ["How many?"]
        await other.send("3")
        await has(bot, group.id, "3")
        await asked.send("4")
        # What somebody else said comes to the handlers afterwards, in its order.
        assert await said_by(bot, group, 2) == ["ordered 4", "echo 3"]


async def said_by(bot: Bot, group: Group, count: int) -> list[str]:
    """The next messages of the bot."""
    found: list[str] = []
    while len(found) < count:
        message = await group.next_message(PATIENCE)
        if message.sender == bot.client.public_key:
            found.append(message.text)
    return found


async def test_what_was_said_before_the_question_is_no_answer(
    relay: LocalRelay, alice: Client
) -> None:
    bot = bot_of(relay)
    may_ask = asyncio.Event()

    @bot.command("order")
    async def order(ctx: Context) -> None:
        await may_ask.wait()
        await ctx.send(f"ordered {await ctx.ask('How many?', int, timeout=PATIENCE)}")

    @bot.on_message
    async def echo(ctx: Context) -> None:
        await ctx.send(f"echo {ctx.text}")

    async with in_a_chat(bot, alice) as group:
        await group.send("/order")
        await group.send("1")
        await has(bot, group.id, "1")
        may_ask.set()
        assert await hear(group, 1) == ["How many?"]
        await group.send("2")
        assert await hear(group, 2) == ["ordered 2", "echo 1"]


async def test_one_answer_is_taken_and_the_next_message_is_not(
    relay: LocalRelay, alice: Client
) -> None:
    bot = bot_of(relay)
    both = asyncio.Event()

    @bot.command("order")
    async def order(ctx: Context) -> None:
        answer = await ctx.ask("How many?", int, timeout=PATIENCE)
        # The second one is here already when the first one is taken.
        await both.wait()
        await ctx.send(f"ordered {answer}")

    @bot.on_message
    async def echo(ctx: Context) -> None:
        await ctx.send(f"echo {ctx.text}")

    async with in_a_chat(bot, alice) as group:
        await group.send("/order")
        assert await hear(group, 1) == ["How many?"]
        await group.send("1")
        await group.send("2")
        await has(bot, group.id, "2")
        both.set()
        assert await hear(group, 2) == ["ordered 1", "echo 2"]


async def test_two_questions_in_one_handler_get_an_answer_each(relay: LocalRelay) -> None:
    bot = bot_of(relay)

    @bot.command("sum")
    async def add(ctx: Context) -> None:
        async with asyncio.TaskGroup() as group:
            asked = [
                group.create_task(ctx.ask(f"{n}?", int, timeout=PATIENCE)) for n in ("one", "two")
            ]
        await ctx.send(str(sum(one.result() for one in asked)))

    async with Chat(bot, relay) as chat:
        await chat.say("/sum")
        assert {(await chat.expect(timeout=PATIENCE)).text for _ in range(2)} == {"one?", "two?"}
        await chat.say("3")
        await chat.say("4")
        await chat.expect("7", timeout=PATIENCE)


async def test_who_does_not_answer_in_time_is_heard_by_others_again(relay: LocalRelay) -> None:
    bot = bot_of(relay)

    @bot.command("order")
    async def order(ctx: Context) -> None:
        try:
            await ctx.ask("How many?", int, timeout=SHORT)
        except TimeoutError:
            await ctx.send("too late")

    @bot.on_message
    async def echo(ctx: Context) -> None:
        await ctx.send(f"echo {ctx.text}")

    async with Chat(bot, relay) as chat:
        await chat.say("/order")
        await chat.expect("How many?", timeout=PATIENCE)
        await chat.expect("too late", timeout=PATIENCE)
        await chat.say("5")
        await chat.expect("echo 5", timeout=PATIENCE)


async def test_an_answer_that_never_comes_is_asked_for_once(
    relay: LocalRelay, alice: Client
) -> None:
    bot = bot_of(relay)
    ordering(bot, timeout=SHORT)
    told: list[tuple[str, int, bool]] = []

    @bot.on_error
    async def note(_event: Event, error: Exception, attempts: int, given_up: bool) -> None:
        told.append((str(error), attempts, given_up))

    async with in_a_chat(bot, alice) as group:
        await group.send("/order")
        assert await hear(group, 1) == ["How many?"]
        await group.send("hello")
        # The first try may have ended before this came, or not: it is no number in either case.
        await answered(bot)
    assert told == [("no answer within 0.05 seconds", 1, True)]


async def test_a_handler_that_is_called_again_asks_again(relay: LocalRelay, alice: Client) -> None:
    bot = bot_of(relay)
    answers: list[int] = []

    @bot.command("order")
    async def order(ctx: Context) -> None:
        answers.append(await ctx.ask("How many?", int, timeout=PATIENCE))
        if len(answers) < 2:
            raise ValueError
        await ctx.send("done")

    @bot.on_message
    async def echo(ctx: Context) -> None:
        await ctx.send(f"echo {ctx.text}")

    async with in_a_chat(bot, alice) as group:
        await group.send("/order")
        for said in ("1", "2"):
            assert await hear(group, 1) == ["How many?"]
            await group.send(said)
        assert await hear(group, 1) == ["done"]
        await group.send("hello")
        assert await hear(group, 1) == ["echo hello"]
    assert answers == [1, 2]


async def test_who_asks_holds_up_nobody_and_may_take_longer_than_a_handler(
    relay: LocalRelay, alice: Client
) -> None:
    bot = bot_of(relay, concurrency=1, handler_timeout=PATIENCE)
    ordering(bot)
    async with in_a_chat(bot, alice) as group:
        other = await alice.groups.create("other", [bot.client.public_key])
        await group.send("/order")
        assert await hear(group, 1) == ["How many?"]
        # The one slot is free.
        await other.send("hello")
        assert await hear(other, 1) == ["echo hello"]
        await group.send("2")
        assert await hear(group, 1) == ["ordered 2"]


async def test_an_answer_does_not_come_again_after_a_restart(
    relay: LocalRelay, alice: Client, tmp_path: Path
) -> None:
    bot = bot_on_disk(relay, tmp_path)
    ordering(bot)
    serving = await going(bot)
    try:
        group = await alice.groups.create("chat", [bot.client.public_key])
        await group.send("/order")
        assert await hear(group, 1) == ["How many?"]
        await group.send("2")
        assert await hear(group, 1) == ["ordered 2"]
        await answered(bot)
    finally:
        bot.stop()
        await serving
    again = bot_on_disk(relay, tmp_path)
    heard = answering(again)
    async with at_work(again):
        await group.send("new")
        assert await hear(group, 1) == ["done new"]
    assert heard == ["new"]


async def test_what_cannot_be_asked_is_refused(relay: LocalRelay) -> None:
    bot = bot_of(relay)
    raised: list[str] = []

    @bot.on_message
    async def handle(ctx: Context) -> None:
        wrong: Any
        for wrong in ({"kind": dict}, {"of": []}, {"of": "npub1nobody"}, {"of": ["npub1nobody"]}):
            with pytest.raises((errors.InvalidInput, errors.InvalidKey)) as caught:
                await ctx.ask("What?", **wrong)
            raised.append(str(caught.value.field))
        await ctx.send("done")

    async with Chat(bot, relay) as chat:
        await chat.say("hello")
        await chat.expect("done", timeout=PATIENCE)
    assert raised[:3] == ["kind", "of", "of"]
