"""`mdk send`, `mdk history`, `mdk export`."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import click

from mdk import Delivery, EventId, GroupId, HistoryGap, Mdk, Message, __version__
from mdk.client import pages
from mdk.errors import DestinationExists, MdkError, MessageNotFound, NotConnected

from . import attachments, output, records, running, session
from .accounts import Account, account_options
from .exit_codes import ExitCode
from .options import PATH, json_option, patience_option, sync_option

_PAGE = 500


@click.command()
@click.argument("group")
@click.argument("text", required=False)
@account_options
@click.option("--reply-to", metavar="ID", help="Answer this message.")
@click.option("--file", "path", type=PATH, help="Encrypt this file, upload it and send it.")
@click.option("--caption", metavar="TEXT", help="The text that goes with the file.")
@click.option(
    "--server",
    "servers",
    multiple=True,
    metavar="URL",
    help="Blossom server to upload to; it is remembered. Without it: that of last time, else the group's.",
)
@patience_option(10)
@json_option
def send(
    group: str,
    text: str | None,
    account: Account,
    reply_to: str | None,
    path: Path | None,
    caption: str | None,
    servers: tuple[str, ...],
    timeout: float,
    as_json: bool,
) -> int:
    """Send TEXT to GROUP, and wait until a relay has it. Without TEXT, or with -, it is read from stdin.

    The message is on disk before anything is sent. If no relay takes it in time, the exit code says so, and the next
    command that connects sends it: do not send it again. A file is uploaded first, and may take longer than --timeout;
    if no server takes it, nothing is sent.
    """
    if path is None and (caption is not None or servers):
        raise click.UsageError("--caption and --server go with --file")
    if path is not None:
        if text is not None or reply_to is not None:
            raise click.UsageError("a file has a --caption, and neither TEXT nor --reply-to")
        text = caption or ""
    elif text is None or text == "-":
        text = sys.stdin.read().removesuffix("\n")
    if not text and path is None:
        raise click.UsageError("there is no text to send")
    words = text

    async def body() -> int:
        deadline = running.Deadline(timeout)
        async with session.opened(account, deadline, blossom=servers) as client:
            info = session.pick([handle.info for handle in client.groups], group)
            handle = client.groups[info.id]
            # First what the others did: whoever was removed is not to read this.
            with suppress(NotConnected):
                await session.catch_up(client, deadline, silent=as_json, patience=deadline.spare)
            answered = None
            if reply_to is not None:
                answered = _find(client.engine, info.id, reply_to).id
            if path is None:
                sent = await handle.send(words, reply_to=answered, timeout=deadline.left)
            else:
                # The upload has times of its own.
                sent = await attachments.send_file(handle, path, words, timeout, silent=as_json)
                deadline.begin()
            try:
                sent = await sent.delivered(max(deadline.left, 0.1))
                errors = dict(sent.errors)
            except TimeoutError:
                # What was said while it waited.
                errors = client._session.store.delivery_errors(sent.message.id)
            code = _CODES[sent.delivery]
            document = {
                "command": "send",
                "exit_code": int(code),
                "delivery": sent.delivery.value,
                "errors": errors,
                "message": records.document(sent.message),
            }
            lines = [f"{_WORDS[sent.delivery]}  {sent.message.id[: records.SHORT]}"]
            lines += [f"{url}: {records.one_line(said)}" for url, said in errors.items()]
            if sent.delivery is Delivery.QUEUED:
                lines.append(
                    "No relay took it in time. It is kept, and goes out with the next command that connects."
                )
            if sent.delivery is Delivery.FAILED:
                lines.append(
                    "It is not tried again. Do what the relays ask for, or use others: mdk init --relay URL."
                )
            output.show(as_json, document, lines)
            return code

    return running.run(body())


_CODES = {
    Delivery.ACCEPTED: ExitCode.OK,
    Delivery.QUEUED: ExitCode.NETWORK,
    Delivery.FAILED: ExitCode.REFUSED,
}
_WORDS = {
    Delivery.ACCEPTED: "sent   ",
    Delivery.QUEUED: "waiting",
    Delivery.FAILED: "refused",
}


def _find(engine: Mdk, group: GroupId, wanted: str) -> Message:
    """A message by its id, or by the first digits of it among the newest."""
    if len(wanted) == 64:
        return engine.message(group, EventId(wanted.lower()))
    page = engine.messages(group, limit=_PAGE)
    found = [one for one in page if one.id.startswith(wanted.lower())]
    if len(found) != 1:
        what = "several messages begin with" if found else "no recent message begins with"
        raise MessageNotFound(f"{what} {wanted!r}", hint="Take the id from: mdk history --json.")
    return found[0]


@click.command()
@click.argument("group")
@account_options
@sync_option
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(1, 10_000),
    default=50,
    show_default=True,
    help="At most so many.",
)
@click.option(
    "--before",
    metavar="ID",
    help="Only messages before this one: the page before is the id of its first.",
)
@click.option("--ids", is_flag=True, help="Show the first digits of each id, for --reply-to.")
@patience_option(20)
@json_option
def history(
    group: str,
    account: Account,
    sync: bool,
    limit: int,
    before: str | None,
    ids: bool,
    timeout: float,
    as_json: bool,
) -> int:
    """Show the newest messages of GROUP, oldest first. With --json one line for each (NDJSON).

    They are read then, and those before them: mdk groups counts what came after.
    """

    async def body() -> int:
        deadline = running.Deadline(timeout)
        opening = session.reading(account, deadline, sync=sync, silent=as_json)
        async with opening as (engine, _):
            info = session.pick(engine.groups(), group)
            start = None if before is None else _find(engine, info.id, before).id
            page = engine.messages(info.id, limit=limit, before=start)
            for message in page:
                if as_json:
                    output.record(records.document(message))
                else:
                    where = f"{message.id[: records.SHORT]}  " if ids else ""
                    click.echo(records.message_line(message, where=where))
            if page and info.unread_count:
                # What cannot be written, on a full disk for example, was shown all the same.
                with suppress(MdkError):
                    engine.mark_read(info.id, page[-1].id)
            return 0

    return running.run(body())


@click.command(short_help="Write the complete record of one group, or of all, as NDJSON.")
@click.argument("group", required=False)
@account_options
@sync_option
@click.option(
    "-o", "--output", "target", type=PATH, help="Write into this new file, which only you can read."
)
@patience_option(60)
@click.option(
    "--json", "as_json", is_flag=True, help="No effect: the record is NDJSON in any case."
)
def export(
    group: str | None,
    account: Account,
    sync: bool,
    target: Path | None,
    timeout: float,
    as_json: bool,
) -> int:
    """Write the complete record of GROUP, or of all groups, as NDJSON: one JSON object on a line.

    Each line has a "type": "account" first, then for every group "group", "member", "message" in the order of arrival,
    and "gap" for what is known to be missing; "end" last, with the counts. A record without its end is not complete.
    With --sync a line "complete" before it says of each relay as of when everything is here that it had. It is not
    encrypted.
    """

    async def body() -> int:
        deadline = running.Deadline(timeout)
        opening = session.reading(account, deadline, sync=sync, silent=as_json)
        async with opening as (engine, complete):
            lines = _record(engine, group, complete)
            if target is None:
                for line in lines:
                    output.record(line)
                return 0
            last, size = _write(target, lines)
            written = output.size(size)
            click.echo(
                f"{last['messages']:,} messages and {last['gaps']:,} gaps, {written}", err=True
            )
            return 0

    return running.run(body())


def _write(
    target: Path, lines: Iterator[dict[str, records.Json]]
) -> tuple[dict[str, records.Json], int]:
    """Write all lines; the last one, and the size of the file in bytes."""
    last: dict[str, records.Json] = {}
    with _private(target) as file:
        for last in lines:
            file.write(f"{output.compact(last)}\n")
        file.flush()
        os.fsync(file.fileno())
        return last, file.tell()


def _private(target: Path) -> TextIO:
    """A new file that only its owner can read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    try:
        number = os.open(target, flags, 0o600)
    except FileExistsError:
        raise DestinationExists("the file to be written exists already") from None
    return os.fdopen(number, "w", encoding="utf-8", newline="\n")


def _record(
    engine: Mdk, wanted: str | None, complete: list[dict[str, records.Json]]
) -> Iterator[dict[str, records.Json]]:
    every = engine.groups()
    chosen = every if wanted is None else [session.pick(every, wanted)]
    gaps: dict[str, list[HistoryGap]] = {}
    for happened in engine.events():
        if isinstance(happened, HistoryGap) and happened.group_id is not None:
            gaps.setdefault(happened.group_id, []).append(happened)
    yield {"type": "account", "npub": engine.public_key.npub, "format": 1, "mdk": __version__}
    messages = missing = 0
    for info in chosen:
        yield {"type": "group", **records.document(info)}
        for member in engine.members(info.id):
            yield {"type": "member", "group_id": info.id, **records.document(member)}
        for message in pages.every(engine, info.id):
            yield {"type": "message", **records.document(message)}
            messages += 1
        for gap in gaps.get(info.id, []):
            yield {"type": "gap", **records.document(gap)}
            missing += 1
    for relay in complete:
        yield {"type": "complete", **relay}
    yield {"type": "end", "groups": len(chosen), "messages": messages, "gaps": missing}
