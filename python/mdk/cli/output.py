"""What a command shows: text or one JSON document on stdout, progress and errors on stderr."""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Self, TypeAlias

import click

from mdk.reports import Progress

from .exit_codes import ExitCode

Document: TypeAlias = Mapping[str, object]

# DEL and the C1 controls; marks, embeddings and isolates of writing from right to left; the separators of lines.
_ACTIVE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_WIDTH = 30
_LONGEST = 240


class Bar:
    """A progress bar on a terminal; elsewhere silent. It is called in any case, so that Ctrl-C is noticed."""

    def __init__(self, *, silent: bool) -> None:
        self._drawn: str = ""
        self._silent: bool = silent or not sys.stderr.isatty()

    def __call__(self, progress: Progress) -> None:
        """Show one step."""
        if self._silent:
            return
        if progress.stage == "deriving":
            # It cannot be divided, and takes half a second.
            shape, amount = "-" * _WIDTH, "a key from the passphrase"
        elif progress.total > 0:
            share = min(progress.done / progress.total, 1.0)
            filled = round(share * _WIDTH)
            shape = "#" * filled + "." * (_WIDTH - filled)
            amount = f"{share:4.0%}  {size(progress.done)} of {size(progress.total)}"
        else:
            shape = "-" * _WIDTH
            amount = size(progress.done) if progress.done else ""
        line = f"{progress.stage:<9} [{shape}] {amount}".rstrip()
        if line != self._drawn:
            click.echo(f"\r{line}\x1b[K", nl=False, err=True)
            self._drawn = line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            click.echo("\r\x1b[K", nl=False, err=True)
            self._drawn = ""


def size(number: int) -> str:
    """A number of bytes for people."""
    if number < 1000:
        return f"{number} B"
    value = float(number)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 1000:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def short(text: str) -> str:
    """One line of at most a few hundred characters; all of it is in the JSON document."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rstrip()} ..."


def count(number: int, thing: str, things: str | None = None) -> str:
    """A number and the word for it."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def show(as_json: bool, document: Document, lines: Iterable[str]) -> None:
    """The result of a command."""
    if as_json:
        click.echo(_inert(json.dumps(document, indent=2, ensure_ascii=False)))
    else:
        for line in lines:
            click.echo(line)


def record(document: Document) -> None:
    """One line of NDJSON, written at once: who reads it waits for it."""
    click.echo(compact(document))
    sys.stdout.flush()


def compact(document: Document) -> str:
    """JSON in one line."""
    return _inert(json.dumps(document, ensure_ascii=False, separators=(",", ":")))


def _inert(text: str) -> str:
    """JSON that does nothing to a terminal or an editor that shows it: such characters stand in strings alone."""
    return _ACTIVE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


@dataclass
class _Form:
    """How an error of this command is written: one command in a process."""

    as_json: bool = False
    one_line: bool = False


_form = _Form()


def expect(*, as_json: bool, one_line: bool) -> None:
    """Whether there is to be JSON, and whether each document of it is one line."""
    _form.as_json, _form.one_line = as_json, one_line


def wants_json() -> bool:
    """Whether the command is to write JSON."""
    return _form.as_json


def _echo(error: Document) -> None:
    # A stdout that takes nothing may be what the error is about: stderr and the exit code tell all the same.
    with suppress(OSError):
        click.echo(compact(error) if _form.one_line else json.dumps(error, indent=2))


def _say(line: str) -> None:
    with suppress(OSError):
        click.echo(f"mdk: {line}", err=True)


def failure(as_json: bool, kind: str, message: str, hint: str | None, code: ExitCode) -> None:
    """An error, as one line `mdk: sentence. hint`, or as the JSON document."""
    if as_json:
        what = {"code": kind, "message": message, "hint": hint}
        _echo({"error": what, "exit_code": int(code)})
    _say(f"{message.rstrip('.')}.{f' {hint}' if hint else ''}")


def complaint(as_json: bool, message: str, code: ExitCode, kind: str) -> None:
    """An error that is not one of the engine's."""
    if as_json:
        what = {"code": kind, "message": message, "hint": None}
        _echo({"error": what, "exit_code": int(code)})
    _say(message)
