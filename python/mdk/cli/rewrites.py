"""`mdk rekey`, `mdk encrypt`: another key for the whole database."""

from dataclasses import asdict, replace
from pathlib import Path

import click

from mdk import errors, vault
from mdk.values import KeyringStoreName

from . import hints, key_record, keys, output
from .options import PATH, RECORDED, json_option, key_option, new_key_option, other_key_option


@click.command()
@click.argument("database", type=PATH)
@key_option(without=RECORDED, env="MDK_KEY")
@other_key_option(
    "--to",
    "Where the new key is to be kept, in the forms of --key.  [default: where it was]",
    default=None,
)
@json_option
def rekey(
    database: Path,
    key: keys.KeySource | None,
    passphrase_fd: int | None,
    keyring_store: KeyringStoreName | None,
    keyring_timeout: float,
    allow_volatile: bool,
    to: keys.KeySource | None,
    to_passphrase_fd: int | None,
    as_json: bool,
) -> int:
    """Encrypt DATABASE anew, with a fresh key. The old key opens nothing afterwards.

    It can be interrupted at any point: the database opens with the old key or with the new one.
    """
    keyring = keys.KeyringOptions(keyring_store, keyring_timeout, allow_volatile)
    source = key_record.source(database, key)
    # Which keyring is said of the new key, where that goes into one and the record knows where the present one is.
    of_new = to is not None and to.kind == "keyring" and key_record.recorded(database)
    present = replace(keyring, store=None) if of_new else keyring
    resolved = keys.resolve(source, present, passphrase_fd, option="--passphrase-fd")
    target = (
        None
        if to is None
        else keys.resolve(to, keyring, to_passphrase_fd, option="--to-passphrase-fd", new=True)
    )
    try:
        with output.Bar(silent=as_json) as bar:
            report = vault.rekey(database, target, key=resolved, progress=bar)
    except (errors.KeyringUnavailable, errors.VolatileStore) as error:
        # The present key is in no keyring, so the new one's is at fault.
        if to is not None and to.kind == "keyring" and source.kind != "keyring":
            error.hint = hints.NEW_KEY_ELSEWHERE.format(option="--to")
        raise
    document = {"command": "rekey", "exit_code": 0, **asdict(report)}
    lines = [f"{output.size(report.bytes)} encrypted with a new key"]
    if report.old_key_kept:
        lines.append(
            "The old key was not removed: this database is a copy, and another one may need it."
        )
    output.show(as_json, document, lines)
    return 0


@click.command()
@click.argument("database", type=PATH)
@new_key_option
@click.option(
    "--to",
    type=PATH,
    help="Write a copy into this new file and leave DATABASE as it is.  [default: in place]",
)
@other_key_option(
    "--from-key",
    "DATABASE is encrypted already, with this key: copy it under another one. Needs --to.",
    default=None,
)
@json_option
def encrypt(
    database: Path,
    key: keys.KeySource,
    passphrase_fd: int | None,
    keyring_store: KeyringStoreName | None,
    keyring_timeout: float,
    allow_volatile: bool,
    to: Path | None,
    from_key: keys.KeySource | None,
    from_key_passphrase_fd: int | None,
    as_json: bool,
) -> int:
    """Encrypt the plain DATABASE, in place or into a new file. --key is the key that it gets.

    Every row of the copy is compared with its source first; then the plain file is overwritten and
    removed. What a disk keeps elsewhere, in snapshots for example, is out of reach. If it is cut off,
    call it again with the same --key.
    """
    if from_key is not None and to is None:
        raise click.UsageError(
            "--from-key needs --to PATH; the key of a database in place is changed by `mdk rekey`"
        )
    keyring = keys.KeyringOptions(keyring_store, keyring_timeout, allow_volatile)
    source = (
        None
        if from_key is None
        else keys.resolve(
            from_key, keyring, from_key_passphrase_fd, option="--from-key-passphrase-fd"
        )
    )
    target = keys.resolve(key, keyring, passphrase_fd, option="--passphrase-fd", new=True)
    with output.Bar(silent=as_json) as bar:
        report = vault.encrypt_existing(database, key=target, to=to, from_key=source, progress=bar)
    rows, tables = output.count(report.rows, "row"), output.count(report.tables, "table")
    lines = [f"{output.size(report.bytes)} encrypted; {rows} in {tables} compared"]
    output.show(as_json, {"command": "encrypt", "exit_code": 0, **asdict(report)}, lines)
    return 0
