"""What one message, or another bot, may cost a bot: it gives up, does not answer bots, and keeps a pace."""

from __future__ import annotations

import asyncio
import logging

import pytest
from tests.client.bots import at_work, bot_of, in_a_chat
from tests.client.people import PATIENCE, hear

from mdk import Bot, Client, Config, Context, Event, GroupId, MessageReceived, errors
from mdk.calling import is_lasting, is_passing
from mdk.config import MESSAGES_A_MINUTE, TRIES
from mdk.pace import BOT_MARK, Pace
from mdk.testing import Chat, LocalBlossom, LocalRelay

ERRORS: list[tuple[Exception, str]] = [
    (errors.InvalidInput(), "lasting"),
    (errors.InvalidKey(), "lasting"),
    (errors.MessageNotFound(), "lasting"),
    (errors.KeyPackageNotFound(), "lasting"),
    (errors.NotAllowed(), "lasting"),
    (errors.NotMember(), "lasting"),
    (errors.GroupTooLarge(), "lasting"),
    (errors.MediaCorrupt(), "lasting"),
    (ExceptionGroup("two", [errors.InvalidInput(), errors.NotAllowed()]), "lasting"),
    (errors.MediaStale(), "passing"),
    (errors.CommitPending(), "passing"),
    (errors.NotConnected(), "passing"),
    (errors.NoAnswer(), "passing"),
    (errors.OutboxFull(), "passing"),
    (errors.DiskFull(), "passing"),
    (errors.StorageError(), "passing"),
    (OSError(28, "No space left on device"), "passing"),
    (errors.Closed(), "passing"),
    (ExceptionGroup("two", [errors.DiskFull(), errors.NotConnected()]), "passing"),
    # Whoever writes to the bot chooses the server, the path and the words.
    (errors.MediaUnavailable(), ""),
    (FileNotFoundError(2, "No such file"), ""),
    (TimeoutError(), ""),
    (ConnectionRefusedError(), ""),
    (ValueError(), ""),
    (ExceptionGroup("two", [errors.InvalidInput(), errors.DiskFull()]), ""),
    (ExceptionGroup("two", [errors.DiskFull(), ValueError()]), ""),
]


def test_which_errors_waiting_does_not_mend_and_which_are_tried_for_as_long_as_it_takes() -> None:
    for error, what in ERRORS:
        found = (is_lasting(error), is_passing(error))
        assert found == (what == "lasting", what == "passing"), repr(error)
    assert not is_passing(errors.FileMissing())


async def test_a_handler_that_always_raises_does_not_silence_the_bot(
    relay: LocalRelay, alice: Client, caplog: pytest.LogCaptureFixture
) -> None:
    bot = bot_of(relay)
    told: list[tuple[str, int, bool]] = []
    plainly: list[int] = []

    @bot.on_message
    async def number(ctx: Context) -> None:
        await ctx.reply(f"{int(ctx.text) + 1}")

    @bot.on_error
    async def note(_event: Event, error: Exception, attempts: int, given_up: bool) -> None:
        told.append((type(error).__name__, attempts, given_up))

    @bot.on_error
    async def count(_event: Event, _error: Exception, attempts: int) -> None:
        plainly.append(attempts)

    async with in_a_chat(bot, alice) as group:
        await group.send("hello")
        await group.send("1")
        assert await hear(group, 1) == ["2"]
    assert told == [("ValueError", n, n == TRIES) for n in range(1, TRIES + 1)]
    assert plainly == list(range(1, TRIES + 1))
    said = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert (
        said[-1]
        == f"the handler {number.__qualname__} raised ValueError (attempt {TRIES}), given up"
    )
    assert not any("given up" in one for one in said[:-1])


@pytest.mark.parametrize(("tries", "calls"), [(1, 1), (2, 2), (None, TRIES + 2)])
async def test_the_tries_are_a_setting(
    relay: LocalRelay, alice: Client, tries: int | None, calls: int
) -> None:
    bot = bot_of(relay, tries=tries)
    heard: list[str] = []

    @bot.on_message
    async def handle(ctx: Context) -> None:
        heard.append(ctx.text)
        if ctx.text == "hello" and len(heard) < TRIES + 2:
            raise ValueError
        await ctx.reply("done")

    async with in_a_chat(bot, alice) as group:
        await group.send("hello")
        await group.send("next")
        await hear(group, 1)
        assert heard.count("hello") == calls


def echoing(bot: Bot) -> list[str]:
    """A bot that answers whatever it hears."""
    heard: list[str] = []

    @bot.on_message
    async def echo(ctx: Context) -> None:
        heard.append(ctx.text)
        await ctx.reply(ctx.text)

    return heard


