"""The list of commands, and what becomes of their errors."""

import sys
from collections.abc import Sequence
from typing import NoReturn

import click

import mdk
from mdk.errors import MdkError

from . import exit_codes, output
from .backups import backup, restore
from .checks import doctor, salvage, verify
from .demo import demo
from .exit_codes import ExitCode
from .rewrites import encrypt, rekey

EPILOG = "\b\nExit codes:\n" + exit_codes.table()


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
)
@click.version_option(mdk.__version__, prog_name="mdk")
def app() -> None:
    """Look after the encrypted database of an mdk account.

    No command needs the account's Nostr keys. Passphrases are asked for on the terminal, or read from
    a file descriptor; they are never given on the command line.
    """


for _command in (doctor, verify, rekey, encrypt, backup, restore, salvage, demo):
    app.add_command(_command)


def run(arguments: Sequence[str]) -> ExitCode:
    """Run one command and say what its exit code is."""
    as_json = "--json" in arguments
    try:
        code = app.main(list(arguments), prog_name="mdk", standalone_mode=False)
    except MdkError as error:
        code = exit_codes.of(error)
        output.failure(as_json, error, code)
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
    return ExitCode(code or 0)


def main() -> NoReturn:
    """Entry point of `mdk` and `python -m mdk`."""
    sys.exit(run(sys.argv[1:]))
