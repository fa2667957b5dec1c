"""What went wrong with a file, or with a picture of a group."""

from collections.abc import Mapping

from .base import MdkError


class MediaError(MdkError):
    """A file cannot be sent or opened, for the reason that the message gives."""

    code = "media_error"


class MediaTooLarge(MediaError):
    """A file, or a picture when it is decoded, is over a limit. `value` is what there is, `limit` the most."""

    code = "media_too_large"
    hint: str | None = "Send a smaller one, or raise Config.max_media_bytes on both sides."

    def __init__(
        self,
        message: str = "",
        *,
        limit: int | None = None,
        value: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.limit = limit
        self.value = value


class MediaCorrupt(MediaError):
    """What was fetched is not what was sent: its hash, or what the cipher says of it, is another."""

    code = "media_corrupt"
    hint: str | None = "Fetch it from another place: attachment.locators."


class MediaStale(MediaError):
    """The file was encrypted for another epoch of the group, or before a restart: nobody could open it.

    Nothing was sent.
    """

    code = "media_stale"
    hint: str | None = "Call encrypt_media() again, upload its data and send that."


class MediaUnavailable(MediaError):
    """No server took a file that was to be sent, or none has one that is to be fetched.

    `reasons` has what each said, by the server's URL.
    """

    code = "media_unavailable"
    hint: str | None = (
        "See .reasons. Name servers of your own (blossom=), or try again when they can be reached."
    )

    def __init__(
        self,
        message: str = "",
        *,
        reasons: Mapping[str, str] | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.reasons: Mapping[str, str] = dict(reasons or {})