async def test_two_bots_that_allow_each_other_do_not_answer_each_other(
    relay: LocalRelay, alice: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mdk.bot")
    bots = [bot_of(relay), bot_of(relay)]
    heard = [echoing(bot) for bot in bots]
    seen: list[str] = []

    for bot in bots:

        @bot.on(MessageReceived)
        async def see(event: MessageReceived) -> None:
            seen.append(event.message.text)

    async with at_work(bots[0]), at_work(bots[1]):
        group = await alice.groups.create("chat", [bot.client.public_key for bot in bots])
        said = ["hello", "how are you", "bye"]
        for text in said:
            await group.send(text)
            answers = [await group.next_message(PATIENCE) for _ in bots]
            assert [answer.text for answer in answers] == [text] * 2
            assert all(BOT_MARK in answer.tags for answer in answers)
    assert heard == [said] * 2
    assert sorted(seen) == sorted(said * 2)
    told = [record.getMessage() for record in caplog.records]
    assert 1 <= sum("hears_bots=" in text for text in told) <= 2


async def test_bots_that_hear_each_other_keep_a_pace(relay: LocalRelay, alice: Client) -> None:
    most = 4
    bots = [bot_of(relay, hears_bots=True, messages_a_minute=most) for _ in range(2)]
    heard = [echoing(bot) for bot in bots]
    waiting, done = asyncio.Event(), asyncio.Event()

    async def wait(_seconds: float) -> None:
        waiting.set()
        await done.wait()
        raise errors.NotAllowed

    for bot in bots:
        bot._pace._sleep = wait
    async with at_work(bots[0]), at_work(bots[1]):
        group = await alice.groups.create("chat", [bot.client.public_key for bot in bots])
        await group.send("hello")
        await asyncio.wait_for(waiting.wait(), PATIENCE)
        sent = [
            message
            for bot in bots
            for group in bot.client.groups
            async for message in group.history()
            if message.is_mine
        ]
        assert most <= len(sent) <= 2 * most
        assert max(len(texts) for texts in heard) > most
        done.set()


async def test_a_question_is_not_answered_by_another_bot(relay: LocalRelay, alice: Client) -> None:
    asking, echo = bot_of(relay), bot_of(relay)
    echoing(echo)
    answers: list[str] = []

    @asking.command("ask")
    async def ask(ctx: Context) -> None:
        answers.append((await ctx.group.next_message(PATIENCE)).text)
        await ctx.reply("thank you")

    async with at_work(asking), at_work(echo):
        bots = [bot.client.public_key for bot in (asking, echo)]
        group = await alice.groups.create("chat", bots)
        await group.send("/ask")
        assert await hear(group, 1) == ["/ask"]
        await group.send("blue")
        assert sorted(await hear(group, 2)) == ["blue", "thank you"]
    assert answers == ["blue"]


async def test_a_file_of_a_bot_is_marked(relay: LocalRelay, blobs: LocalBlossom) -> None:
    bot = bot_of(relay, blossom=[blobs.url], config=Config(allow_loopback=True))

    @bot.command("letter")
    async def send(ctx: Context) -> None:
        await ctx.send_file(b"a file", caption="Here.", filename="letter.txt")

    async with Chat(bot, relay) as chat:
        await chat.say("/letter")
        answer = await chat.expect("Here.")
        assert [one.filename for one in answer.attachments] == ["letter.txt"]
        assert BOT_MARK in answer.tags


async def test_the_pace_is_so_many_messages_to_one_group_within_any_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = [0.0]
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    pace = Pace(3, now=lambda: clock[0], sleep=sleep)
    here, there = GroupId("aa"), GroupId("bb")
    for at in (0.0, 10.0, 20.0):
        clock[0] = at
        await pace.turn(here)
    await pace.turn(there)
    assert slept == []
    await pace.turn(here)
    await pace.turn(here)
    # The first of the last three was at 0, then at 10.
    assert slept == [40.0, 10.0]
    clock[0] += 1000.0
    await pace.turn(here)
    assert slept == [40.0, 10.0]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "3 messages to one group" in said[0]


async def test_a_conversation_of_people_meets_no_pace() -> None:
    clock = [0.0]

    async def sleep(_seconds: float) -> None:
        raise AssertionError("it waits")

    pace = Pace(MESSAGES_A_MINUTE, now=lambda: clock[0], sleep=sleep)
    for _ in range(1000):
        await pace.turn(GroupId("aa"))
        clock[0] += 2.0
    unlimited = Pace(None, now=lambda: clock[0], sleep=sleep)
    for _ in range(1000):
        await unlimited.turn(GroupId("aa"))
