"""`mdk download`, and the half of `mdk send` that sends a file."""

import asyncio
import os
from functools import partial
from pathlib import Path

import click

from mdk import Attachment, Client, EventId, Group, GroupId, Mdk, Message, Sent
from mdk.client import files
from mdk.client.runtime import in_thread
from mdk.errors import DestinationExists, MediaUnavailable, MessageNotFound, NoAnswer

from . import output, records, running, session
from .accounts import Account, account_options
from .options import PATH, json_option, patience_option

_PAGE = 500


async def send_file(
    group: Group, path: Path, caption: str, timeout: float, *, silent: bool
) -> Sent:
    """Upload a file and send it. What servers say is for the person, not for the JSON document."""
    try:
        return await group.send_file(path, caption=caption, timeout=timeout)
    except MediaUnavailable as error:
        _explain(error, silent=silent)
        raise


def _explain(error: MediaUnavailable, *, silent: bool) -> None:
    if not silent:
        for server, said in error.reasons.items():
            click.echo(f"{records.one_line(server)}: {records.one_line(said)}", err=True)


@click.command()
@click.argument("message")
@account_options
@click.option(
    "--to",
    "folder",
    type=PATH,
    default=Path("mdk-downloads"),
    show_default=True,
    metavar="DIR",
    help="Write into this folder, made if it is missing.",
)
@click.option("--overwrite", is_flag=True, help="Replace files of the same names.")
@patience_option(60)
@json_option
def download(
    message: str,
    account: Account,
    folder: Path,
    overwrite: bool,
    timeout: float,
    as_json: bool,
) -> int:
    """Fetch the files of MESSAGE, an id or its first digits, and write them.

    The names are those that the sender chose, without what could lead out of the folder: so it is one in which nothing
    else looks for files by name. No file that is there is overwritten, unless you say so, and each is complete or not
    there.
    """

    async def body() -> int:
        deadline = running.Deadline(timeout)
        async with session.opened(account, deadline) as client:
            found = _message(client.engine, message)
            if not found.attachments:
                raise MessageNotFound("this message carries no files")
            places = [folder / name for name in _names(found.attachments)]
            if not overwrite:
                _refuse_taken(places)
            written: list[tuple[str, int]] = []
            for attachment, place in zip(found.attachments, places, strict=True):
                data = await _fetch(client, attachment, deadline, silent=as_json)
                await in_thread(partial(files.write, place, data, replace=overwrite))
                written.append((str(place), len(data)))
            document = {
                "command": "download",
                "exit_code": 0,
                "files": [{"path": place, "size": size} for place, size in written],
            }
            lines = [f"{records.one_line(place)}  {output.size(size)}" for place, size in written]
            output.show(as_json, document, lines)
            return 0

    return running.run(body())


async def _fetch(
    client: Client, attachment: Attachment, deadline: running.Deadline, *, silent: bool
) -> bytes:
    try:
        async with asyncio.timeout(deadline.left):
            return await client.media.download(attachment)
    except MediaUnavailable as error:
        _explain(error, silent=silent)
        raise
    except TimeoutError:
        raise NoAnswer(
            f"the file did not come within {deadline.patience:g} s",
            hint="Try again with a longer --timeout.",
        ) from None


def _refuse_taken(places: list[Path]) -> None:
    """Before anything is fetched."""
    for place in places:
        if os.path.lexists(place):
            raise DestinationExists(f"there is a file {str(place)!r} already")


def _names(attachments: tuple[Attachment, ...]) -> list[str]:
    """A name for each, no two the same."""
    names: list[str] = []
    for attachment in attachments:
        name = Path(attachment.safe_filename)
        taken = {one.casefold() for one in names}
        chosen, number = name.name, 1
        while chosen.casefold() in taken:
            number += 1
            chosen = f"{name.stem[:200]}-{number}{name.suffix[:40]}"
        names.append(chosen)
    return names


def _message(engine: Mdk, wanted: str) -> Message:
    """A message of any group, by its id or by the first digits of it among the newest."""
    found = [message for group in engine.groups() for message in _of(engine, group.id, wanted)]
    if len(found) != 1:
        what = "several messages begin with" if found else "no recent message begins with"
        raise MessageNotFound(f"{what} {wanted!r}", hint="Take the id from: mdk history --ids.")
    return found[0]


def _of(engine: Mdk, group: GroupId, wanted: str) -> list[Message]:
    if len(wanted) == 64:
        try:
            return [engine.message(group, EventId(wanted.lower()))]
        except MessageNotFound:
            return []
    page = engine.messages(group, limit=_PAGE)
    return [one for one in page if one.id.startswith(wanted.lower())]
