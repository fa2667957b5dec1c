"""A bot's own test: a real relay, real encryption, no network, under a second."""

from mdk import Bot, Context
from mdk.testing import Chat, LocalRelay


async def test_echo_survives_a_relay_outage() -> None:
    async with LocalRelay() as relay:
        bot = Bot(":memory:", allow="anyone", relays=[relay.url])

        @bot.on_message
        async def echo(ctx: Context) -> None:
            await ctx.reply(ctx.text)

        async with Chat(bot, relay) as chat:
            await chat.say("one")
            await chat.expect("one")
            await relay.pause()
            await chat.say("two")
            await relay.resume()
            await chat.expect("two")
