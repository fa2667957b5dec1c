"""The list of commands, and what becomes of their errors."""

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TextIO, cast

import click

import mdk
from mdk import _starting
from mdk.errors import MdkError

from . import exit_codes, hints, output, running
from .attachments import download
from .backups import backup, restore
from .checks import doctor, salvage, verify
from .completion import completion
from .demo import demo
from .exit_codes import ExitCode
from .groups import accept, delete, groups, invite, leave, members
from .identity import init, whoami
from .listen import listen
from .messages import export, history, send
from .rewrites import encrypt, rekey
from .roles import demote, promote, remove
from .services import bot, relay

# One JSON object on a line; an error is one, too.
_NDJSON = frozenset({"history", "export", "listen"})
EPILOG = "\b\nExit codes:\n" + exit_codes.table()


class _ReaderGone(Exception):
    """Whoever reads what a command writes has gone."""


class _Sections(click.Group):
    """Lists its commands by what they are about, in the order in which one meets them."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Read the options, of which some write something."""
        with _not_for_click():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _not_for_click():
            return super().invoke(ctx)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002  # the signature is click's
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the lists."""
        for title, commands in _SECTIONS.items():
            limit = formatter.width - 6 - max(len(name) for name in self.commands)
            rows = [(str(command.name), command.get_short_help_str(limit)) for command in commands]
            with formatter.section(title):
                # The columns of all lists are the same.
                formatter.write_dl(rows, col_max=30, col_spacing=_column(self, rows))


@contextmanager
def _not_for_click() -> Iterator[None]:
    """For click a pipe that nobody reads ends the process with 1, which has another meaning here."""
    try:
        yield
    except BrokenPipeError:
        raise _ReaderGone from None


def _column(group: click.Group, rows: list[tuple[str, str]]) -> int:
    widest = max(len(name) for name in group.commands)
    return 2 + widest - max(len(name) for name, _ in rows)


@click.group(
    cls=_Sections,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
)
@click.version_option(mdk.__version__, prog_name="mdk")
def app() -> None:
    """End-to-end encrypted groups over Nostr (Marmot v2), and the file in which an account is kept.

    Begin with `mdk demo`, or with `mdk init --relay wss://…`. Keys and passphrases are never given on the command
    line: passphrases are asked for on the terminal, or read from a file descriptor.
    """


_SECTIONS: dict[str, tuple[click.Command, ...]] = {
    "Account": (init, whoami),
    "Groups": (groups, members, invite, accept, promote, demote, remove, leave, delete),
    "Messages": (send, download, history, listen, export),
    "The file": (doctor, verify, rekey, encrypt, backup, restore, salvage),
    "For trials": (demo, relay, bot),
    "Shell": (completion,),
}

for _command in (command for commands in _SECTIONS.values() for command in commands):
    app.add_command(_command)

# They work on this thread, and may wait for a key there.
for _command in _SECTIONS["The file"]:
    if _command.callback is not None:
        _command.callback = running.heard()(_command.callback)


def run(arguments: Sequence[str]) -> ExitCode:
    """Run one command and say what its exit code is."""
    as_json = "--json" in arguments
    command = arguments[0] if arguments else ""
    output.expect(as_json=as_json, one_line=command in _NDJSON)
    try:
        code = app.main(list(arguments), prog_name="mdk", standalone_mode=False, obj=arguments)
    except MdkError as error:
        code = exit_codes.of(error)
        message, hint = hints.told(error, command)
        output.failure(as_json, error.code, message, hint, code)
    except click.exceptions.NoArgsIsHelpError as error:
        code = ExitCode.USAGE
        click.echo(error.format_message(), err=True)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx is not None else "mdk"
        message = f"{error.format_message().rstrip('.')}. Try `{where} --help`."
        code = ExitCode.USAGE
        output.complaint(as_json, message, code, "usage")
    except (click.Abort, KeyboardInterrupt):
        code = ExitCode.INTERRUPTED
        output.complaint(as_json, "interrupted", code, "interrupted")
    except _ReaderGone:
        _let_go()
        code = ExitCode.IO
    except FileNotFoundError as error:
        code = ExitCode.NO_INPUT
        output.complaint(as_json, _of_system(error), code, "no_input")
    except OSError as error:
        code = ExitCode.IO
        output.complaint(as_json, _of_system(error), code, "io")
    return ExitCode(code or 0)


def _let_go() -> None:
    """What Python still holds for stdout must not fail again when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _of_system(error: OSError) -> str:
    """A fault of a file that the user named, in the system's words."""
    place = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or 'reading or writing failed'}{place}"


def _open_streams() -> None:
    """Give the standard streams that the caller has closed (`<&-`) a place: no file of ours is to get their numbers.

    Nothing comes from a closed stdin. Writing to a closed stdout fails, as it does on a full disk.
    """
    if sys.stdin is None:
        sys.stdin = _null(os.O_RDONLY, "r")
    if sys.stdout is None:
        sys.stdout = _null(os.O_RDONLY, "w")
    if sys.stderr is None:
        sys.stderr = _null(os.O_WRONLY, "w")


def _null(flags: int, mode: str) -> TextIO:
    stream = open(os.open(os.devnull, flags), mode, encoding="utf-8", closefd=False)  # noqa: SIM115
    return cast("TextIO", stream)


def main() -> NoReturn:
    """Entry point of `mdk` and `python -m mdk`."""
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets its number, not a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    code = ExitCode.INTERRUPTED
    # A second Ctrl-C may come while the first one is told.
    with suppress(KeyboardInterrupt):
        _starting.over()
        code = run(sys.argv[1:])
        try:
            sys.stdout.flush()
        except OSError:
            _let_go()
        _starting.done(code)
    sys.exit(code)
