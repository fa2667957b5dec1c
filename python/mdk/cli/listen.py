"""`mdk listen`."""

import asyncio
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click

from mdk import (
    Client,
    Event,
    GroupId,
    HistoryGap,
    Invited,
    Joined,
    MembersChanged,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    MessagesInvalidated,
    ReactionAdded,
    Removed,
)
from mdk.errors import NotConnected

from . import output, records, session
from .accounts import Account, account_options
from .exit_codes import ExitCode
from .options import PATH, json_option, patience_option


@click.command(short_help="Show what happens as it happens; --json for programs.")
@account_options
@click.option("-g", "--group", "wanted", metavar="GROUP", help="Only what happens in this group.")
@click.option("--after", metavar="CURSOR", help="Begin behind the event with this cursor.")
@click.option("--from-start", is_flag=True, help="Begin with the first event that is known.")
@click.option(
    "--cursor-file",
    type=PATH,
    help="Keep the cursor in this file, and go on behind it the next time: nothing is missed.",
)
@click.option("-n", "--count", type=click.IntRange(min=1), help="End after so many messages.")
@click.option(
    "--for", "duration", type=click.FloatRange(min=0), metavar="SECONDS", help="End after so long."
)
@patience_option(20)
@json_option
def listen(
    account: Account,
    wanted: str | None,
    after: str | None,
    from_start: bool,
    cursor_file: Path | None,
    count: int | None,
    duration: float | None,
    timeout: float,
    as_json: bool,
) -> int:
    """Show messages, and what else happens, as it happens. Ctrl-C ends it, with exit code 0.

    It begins with what came while nobody looked. With --json each event is one line (NDJSON) with its "event", its
    "cursor" and its fields, and each line is written at once. A line may come twice after a crash, none is left out,
    if --cursor-file is given.

    A network that is away is waited for; only with --count or --for it is an error when no relay was reached.
    """
    if sum((after is not None, from_start, cursor_file is not None)) > 1:
        raise click.UsageError("give one of --after, --from-start, --cursor-file")
    kept = _Cursor(cursor_file)
    start = after or kept.read()

    async def body() -> int:
        async with session.opened(account) as client:
            group = None if wanted is None else session.pick(client.engine.groups(), wanted).id
            # Where the log was before the connection was made: what the catch-up brings is new.
            opened_at = str(client._session.feed.opened_at)
            begin = start if start is not None or from_start else opened_at
            if begin is not None:
                # What another command fetches before the next run is then not left out.
                kept.write(begin)
            shown = _Shown(client, group, count, kept, as_json)
            code = ExitCode.OK

            async def work() -> None:
                nonlocal code
                waiting = asyncio.ensure_future(_wait(client, timeout, silent=as_json))
                try:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(duration):
                            await shown.follow(begin)
                finally:
                    waiting.cancel()
                    await asyncio.wait([waiting])
                if not shown.messages and not session.connected(client):
                    code = ExitCode.NETWORK

            await session.until_stopped(work())
            return code

    return session.run(body())


async def _wait(client: Client, patience: float, *, silent: bool) -> None:
    """The bar of the catch-up; if it does not come to its end in time, a word on stderr, and it goes on."""
    try:
        await session.catch_up(client, patience, silent=silent)
    except NotConnected as error:
        click.echo(f"mdk: {error}; still trying", err=True)


class _Cursor:
    """A cursor in a file: replaced whole, so that a crash leaves the old one or the new one."""

    def __init__(self, path: Path | None) -> None:
        self._path: Path | None = path

    def read(self) -> str | None:
        if self._path is None:
            return None
        try:
            cursor = self._path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise click.UsageError(f"the cursor file cannot be read: {error}") from None
        if not cursor:
            raise click.UsageError("the cursor file is empty; remove it to begin anew")
        return cursor

    def write(self, cursor: str) -> None:
        if self._path is None:
            return
        part = self._path.with_name(f"{self._path.name}.part")
        with part.open("w", encoding="ascii") as file:
            file.write(f"{cursor}\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path)


@dataclass
class _Shown:
    """What is shown of the stream, and when it is enough."""

    client: Client
    group: GroupId | None
    count: int | None
    cursor: _Cursor
    as_json: bool
    messages: int = 0

    async def follow(self, begin: str | None) -> None:
        """Show events until there were enough messages."""
        async for happened in self.client.events(after=begin):
            if self.group is None or happened.group_id == self.group:
                self._show(happened)
                self.messages += isinstance(happened, MessageReceived)
            # Behind the line: what was not written is shown again.
            self.cursor.write(happened.cursor)
            if self.count is not None and self.messages >= self.count:
                return

    def _show(self, happened: Event) -> None:
        if self.as_json:
            output.record(records.event(happened))
            return
        line = self._line(happened)
        if line:
            click.echo(line)
            sys.stdout.flush()

    def _line(self, happened: Event) -> str:
        match happened:
            case MessageReceived(message):
                return records.message_line(message, where=self._where(happened))
            case MessageEdited(message):
                return records.message_line(message, where=self._where(happened))
            case MessageDeleted():
                what = "a message was deleted"
            case ReactionAdded(reaction):
                what = f"{records.short(reaction.sender)} reacts {records.one_line(reaction.emoji)}"
            case Invited(invite):
                return f"invite: {records.invite_line(invite)}"
            case Joined(group):
                return f"joined: {records.group_line(group)}"
            case MembersChanged(added, removed):
                parts = [f"{records.short(person)} is in" for person in sorted(added)]
                parts += [
                    f"{records.short(person)} is out" for person in sorted(removed | happened.left)
                ]
                what = ", ".join(parts)
            case Removed():
                what = "you are no longer a member"
            case MessagesInvalidated(ids):
                what = f"{output.count(len(ids), 'message')} belong to a branch that lost"
            case HistoryGap():
                what = f"{output.count(happened.count, 'event')} could not be read: a gap in the history"
            case _:
                return ""
        return f"{self._where(happened)}{what}"

    def _where(self, happened: Event) -> str:
        if self.group is not None or happened.group_id is None:
            return ""
        known = self.client.groups.get(happened.group_id)
        name = known.name if known is not None else happened.group_id[: records.SHORT]
        return f"{records.one_line(name)}  "
