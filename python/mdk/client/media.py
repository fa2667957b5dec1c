"""Files of messages and pictures of groups: reading, encrypting, moving, opening."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mdk.errors import MediaStale, NotAdmin
from mdk.values import Attachment, GroupId, GroupInfo, PathArg

from . import files
from .runtime import in_thread
from .values import Sent

if TYPE_CHECKING:
    from .session import Session

_TRIES = 3
"""A file is encrypted for one epoch of its group, which may end while it is uploaded."""
_NAMELESS = "file"


class Media:
    """Files that messages carry. To send one: Group.send_file()."""

    def __init__(self, session: "Callable[[], Session]") -> None:
        """Made by Client; `session` is the open account."""
        self._session = session

    async def download(self, attachment: Attachment, to: PathArg | None = None) -> bytes:
        """Fetch a file, check it and decrypt it. It can be opened as long as its message is in the history.

        Args:
            attachment: one of Message.attachments.
            to: where to write it, too; None writes nothing. This path is used as it is: `attachment.filename` is the
                sender's word and may lead anywhere, while `attachment.safe_filename` does not leave its folder. Missing
                folders are made; the file is private (mode 0600), and replaces one that is there.

        Returns:
            The file.

        Raises:
            MediaUnavailable: no server has it; `reasons` has what each said.
            MediaTooLarge: it is larger than Config.max_media_bytes.
            MediaCorrupt: it is not what was sent.
            MediaError: no message that is still there carries it.
            AccessDenied, DiskFull and others of StorageError: it could not be written.
        """
        session = self._session()
        session.feed.check()
        data = await session.native.download(attachment)
        if to is not None:
            await in_thread(lambda: files.write(to, data))
        return data


async def send_file(
    session: "Session",
    group_id: GroupId,
    source: PathArg | bytes,
    *,
    caption: str,
    filename: str | None,
    mime_type: str | None,
    push: bool,
    timeout: float,
) -> Sent:
    """See Group.send_file()."""
    session.feed.check()
    data = await in_thread(lambda: files.read(source, session.max_media_bytes))
    tags = await session.marked(group_id, ())
    name = _name(source) if filename is None else filename
    tries = 0
    while True:
        attachment = await session.native.upload(group_id, data, name, mime_type)
        try:
            outgoing = await session.patient(
                session.saying(
                    lambda mdk: mdk.create_message(
                        group_id,
                        caption,
                        attachments=[attachment],  # noqa: B023  # awaited here
                        tags=tags,
                    ),
                    push,
                ),
                timeout,
            )
        except MediaStale:
            tries += 1
            if tries == _TRIES:
                raise
        else:
            return Sent(outgoing.message, _session=session)


def _name(source: PathArg | bytes) -> str:
    if isinstance(source, bytes):
        return _NAMELESS
    return Path(os.fspath(source)).name or _NAMELESS


async def set_image(
    session: "Session", group_id: GroupId, source: PathArg | bytes | None
) -> GroupInfo:
    """See Group.set_image()."""
    image = None
    if source is not None:
        session.feed.check()
        # Nothing is uploaded for a change that is refused in any case.
        info = await session.fresh(group_id)
        if session.mdk.public_key not in info.admins:
            raise NotAdmin("only an admin can change the picture of the group")
        data = await in_thread(lambda: files.read(source, session.max_media_bytes))
        image = await session.native.upload_image(group_id, data)
    return await session.commit(lambda mdk: session.native.stage_image(mdk, group_id, image))


async def image(session: "Session", group_id: GroupId) -> bytes | None:
    """See Group.image()."""
    session.feed.check()
    return await session.native.download_image(group_id)
