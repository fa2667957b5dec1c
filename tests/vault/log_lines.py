"""What must not be in a log: everything private that the API handed out, in the forms in which it could be written."""

from __future__ import annotations

import base64
import dataclasses
import logging
import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import Enum
from typing import TypeVar

from mdk import Keys, PendingCommit, PublicKey, SignedEvent

T = TypeVar("T")

TRACE = 5
# Fields that hold words of ours: reasons, rules, names of stages and of settings; and the object behind a value.
OURS = {"reason", "code", "rule", "stage", "state", "last_error", "key_source", "sqlcipher_version"}
OURS |= {"changed", "_session"}
# Shorter texts are in any sentence by chance.
SHORTEST = 6
# An id that is cut short is an id still.
PIECE = 12
LONG = 2 * PIECE


def forms(secret: bytes) -> set[str]:
    """How bytes may look in a text."""
    numbers = str(list(secret))[1:-1]
    return {
        secret.hex(),
        base64.b64encode(secret).decode().rstrip("="),
        base64.urlsafe_b64encode(secret).decode().rstrip("="),
        repr(secret)[2:-1],
        numbers,
        numbers.replace(" ", ""),
        secret.decode("latin-1"),
    }


class Private:
    """Collects what the API hands out. Every method returns what it was given, to be put around calls."""

    def __init__(self) -> None:
        self.texts: set[str] = set()

    def word(self, text: str) -> None:
        """A text, and if it is hex also the bytes that it stands for."""
        if len(text) < SHORTEST:
            return
        self.texts.add(text.lower())
        if len(text) >= LONG:
            self.texts |= {text[:PIECE].lower(), text[-PIECE:].lower()}
        if re.fullmatch(r"(?:[0-9a-f]{2}){16,}", text):
            self.secret(bytes.fromhex(text))

    def secret(self, secret: bytes) -> bytes:
        """Bytes: a key, a content."""
        for form in forms(secret):
            self.texts.add(form.lower())
            if len(form) >= LONG:
                self.texts |= {form[:PIECE].lower(), form[-PIECE:].lower()}
        return secret

    def take(self, value: T) -> T:
        """Whatever a call returned, with all that is in it."""
        match value:
            case None | bool() | int() | float() | datetime() | timedelta() | Enum():
                pass
            case str():
                self.word(value)
            case bytes() | bytearray():
                self.secret(bytes(value))
            case PublicKey():
                self.word(value.hex)
                self.word(value.npub)
            case Keys():
                self.word(value.reveal_nsec())
                self.take(value.public_key)
            case SignedEvent():
                for text in (value.id, value.content, value.to_json()):
                    self.word(text)
                self.take(value.pubkey)
                # (the names of tags, and relays' words for encodings, are the protocol's)
                for tag in value.tags:
                    for text in tag[1:]:
                        if len(text) >= LONG or "://" in text:
                            self.word(text)
            case PendingCommit():
                self.take((value.group_id, value.event, value.welcomes, value.relays))
            case Mapping():
                self.take((list(value.keys()), list(value.values())))
            case list() | tuple() | set() | frozenset():
                for one in value:
                    self.take(one)
            case _ if dataclasses.is_dataclass(value):
                for field in dataclasses.fields(value):
                    if field.name not in OURS:
                        self.take(getattr(value, field.name))
            case _:
                raise TypeError(f"{type(value).__name__} is not looked into")
        return value

    def found_in(self, text: str) -> set[str]:
        """What of it is in a text."""
        text = text.lower()
        return {private for private in self.texts if private in text}


class Heard(logging.Handler):
    """Keeps every record as a file would show it: the sentence, what is in it, and the exception."""

    def __init__(self) -> None:
        super().__init__(level=0)
        self.lines: list[str] = []
        self.sentences: list[str] = []
        """The lines without exceptions, which may be of others."""
        self.loggers: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        raised = record.exc_info[1] if record.exc_info else None
        parts = [record.levelname, record.getMessage(), record.msg, repr(record.args)]
        self.sentences.append(" ".join(map(str, parts)))
        if raised is not None:
            parts += traceback.format_exception(raised)
        parts += [record.exc_text or "", record.stack_info or ""]
        self.lines.append(" ".join(map(str, parts)))
        self.loggers.add(record.name)

    def without_tracebacks(self) -> Heard:
        """The same, without what is not ours."""
        other = Heard()
        other.lines, other.sentences = list(self.sentences), list(self.sentences)
        return other

    def may_name(self, relay: str, *words: str) -> None:
        """A relay that its owner named may be named, with its words, where it does not do what it should."""
        told = [line.startswith("INFO a relay ") for line in self.lines]
        assert any(told)
        for allowed in (f"relay={relay}", *(f"words={said})" for said in words)):
            self.lines = [
                line.replace(allowed, "") if may else line
                for line, may in zip(self.lines, told, strict=True)
            ]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@contextmanager
def listening() -> Iterator[Heard]:
    """Everything that `mdk` and its children log."""
    heard, logger = Heard(), logging.getLogger("mdk")
    logger.addHandler(heard)
    logger.setLevel(TRACE)
    try:
        yield heard
    finally:
        logger.removeHandler(heard)
        logger.setLevel(logging.NOTSET)


def require_silence(heard: Heard, private: Private) -> None:
    """Nothing private was logged; and it would have been seen, whatever it is and wherever in the record it stands."""
    leaks = {line: sorted(found)[:3] for line in heard.lines if (found := private.found_in(line))}
    assert not leaks, leaks
    for n, text in enumerate(sorted(private.texts)):
        with listening() as control:
            logger = logging.getLogger("mdk.core" if n % 2 else "mdk.client")
            if n % 3 == 0:
                logger.log(TRACE, text)
            elif n % 3 == 1:
                logger.debug("an event: %s", text)
            else:
                logger.error("a call failed", exc_info=ValueError(text))
        assert private.found_in(control.text), repr(text)
