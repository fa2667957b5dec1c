"""An echo bot a White Noise user can invite. Prints its npub; only `allow` may invite or talk to it."""

from mdk import Bot, Context

bot = Bot(
    "echo-bot",  # state in the user data dir, key in the OS keyring
    allow=["npub1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"],
    relays=["wss://relay.eu.whitenoise.chat", "wss://relay.us.whitenoise.chat"],
    name="Echo",
)


@bot.command("ping")
async def ping(ctx: Context) -> None:
    await ctx.react("🏓")


@bot.on_message
async def echo(ctx: Context) -> None:
    await ctx.reply(ctx.text)


bot.run()  # ctrl-C drains the outbox and exits
