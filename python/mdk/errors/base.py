"""The root of all exceptions."""

import re
from typing import ClassVar

# Hex of ids and keys, accounts, and addresses, of which a repr has the first characters at most.
_CUT = (
    (re.compile(r"\b([0-9a-f]{8})[0-9a-f]{8,}\b"), r"\1…"),
    (re.compile(r"\b((?:npub|nprofile|note|nevent)1\w{6})\w+"), r"\1…"),
    (re.compile(r"\b\w+://[^\s,;)]+"), "…"),
)


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

    def __repr__(self) -> str:
        """Its class and its text, with accounts and ids cut short and without addresses."""
        text = str(self)
        for pattern, cut in _CUT:
            text = pattern.sub(cut, text)
        return f"{type(self).__qualname__}({text!r})"
