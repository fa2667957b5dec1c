"""`mdk listen`."""

import asyncio
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import click

from mdk import (
    Client,
    Event,
    EventId,
    GroupId,
    GroupUpdated,
    Invited,
    Joined,
    Kind,
    MessageEdited,
    MessageReceived,
)
from mdk.errors import MdkError, NotConnected

from . import cursors, happenings, output, records, running, session
from .accounts import Account, account_options
from .cursors import Cursor, CursorFile, CursorOfAccount
from .exit_codes import ExitCode
from .options import PATH, Seconds, json_option, patience_option

_DRAIN = 1.0
"""Seconds that the outbox gets when listening ends."""
_MARK_EVERY = 0.5
"""Seconds between two writes of what is read while there is much to show."""


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
@click.option("-n", "--count", type=click.IntRange(min=1), help="End after so many chat messages.")
@click.option(
    "--for", "duration", type=Seconds(min=0), metavar="SECONDS", help="End after so long."
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

    It goes on where the last `mdk listen` of this account ended (for each --group by itself), so that what came while
    nobody looked is shown first, also if another command fetched it; the first time it begins with what is fetched
    now. --after, --from-start and --cursor-file begin elsewhere, and leave that place alone. What was shown is read:
    mdk groups counts what came after.

    With --json each event is one line (NDJSON) with its "event", its "cursor" and its fields, and each line is written
    at once. A line may come twice after a crash, none is left out. Programs that listen at the same time, or one after
    the other, need a --cursor-file each. When everything was fetched, a line "relay_complete" says of each relay as of
    when ("as_of") all is shown that it had.

    A network that is away is waited for; only with --count or --for it is an error when no relay was reached.
    """
    if sum((after is not None, from_start, cursor_file is not None)) > 1:
        raise click.UsageError("give one of --after, --from-start, --cursor-file")
    in_file = None if cursor_file is None else CursorFile(cursor_file)
    start = "0" if from_start else after
    if in_file is not None:
        start = in_file.read()

    async def body() -> int:
        deadline = running.Deadline(timeout)
        async with session.opened(account, deadline) as client:
            # What is left in the outbox when it ends goes out with the next command.
            client._settings.drain = _DRAIN
            group = None if wanted is None else session.pick(client.engine.groups(), wanted).id
            kept: Cursor = in_file or Cursor()
            begin = start
            if begin is None and in_file is None:
                kept = CursorOfAccount(client, group)
                begin = await kept.last()
            if begin is None:
                # Where the log was before the connection was made: what the catch-up brings is new.
                begin = str(client._session.feed.opened_at)
            elif start is not None:
                cursors.check(client, begin, file=in_file)
            # What another command fetches before the next run is then not left out.
            kept.write(begin)
            await kept.settle()
            shown = _Shown(client, group, count, kept, as_json, int(begin))
            heard = True

            async def work() -> None:
                nonlocal heard
                waiting = asyncio.create_task(_wait(shown, deadline))
                try:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(duration):
                            await shown.follow(begin)
                finally:
                    waiting.cancel()
                    await asyncio.wait([waiting])
                    await kept.keep()
                    await shown.mark_read()
                # One that has answered was reached, also if it is away by now.
                answered = not waiting.cancelled() and waiting.result()
                heard = bool(shown.messages) or answered or session.connected(client)

            await running.until_stopped(work())
            deadline.begin()
            if not heard:
                patience = "" if duration is None else f" within {duration:g} s"
                raise client._session.not_connected(
                    f"no relay was reached{patience}",
                    hint="Look at your network, and at your relays: mdk whoami --check.",
                )
            return ExitCode.OK

    return running.run(body())


async def _wait(shown: "_Shown", deadline: running.Deadline) -> bool:
    """The bar of the catch-up; if it does not come to its end in time, a word on stderr, and it goes on: False."""
    try:
        await session.catch_up(shown.client, deadline, silent=shown.as_json)
    except NotConnected as error:
        click.echo(f"mdk: {error}; still trying", err=True)
        return False
    await shown.caught_up()
    return True


@dataclass
class _Shown:
    """What is shown of the stream, and when it is enough."""

    client: Client
    group: GroupId | None
    count: int | None
    cursor: Cursor
    as_json: bool
    position: int = 0
    """How far it is in the log."""
    messages: int = 0
    _complete: list[dict[str, records.Json]] = field(default_factory=list)
    """Statements about relays that are to be shown behind `_fetched`, a place in the log."""
    _fetched: int = 0
    _unmarked: dict[GroupId, EventId] = field(default_factory=dict)
    _marked_at: float = 0.0

    async def follow(self, begin: str) -> None:
        """Show events until there were enough messages."""
        async for happened in self.client.events(after=begin):
            if self.group is None or happened.group_id == self.group:
                self._show(happened)
                if isinstance(happened, MessageReceived):
                    # What is no chat, a stream that begins say, is shown and is nobody's answer.
                    self.messages += happened.message.kind == Kind.CHAT
                    self._unmarked[happened.message.group_id] = happened.message.id
            # Behind the line: what was not written is shown again.
            self.cursor.write(happened.cursor)
            await self.cursor.settle()
            self.position = int(happened.cursor)
            if time.monotonic() - self._marked_at >= _MARK_EVERY:
                await self.mark_read()
            if self.count is not None and self.messages >= self.count:
                return
            self._tell_complete()

    async def caught_up(self) -> None:
        """Everything was fetched: say for programs of which relays, behind what came of them."""
        if self.as_json:
            complete = session.complete(self.client)
            await self.client._session.feed.current()
            self._complete, self._fetched = complete, self.client._session.feed.position
            self._tell_complete()

    def _tell_complete(self) -> None:
        if self.position >= self._fetched:
            for relay in self._complete:
                at = {"cursor": str(self.position), "group_id": None}
                output.record({"event": "relay_complete", **at, **relay})
            self._complete = []

    async def mark_read(self) -> None:
        """Mark as read what was shown."""
        for group_id, last in list(self._unmarked.items()):
            room = self.client.groups.get(group_id)
            if room is not None:
                # It was shown all the same.
                with suppress(MdkError):
                    await room.mark_read(last)
            del self._unmarked[group_id]
        self._marked_at = time.monotonic()

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
            case MessageReceived(message) | MessageEdited(message):
                return records.message_line(message, where=self._where(happened))
            case Invited(invite):
                return f"invite: {records.invite_line(invite)}"
            case Joined(group):
                lines = [f"joined: {records.group_line(group)}", self._advice(group.id)]
                return "\n".join(filter(None, lines))
            case GroupUpdated(changed) if happened.group_id and changed & {"admins", "relays"}:
                return self._advice(happened.group_id)
            case _:
                known = None
                if happened.group_id is not None:
                    known = self.client.groups.get(happened.group_id)
                contested = known is not None and known.info.contested
                what = happenings.words(happened, contested=contested)
                return f"{self._where(happened)}{what}" if what else ""

    def _advice(self, group_id: GroupId) -> str:
        """The line about a group that one relay alone carries; empty where there is nothing to add."""
        known = self.client.groups.get(group_id)
        add = () if known is None else known.relays_to_add
        if known is None or not add:
            return ""
        return f"{records.one_line(known.name)}  {records.lone_relay_line(known.info, add)}"

    def _where(self, happened: Event) -> str:
        if self.group is not None or happened.group_id is None:
            return ""
        known = self.client.groups.get(happened.group_id)
        name = known.name if known is not None else happened.group_id[: records.SHORT]
        return f"{records.one_line(name)}  "
