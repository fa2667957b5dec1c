"""`mdk backup`, `mdk restore`."""

from pathlib import Path

import click

from mdk import vault
from mdk.values import KeyringStoreName

from . import key_record, keys, output
from .options import (
    PATH,
    RECORDED,
    backup_passphrase_option,
    json_option,
    key_option,
    new_key_option,
)


@click.command()
@click.argument("database", type=PATH)
@click.argument("file", type=PATH)
@key_option(without=RECORDED, env="MDK_KEY")
@backup_passphrase_option
@json_option
def backup(
    database: Path,
    file: Path,
    key: keys.KeySource | None,
    passphrase_fd: int | None,
    keyring_store: KeyringStoreName | None,
    keyring_timeout: float,
    allow_volatile: bool,
    backup_passphrase_fd: int | None,
    as_json: bool,
) -> int:
    """Write all of DATABASE into the new FILE, encrypted with a passphrase.

    Restoring it is a move: the account must not run in two places, or its message keys are used twice.
    """
    keyring = keys.KeyringOptions(keyring_store, keyring_timeout, allow_volatile)
    source = key_record.source(database, key)
    resolved = keys.resolve(source, keyring, passphrase_fd, option="--passphrase-fd")
    secret = keys.passphrase(
        "passphrase of the backup", backup_passphrase_fd, option="--backup-passphrase-fd", new=True
    )
    with output.Bar(silent=as_json) as bar:
        report = vault.backup(database, file, passphrase=secret, key=resolved, progress=bar)
    document = {"command": "backup", "exit_code": 0, "bytes": report.bytes, "rows": report.rows}
    output.show(
        as_json,
        document,
        [f"{output.count(report.rows, 'row')} in {output.size(report.bytes)} written"],
    )
    return 0


@click.command()
@click.argument("file", type=PATH)
@click.argument("database", type=PATH)
@new_key_option
@backup_passphrase_option
@json_option
def restore(
    file: Path,
    database: Path,
    key: keys.KeySource,
    passphrase_fd: int | None,
    keyring_store: KeyringStoreName | None,
    keyring_timeout: float,
    allow_volatile: bool,
    backup_passphrase_fd: int | None,
    as_json: bool,
) -> int:
    """Restore the backup FILE into the new DATABASE. Nothing of FILE is used before all of it is proven.

    The account must not run anywhere else from then on. --key is the key that DATABASE gets.
    """
    keyring = keys.KeyringOptions(keyring_store, keyring_timeout, allow_volatile)
    resolved = keys.resolve(key, keyring, passphrase_fd, option="--passphrase-fd", new=True)
    secret = keys.passphrase(
        "passphrase of the backup", backup_passphrase_fd, option="--backup-passphrase-fd"
    )
    with output.Bar(silent=as_json) as bar:
        report = vault.restore(file, database, passphrase=secret, key=resolved, progress=bar)
    # Group ids are private; how many there are is enough here.
    groups, renew = len(report.groups), len(report.must_update)
    document = {
        "command": "restore",
        "exit_code": 0,
        "created_at": report.created_at.isoformat(),
        "rows": report.rows,
        "groups": groups,
        "must_update": renew,
    }
    lines = [
        f"{output.count(report.rows, 'row')} and {output.count(groups, 'group')} restored",
        f"as of {report.created_at:%Y-%m-%d %H:%M} UTC",
        f"{output.count(renew, 'group needs', 'groups need')} fresh keys: the first command that connects renews them",
        "Do not run this account anywhere else any more.",
    ]
    output.show(as_json, document, lines)
    return 0
