"""`mdk init`, `mdk whoami`."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import click

from mdk import GroupState, Keys, Mdk, RelayStatus
from mdk.client.nprofile import profile_uri
from mdk.errors import KeyFileTooWide, NotConnected

from . import keys, output, qr, records, running, session
from .accounts import Account, account_options
from .exit_codes import ExitCode
from .kinds import Relay
from .options import PATH, json_option, patience_option


def _identity(file: Path | None, fd: int | None, env: str | None) -> Keys | None:
    """The Nostr keys that the options give; None for fresh ones."""
    if sum(source is not None for source in (file, fd, env)) > 1:
        raise click.UsageError("the identity is given more than once")
    if file is not None:
        try:
            return Keys.from_file(file)
        except KeyFileTooWide as error:
            # It is the identity that others may have, and that cannot be replaced like the key of a database.
            error.hint = (
                "Whoever else could read it can speak as this account: then take another identity."
            )
            raise
    if env is not None:
        return Keys.from_env(env)
    if fd is not None:
        secret = keys.read_fd(fd)
        return Keys.parse(secret.decode(errors="replace").strip())
    return None


@click.command(short_help="Make an account, or give one its relays and name.")
@account_options
@click.option(
    "-r",
    "--relay",
    "relays",
    type=Relay(),
    multiple=True,
    metavar="URL",
    help="A relay of yours, ws:// or wss://; repeat it.",
)
@click.option("--name", help="A name that others see, published on your relays.")
@click.option(
    "--identity-file",
    type=PATH,
    help="Take the Nostr keys (nsec or hex) from a private file.",
)
@click.option(
    "--identity-fd",
    type=click.IntRange(min=0),
    metavar="N",
    help="Take them from this file descriptor.",
)
@click.option("--identity-env", metavar="NAME", help="Take them from this environment variable.")
@click.option(
    "--offline", is_flag=True, help="Make no connection; the first command that connects publishes."
)
@patience_option(20)
@json_option
def init(
    account: Account,
    relays: tuple[str, ...],
    name: str | None,
    identity_file: Path | None,
    identity_fd: int | None,
    identity_env: str | None,
    offline: bool,
    timeout: float,
    as_json: bool,
) -> int:
    """Make an account: an encrypted database, Nostr keys that are kept in it, and a KeyPackage on your relays.

    With an account that exists it changes the relays and the name; invites that come to the relays of before are read
    for another 14 days. Keys are fresh unless some are given. The key of
    the database goes to the keyring of the system; without one, use --key file:PATH.
    """
    new = not account.exists
    if new and not relays:
        raise click.UsageError("a new account needs at least one relay: --relay wss://…")
    identity = _identity(identity_file, identity_fd, identity_env)

    async def online() -> int:
        deadline = running.Deadline(timeout)
        opening = session.opened(
            account, deadline, new=True, identity=identity, relays=relays, name=name
        )
        try:
            async with opening as client:
                try:
                    await session.catch_up(client, deadline, silent=as_json)
                except NotConnected:
                    # Mostly it is the address, or the network: the relay's own words say which.
                    states = client.stats().relays
                    return show(client.engine, client.relays, ExitCode.NETWORK, states)
                if await session.reachable(client, deadline):
                    return show(client.engine, client.relays, ExitCode.OK)
                refused = client.key_packages.refusals()
                everywhere = len(refused) == len(client.relays)
                code = ExitCode.REFUSED if everywhere else ExitCode.NETWORK
                states = () if everywhere else client.stats().relays
                return show(client.engine, client.relays, code, states, refused)
        except asyncio.CancelledError:
            # It may have come while the client still started: the account is made before it connects.
            if new and account.exists:
                click.echo("mdk: the account is made; nobody can invite it yet", err=True)
            raise

    async def alone() -> int:
        opening = session.alone(account, new=True, identity=identity, relays=relays)
        async with opening as (engine, own):
            return show(engine, own, ExitCode.OK)

    def show(
        engine: Mdk,
        own: tuple[str, ...],
        code: ExitCode,
        states: tuple[RelayStatus, ...] = (),
        refused: Mapping[str, str] | None = None,
    ) -> int:
        reachable = code is ExitCode.OK and not offline
        shown = _about(account, engine, own)
        document: dict[str, object] = {
            "command": "init",
            "exit_code": int(code),
            "new": new,
            "reachable": reachable,
        }
        if reachable:
            last = "You can be invited now."
        elif offline:
            last = "The first command that connects makes you reachable."
        else:
            what = f"No relay of yours was reached within {timeout:g} s"
            if code is ExitCode.REFUSED:
                what = "Nobody can invite you: every relay refuses your KeyPackage"
            elif refused is not None:
                what = f"No relay took your KeyPackage within {timeout:g} s"
            last = (
                f"{what}; the next command tries again. "
                f"To use another one: mdk init{account.option} --relay URL"
            )
        lines = [
            f"{'made' if new else 'opened':<9} {shown['database']}",
            f"npub      {shown['npub']}",
            *map(_relay_line, states),
            *(f"{url}: {records.one_line(words)}" for url, words in (refused or {}).items()),
            last,
        ]
        if refused is not None:
            document["refused"] = dict(refused)
        if states:
            shown["status"] = [records.document(state) for state in states]
        output.show(as_json, {**document, **shown}, lines)
        return code

    if offline and name is not None:
        raise click.UsageError("--name is published at once: it does not go with --offline")
    return running.run(alone() if offline else online())


def _about(account: Account, engine: Mdk, relays: tuple[str, ...]) -> dict[str, object]:
    info = engine.info
    return {
        "account": account.name,
        "npub": engine.public_key.npub,
        "public_key": engine.public_key.hex,
        "invite_uri": profile_uri(engine.public_key, relays),
        "database": info.path,
        "key_source": info.key_source,
    }


@click.command()
@account_options
@click.option("--npub", "npub_only", is_flag=True, help="Print the npub and nothing else.")
@click.option(
    "--qr", "with_qr", is_flag=True, help="Show the invite link as a QR code (extra `qr`)."
)
@click.option("--check", is_flag=True, help="Connect, and say how each relay is.")
@patience_option(10)
@json_option
def whoami(
    account: Account, npub_only: bool, with_qr: bool, check: bool, timeout: float, as_json: bool
) -> int:
    """Say who this account is: npub, invite link, database, relays.

    The invite link is what somebody needs to invite you; a White Noise user can scan it (--qr).
    """

    def show(
        engine: Mdk, relays: tuple[str, ...], states: tuple[RelayStatus, ...], code: ExitCode
    ) -> int:
        if npub_only and not as_json:
            click.echo(engine.public_key.npub)
            return code
        shown = {
            "command": "whoami",
            "exit_code": int(code),
            **_about(account, engine, relays),
            "groups": sum(info.state is GroupState.ACTIVE for info in engine.groups()),
            "relays": list(relays),
        }
        if check:
            shown["status"] = [records.document(state) for state in states]
        lines = [
            f"npub      {shown['npub']}",
            f"link      {shown['invite_uri']}",
            f"database  {shown['database']}",
            f"key       {shown['key_source']}",
            f"groups    {shown['groups']}",
        ]
        lines += map(_relay_line, states) if check else [f"relay     {url}" for url in relays]
        output.show(as_json, shown, lines)
        if with_qr and not as_json:
            qr.show(str(shown["invite_uri"]))
        return code

    async def online() -> int:
        deadline = running.Deadline(timeout)
        async with session.opened(account, deadline) as client:
            try:
                await session.catch_up(client, deadline, silent=as_json)
                code = ExitCode.OK
            except NotConnected:
                code = ExitCode.NETWORK
            return show(client.engine, client.relays, client.stats().relays, code)

    async def alone() -> int:
        async with session.alone(account) as (engine, relays):
            return show(engine, relays, (), ExitCode.OK)

    return running.run(online() if check else alone())


def _relay_line(status: RelayStatus) -> str:
    # What a relay said is its own text.
    why = f": {records.one_line(status.last_error)}" if status.last_error else ""
    counts = [
        f"{count} {what}"
        for count, what in ((status.unanswered, "unanswered"), (status.lost, "lost"))
        if count
    ]
    marks = f"  [{', '.join(counts)}]" if counts else ""
    return f"relay     {status.url}  {status.state}{why}{marks}"
