"""`mdk doctor`, `mdk verify`, `mdk salvage`: what is there, and what is left."""

from dataclasses import asdict
from pathlib import Path

import click

from mdk import vault
from mdk.reports import DoctorReport, Level
from mdk.values import KeyringStoreName

from . import clocks, key_record, keys, output
from .exit_codes import ExitCode
from .options import PATH, RECORDED, json_option, key_option, other_key_option

_MARKS: dict[Level, str] = {
    Level.OK: "ok",
    Level.NOTE: "note",
    Level.WARNING: "WARNING",
    Level.ERROR: "ERROR",
}


@click.command()
@click.argument("database", type=PATH)
@key_option(
    without=f"{RECORDED} A passphrase is not asked for: then the file is looked at from outside.",
    env="MDK_KEY",
)
@click.option(
    "--relay",
    metavar="URL",
    help="Ask this relay what time it is, instead of the account's own: whose clock is wrong is refused by others.",
)
@click.option("--offline", is_flag=True, help="Ask no relay what time it is.")
@json_option
def doctor(
    database: Path,
    key: keys.KeySource | None,
    passphrase_fd: int | None,
    keyring_store: KeyringStoreName | None,
    keyring_timeout: float,
    allow_volatile: bool,
    relay: str | None,
    offline: bool,
    as_json: bool,
) -> int:
    """Say how DATABASE and all that it depends on are. Changes nothing, takes less than two seconds.

    It works while the database is open in another process, without the key, and without a database. Nobody is asked but
    a relay of the account, or the --relay, for the time: they have five seconds to answer and learn nothing of the
    account. The exit code is 0 if all is well, 1 with a warning, 2 with an error.
    """
    keyring = keys.KeyringOptions(keyring_store, keyring_timeout, allow_volatile)
    source = key or key_record.recorded(database)
    if key is None and source is not None and source.kind == "passphrase" and passphrase_fd is None:
        source = None
    resolved = (
        None
        if source is None
        else keys.resolve(source, keyring, passphrase_fd, option="--passphrase-fd")
    )
    # It takes no time that a bar could show, and counts no bytes: only Ctrl-C is to be noticed.
    report = vault.doctor(database, key=resolved, progress=output.Bar(silent=True))
    if offline:
        compared = clocks.not_compared()
    elif relay is not None:
        compared = clocks.compared(relay)
    else:
        # (what a descriptor gives can be read only once)
        read_once = source is not None and source.kind == "fd"
        compared = clocks.compared_with_own(database, None if read_once else resolved)
    report = DoctorReport((*report.findings, compared))
    lines: list[str] = []
    for finding in report.findings:
        lines.append(f"{_MARKS[finding.level]:<8} {finding.topic:<11} {finding.text}")
        if finding.hint:
            lines.append(f"{'':<21}-> {finding.hint}")
    document = {"command": "doctor", "exit_code": report.exit_code, **asdict(report)}
    output.show(as_json, document, lines)
    return report.exit_code


@click.command(short_help="Prove DATABASE intact, page by page and row by row.")
@click.argument("database", type=PATH)
@key_option(without=RECORDED, env="MDK_KEY")
@json_option
def verify(
    database: Path,
    key: keys.KeySource | None,
    passphrase_fd: int | None,
    keyring_store: KeyringStoreName | None,
    keyring_timeout: float,
    allow_volatile: bool,
    as_json: bool,
) -> int:
    """Prove DATABASE intact: every page authenticates, the structure holds, groups and messages fit together.

    Nothing is changed. The exit code is 1 if something is wrong.
    """
    keyring = keys.KeyringOptions(keyring_store, keyring_timeout, allow_volatile)
    source = key_record.source(database, key)
    resolved = keys.resolve(source, keyring, passphrase_fd, option="--passphrase-fd")
    with output.Bar(silent=as_json) as bar:
        report = vault.verify(database, key=resolved, progress=bar)
    code = ExitCode.OK if report.ok else ExitCode.FOUND
    pages = output.count(report.pages, "page")
    if report.ok:
        lines = [f"{pages}, all intact"]
    else:
        what = output.count(len(report.problems), "problem")
        lines = [*map(output.short, report.problems), f"{pages}, {what}"]
    lines = [*map(output.short, report.remarks), *lines]
    document = {"command": "verify", "exit_code": int(code), "ok": report.ok, **asdict(report)}
    output.show(as_json, document, lines)
    return code


@click.command(short_help="Read what is intact in DAMAGED into the database NEW.")
@click.argument("damaged", type=PATH)
@click.argument("new", type=PATH)
@key_option(without=RECORDED, env="MDK_KEY")
@other_key_option("--to-key", "Where the key of the new database is to be kept.", default="keyring")
@json_option
def salvage(
    damaged: Path,
    new: Path,
    key: keys.KeySource | None,
    passphrase_fd: int | None,
    keyring_store: KeyringStoreName | None,
    keyring_timeout: float,
    allow_volatile: bool,
    to_key: keys.KeySource,
    to_key_passphrase_fd: int | None,
    as_json: bool,
) -> int:
    """Read all that is intact in DAMAGED into the database NEW, and say what is missing.

    DAMAGED is not changed. The exit code is 1 if something is missing.
    """
    keyring = keys.KeyringOptions(keyring_store, keyring_timeout, allow_volatile)
    source = key_record.source(damaged, key)
    resolved = keys.resolve(source, keyring, passphrase_fd, option="--passphrase-fd")
    target = keys.resolve(
        to_key, keyring, to_key_passphrase_fd, option="--to-key-passphrase-fd", new=True
    )
    with output.Bar(silent=as_json) as bar:
        report = vault.salvage(damaged, new, key=resolved, to_key=target, progress=bar)
    complete = not report.missing and report.bad_pages == 0
    code = ExitCode.OK if complete else ExitCode.FOUND
    saved = [(table, output.count(rows, "row")) for table, rows in report.saved.items() if rows]
    lines = [f"saved    {table:<16} {rows}" for table, rows in saved]
    lines += [f"missing  {sentence}" for sentence in report.missing]
    lines.append(f"{output.count(report.bad_pages, 'page')} could not be read")
    document = {"command": "salvage", "exit_code": int(code), **asdict(report)}
    output.show(as_json, document, lines)
    return code
