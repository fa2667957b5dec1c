"""`mdk relay`, `mdk bot echo`."""

import asyncio

import click

from mdk import Bot, Client, Context
from mdk.errors import GroupTooLarge, InvalidInput

from . import output, qr, running, session
from .accounts import Account, account_options
from .kinds import Person, Relay
from .options import json_option


@click.command()
@click.option(
    "-p",
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Listen on this port.  [default: a free one]",
)
@click.option(
    "--max-event-bytes",
    type=click.IntRange(min=1024),
    default=1_048_576,
    show_default=True,
    metavar="N",
    help="Refuse larger events.",
)
@click.option("--require-auth", is_flag=True, help="Ask clients to authenticate (NIP-42).")
@json_option
def relay(port: int, max_event_bytes: int, require_auth: bool, as_json: bool) -> int:
    """Run a Nostr relay for trials on this machine, until Ctrl-C. It listens on 127.0.0.1 only and keeps nothing."""
    # Every command would take longer to start for what one of them uses.
    from .trial_relay import TrialRelay  # noqa: PLC0415

    async def serve() -> None:
        async with TrialRelay(
            port=port, max_event_bytes=max_event_bytes, require_auth=require_auth
        ) as local:
            if as_json:
                output.record({"command": "relay", "url": local.url})
            else:
                click.echo(f"relay on {local.url}, Ctrl-C ends it")
            await asyncio.Event().wait()

    async def body() -> int:
        await running.until_stopped(serve())
        return 0

    return running.run(body())


@click.group()
def bot() -> None:
    """Run a ready-made bot."""


@bot.command()
@account_options
@click.option(
    "--allow",
    "allowed",
    multiple=True,
    required=True,
    metavar="NPUB|anyone",
    help="Who may invite and talk to it; repeat it, or say anyone.",
)
@click.option(
    "-r",
    "--relay",
    "relays",
    type=Relay(),
    multiple=True,
    metavar="URL",
    help="Its relays; those of `mdk init` without it.",
)
@click.option("--name", help="A name that others see.")
@click.option(
    "--qr", "with_qr", is_flag=True, help="Show the invite link as a QR code (extra `qr`)."
)
@json_option
def echo(
    account: Account,
    allowed: tuple[str, ...],
    relays: tuple[str, ...],
    name: str | None,
    with_qr: bool,
    as_json: bool,
) -> int:
    """Answer every message with its own text, and /ping with a reaction. Until Ctrl-C, which sends what is left.

    A message is done when the answer is in the outbox: a bot that is killed answers after its next start. Only those
    who are allowed can invite it or talk to it. A text that leaves no room for an answer comes back shortened.
    """
    anyone = "anyone" in allowed
    if anyone and len(allowed) > 1:
        raise click.UsageError("--allow anyone goes alone")
    if not account.exists and not relays:
        raise click.UsageError("a new account needs at least one relay: --relay wss://…")
    people = [] if anyone else [Person().convert(person, None, None) for person in allowed]
    echoing = Bot(
        account.path,
        allow="anyone" if anyone else people,
        relays=relays,
        key=account.database_key(new=not account.exists),
        name=name,
    )

    @echoing.command("ping")
    async def ping(ctx: Context) -> None:
        await ctx.react("🏓")

    @echoing.on_message
    async def answer(ctx: Context) -> None:
        text = ctx.text
        while True:
            try:
                await ctx.reply(text)
            except (InvalidInput, GroupTooLarge):
                # An answer names what it answers, and so has less room than the message had.
                if not text:
                    return
                text = text[: len(text) * 9 // 10]
            else:
                return

    @echoing.on_start
    async def started(client: Client) -> None:
        if as_json:
            output.record(
                {"command": "bot echo", "npub": client.npub, "invite_uri": client.invite_uri}
            )
            return
        click.echo(f"npub  {client.npub}\nlink  {client.invite_uri}")
        if with_qr:
            qr.show(client.invite_uri)
        click.echo("Ctrl-C ends it.")

    async def body() -> int:
        await running.until_stopped(echoing.serve())
        return 0

    with session.explained(account):
        return running.run(body())
