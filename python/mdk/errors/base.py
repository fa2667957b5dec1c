"""The root of all exceptions."""

from typing import ClassVar


class MdkError(Exception):
    """Base of every exception of this package. Its hint is a note, too, so that a traceback shows it."""

    code: ClassVar[str] = "mdk_error"
    hint: str | None = None

    def __init__(self, message: str = "", *, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint
        if self.hint is not None:
            self.add_note(f"Hint: {self.hint}")
