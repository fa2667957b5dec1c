"""How values and errors are shown: ids cut short, and nothing of what was said, of names, of keys and of addresses.

What is shown ends in logs, in tracebacks and in reports of errors.
"""

import dataclasses
import re
from collections.abc import Collection
from datetime import datetime
from enum import Enum
from typing import Any, ClassVar

from ._mdk import PublicKey, SignedEvent

_ID = 8
_NPUB = len("npub1") + 6
_LONG = 16
"""So many hex digits are an id."""


class Shown:
    """Base of values whose repr is safe to log. All else of a dataclass stays as it is: give it `repr=False`."""

    __slots__ = ()
    _words: ClassVar[frozenset[str]] = frozenset()
    """Fields whose texts are words of ours, and no content."""

    def __repr__(self) -> str:
        fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(self)  # type: ignore[arg-type]
        parts = [
            f"{field.name}={_shown(getattr(self, field.name), plain=field.name in self._words)}"
            for field in fields
            if field.repr
        ]
        return f"{type(self).__qualname__}({', '.join(parts)})"


def _shown(value: object, *, plain: bool) -> str:
    match value:
        case Enum():
            return str(value)
        case datetime():
            return value.isoformat()
        case PublicKey():
            return f"{value.npub[:_NPUB]}…"
        case str() if not plain and value:
            return f"{value[:_ID]}…" if _is_id(value) else "…"
        case bytes():
            return f"<{len(value)} bytes>"
        case tuple() if value and all(isinstance(one, Shown | SignedEvent) for one in value):
            return f"({', '.join(map(repr, value))})"
        case Collection() if not plain and not isinstance(value, str):
            return f"<{len(value)}>"
        case _:
            return repr(value)


def _is_id(text: str) -> bool:
    return len(text) >= _LONG and re.fullmatch("[0-9a-f]+", text) is not None
