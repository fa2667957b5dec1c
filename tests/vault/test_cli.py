"""The commands of the vault as a person at a terminal, a script and a cron job see them."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.vault.kit import founded, key_in, ran
from tests.vault.sqlcipher_format import Encrypted

from mdk import DatabaseKey, Keys, Mdk, errors
from mdk.cli import exit_codes
from mdk.cli.app import run

ROOT = Path(__file__).resolve().parent.parent.parent
KEYS = Keys.generate()
COMMANDS = ["doctor", "verify", "rekey", "encrypt", "backup", "restore", "salvage", "demo"]


@dataclass
class Account:
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "mdk.db"

    @property
    def key(self) -> str:
        return f"file:{self.folder / 'mdk.key'}"

    def open(self, path: Path | None = None, key: DatabaseKey | None = None) -> Mdk:
        """Without a key with that of the file beside it."""
        path = path or self.path
        return Mdk.open(path, keys=KEYS, key=key or DatabaseKey.from_file(path.with_suffix(".key")))

    def groups(self, path: Path | None = None, key: DatabaseKey | None = None) -> list[str]:
        with self.open(path, key) as mdk:
            return [group.name for group in mdk.groups()]


@pytest.fixture
def account(tmp_path: Path) -> Account:
    account = Account(tmp_path / "account")
    with account.open() as mdk:
        group = founded(mdk)
        for number in range(50):
            mdk.create_message(group, f"planted message {number}")
    return account


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        document = json.loads(self.out)
        assert isinstance(document, dict)
        return document


def mdk(*arguments: str | Path, **environment: str) -> Done:
    """A command, in this process: most of its time would be the start of Python."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as here, redirect_stdout(out), redirect_stderr(err):
        for name, value in environment.items():
            here.setenv(name, value)
        here.setattr(sys, "stdin", io.StringIO())
        code = run([str(word) for word in arguments])
    return Done(int(code), out.getvalue(), err.getvalue())


def succeeded(done: Done) -> Done:
    assert (done.code, done.err) == (0, "")
    return done


def with_secret(secret: str, make: Callable[[str], list[str | Path]]) -> Done:
    """Run with a secret in a pipe."""
    start, end = os.pipe()
    os.write(end, secret.encode())
    os.close(end)
    try:
        return mdk(*make(str(start)))
    finally:
        # (as a rule the library has closed it)
        with suppress(OSError):
            os.close(start)


# ------------------------------------------------------------------ help, errors and exit codes


def test_help_and_the_document_have_all_commands_and_exit_codes() -> None:
    said = mdk("--help").out
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", said, re.MULTILINE), command
        assert f"mdk {command}" in text
    assert set(exit_codes.MEANINGS) == set(exit_codes.ExitCode)
    for code, meaning in exit_codes.MEANINGS.items():
        assert f"{code.value}  {meaning}" in said
        assert f"| {code.value} | {meaning} |" in text


@pytest.mark.parametrize(
    ("code", "kinds"),
    [
        (64, "InvalidIdentifier"),
        (65, "TruncatedDatabase NotABackup"),
        (66, "FileMissing DatabaseMissing"),
        (69, "KeyringLocked VolatileStore"),
        (70, "InternalError"),
        (73, "DestinationExists"),
        (74, "NotEnoughSpace StorageError"),
        (75, "DatabaseBusy"),
        (77, "KeyFileTooWide"),
        (78, "WrongKey KeyMissing WrongPassphrase WrongKeyLength WrongPassword CryptoError"),
    ],
)
def test_exit_codes_of_errors(code: int, kinds: str) -> None:
    for kind in kinds.split():
        assert exit_codes.of(getattr(errors, kind)()) == code, kind


@pytest.mark.parametrize(
    ("command", "said"),
    [
        *((command, "") for command in ("", "nothing", "verify", "backup x y")),
        *((f"verify --key {key} x", "") for key in ("planted-secret", "file:", "keyring:")),
        # A variable that was not set must not lead to the key of another one.
        ("verify --key keyring:/x x", "service: empty"),
        ("verify --key keyring:mdk/ x", "key_id: empty"),
        ("verify --key keyring:/ x", "service: empty"),
        ("verify --key fd:one x", ""),
        ("verify --key passphrase:planted-secret x", ""),
        ("verify --key passphrase x", ""),
        ("verify --key passphrase --passphrase-fd 987 x", ""),
        ("verify --keyring-timeout 0 x", ""),
    ],
)
def test_wrong_usage(
    command: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = mdk(*command.split())
    assert done.code == 64
    assert "planted-secret" not in done.out + done.err
    assert said in done.err
    assert done.err.startswith("mdk: " if command else "")
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_one_line_with_a_hint_or_a_document(tmp_path: Path) -> None:
    command = ("verify", tmp_path / "nothing.db", "--key", f"file:{tmp_path / 'key'}")
    done = mdk(*command)
    assert (done.code, done.out) == (66, "")
    assert re.fullmatch(r"mdk: [^\n]+\. [A-Z][^\n]+\n", done.err)
    document = mdk(*command, "--json").document
    assert (document["exit_code"], document["error"]["code"]) == (66, "file_missing")
    assert document["error"]["message"]
    assert document["error"]["hint"]
    done = mdk("verify", "--json")
    assert (done.code, done.document["error"]["code"]) == (64, "usage")


# ------------------------------------------------------------------ the commands


# proves: R13
def test_verify(account: Account) -> None:
    command = ("verify", account.path, "--key", account.key)
    assert re.fullmatch(r"[\d,]+ pages, all intact\n", succeeded(mdk(*command)).out)
    document = mdk(*command, "--json").document
    assert (document["command"], document["ok"], document["bad_page_count"]) == ("verify", True, 0)
    with account.open():
        done = mdk(*command)
    assert done.code == 75
    assert f"process {os.getpid()}" in done.err
    data = bytearray(account.path.read_bytes())
    data[5 * 4096 + 100] ^= 1
    account.path.write_bytes(data)
    done = mdk(*command)
    assert done.code == 1
    assert "page 6 fails its authentication" in done.out
    document = mdk(*command, "--json").document
    assert (document["ok"], document["bad_pages"], document["exit_code"]) == (False, [6], 1)


def test_rekey_in_place_and_to_another_source(account: Account) -> None:
    old = (account.folder / "mdk.key").read_bytes()
    command: list[str | Path] = ["rekey", account.path, "--key", account.key]
    succeeded(mdk(*command))
    assert (account.folder / "mdk.key").read_bytes() != old
    assert account.groups() == ["Lunch"]
    # The keyring cannot have the new key, which is said of the new one.
    to_keyring = ("--to", "keyring:mdk-test/new", "--keyring-store", "secret-service")
    done = mdk(*command, *to_keyring, DBUS_SESSION_BUS_ADDRESS="unix:path=/nonexistent")
    assert done.code != 0
    assert "Keep the new key elsewhere: --to file:PATH" in done.err
    assert account.groups() == ["Lunch"]
    done = with_secret(
        "a new passphrase\n",
        lambda fd: [*command, "--json", "--to", "passphrase", "--to-passphrase-fd", fd],
    )
    assert done.code == 0, done.err
    assert done.document["bytes"] > 0
    assert account.groups(key=DatabaseKey.passphrase("a new passphrase")) == ["Lunch"]
    wrong = with_secret(
        "another one",
        lambda fd: ["verify", account.path, "--key", "passphrase", "--passphrase-fd", fd],
    )
    assert wrong.code == 78
    assert "passphrase" in wrong.err


def test_keys_from_everywhere(account: Account, tmp_path: Path) -> None:
    raw = bytes(range(32))
    to_variable = ("rekey", account.path, "--key", account.key, "--to", "env:PLANTED")
    assert mdk(*to_variable).code == 78
    succeeded(mdk(*to_variable, PLANTED=raw.hex()))
    verify: list[str | Path] = ["verify", account.path, "--key"]
    succeeded(mdk(*verify, "env:PLANTED", PLANTED=raw.hex()))
    succeeded(with_secret(raw.hex(), lambda fd: [*verify, f"fd:{fd}"]))
    credentials = tmp_path / "credentials"
    credentials.mkdir(mode=0o700)
    (credentials / "database").write_bytes(raw)
    succeeded(mdk(*verify, "secret:database", CREDENTIALS_DIRECTORY=str(credentials)))


# proves: K11
def test_backup_and_restore(account: Account) -> None:
    backup, new = account.folder / "backup", account.folder / "new" / "mdk.db"
    phrase = "--backup-passphrase-fd"
    save: list[str | Path] = ["backup", account.path, backup, "--key", account.key, phrase]
    load: list[str | Path] = ["restore", backup, new, "--key", f"file:{new.with_suffix('.key')}"]
    load += ["--json", phrase]
    succeeded(with_secret("a long phrase\r\n", lambda fd: [*save, fd]))
    assert backup.stat().st_mode & 0o777 == 0o600
    assert with_secret("a long phrase", lambda fd: [*save, fd]).code == 73
    assert with_secret("wrong", lambda fd: [*load, fd]).code == 78
    assert not new.exists()
    done = with_secret("a long phrase", lambda fd: [*load, fd])
    assert done.code == 0, done.err
    assert (done.document["groups"], done.document["must_update"]) == (1, 1)
    with account.open(new) as mdk_:
        (group,) = mdk_.groups()
        assert mdk_.needs_self_update() == [group.id]
    # No id of a group is shown.
    assert group.id not in done.out


def test_encrypt(account: Account) -> None:
    plain = account.folder / "plain.db"
    plain.write_bytes(Encrypted(account.path, key_in(account.folder / "mdk.key")).image())
    plain.chmod(0o600)
    assert b"planted message" in plain.read_bytes()
    copy, key = account.folder / "copy.db", f"file:{account.folder / 'copy.key'}"
    done = mdk("encrypt", plain, "--to", copy, "--key", key, "--json")
    assert done.code == 0, done.err
    assert done.document["rows"] > 0
    assert account.groups(copy) == ["Lunch"]
    assert plain.read_bytes()[:6] == b"SQLite"
    key = f"file:{account.folder / 'plain.key'}"
    succeeded(mdk("encrypt", plain, "--key", key))
    assert b"planted message" not in plain.read_bytes()
    assert plain.read_bytes()[:6] != b"SQLite"
    assert account.groups(plain) == ["Lunch"]
    assert mdk("encrypt", plain, "--key", key).code == 65
    other = account.folder / "other.key"
    done = mdk("encrypt", plain, "--from-key", key, "--key", f"file:{other}")
    assert (done.code, other.exists()) == (64, False)
    assert "--from-key needs --to PATH" in done.err
    assert "mdk rekey" in done.err


# proves: R13
def test_salvage(account: Account) -> None:
    def salvage(name: str, *options: str) -> Done:
        new, key = account.folder / f"{name}.db", f"file:{account.folder / name}.key"
        return mdk("salvage", account.path, new, "--key", account.key, "--to-key", key, *options)

    done = salvage("whole", "--json")
    assert done.code == 0, done.err
    assert (done.document["missing"], done.document["bad_pages"]) == ([], 0)
    assert account.groups(account.folder / "whole.db") == ["Lunch"]
    data = bytearray(account.path.read_bytes())
    codes = []
    # A page of the list of tables costs everything.
    for page in (1, 4, 24, 32, 40):
        bad = data[:]
        bad[page * 4096 + 100] ^= 1
        account.path.write_bytes(bad)
        done = salvage("rest")
        assert account.path.read_bytes() == bad
        codes.append(done.code)
        if done.code == 1:
            assert "1 page could not be read" in done.out
            account.open(account.folder / "rest.db").close()
            break
        assert "restore a backup" in done.err
    assert codes[-1] == 1, codes


# proves: K9
def test_doctor(account: Account) -> None:
    def timed() -> tuple[float, Done]:
        before = time.monotonic()
        done = mdk("doctor", account.path, "--key", account.key)
        return time.monotonic() - before, done

    # A busy machine may hold up one of the calls; what waits for something holds up each.
    took, done = min((timed() for _ in range(3)), key=lambda call: call[0])
    assert took < 2
    assert done.code in {0, 1}, done.out
    for topic in ("database", "directory", "key", "lock"):
        assert re.search(rf"^\w+ +{topic} ", done.out, re.MULTILINE), done.out
    document = mdk("doctor", account.path, "--json").document
    assert document["exit_code"] == done.code
    assert {"level", "topic", "text", "hint"} == set(document["findings"][0])
    with account.open():
        held = ran([sys.executable, "-m", "mdk", "doctor", account.path])
    assert held.returncode in {0, 1}
    assert str(os.getpid()) in held.stdout
    account.path.chmod(0o644)
    assert mdk("doctor", account.path).code in {1, 2}
    nothing = account.folder / "nothing" / "mdk.db"
    done = mdk("doctor", nothing)
    assert done.code in {0, 1}
    assert "does not exist" in done.out
    assert not nothing.parent.exists()


# proves: K8
@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are of Unix")
def test_a_descriptor_without_a_key(account: Account) -> None:
    """Numbers that are not open, or that the command opens itself; and one for writing, a pipe for the output."""
    for number in (3, 5, 1):
        command = [sys.executable, "-m", "mdk", "verify", account.path, "--key", f"fd:{number}"]
        done = ran(command)
        assert done.returncode == 78, done.stderr
        assert "the file descriptor holds no key" in done.stderr


# ------------------------------------------------------------------ a person


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, *arguments: str | Path) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(sys.executable, [sys.executable, "-m", "mdk", *map(str, arguments)])
        self.seen = ""
        self.place = 0

    def expect(self, text: str) -> None:
        """Wait until the text is shown, behind what was waited for before."""
        deadline = time.monotonic() + 30
        while (found := self.seen.find(text, self.place)) < 0:
            ready, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{text!r} never came: {self.seen!r}"
            self.seen += os.read(self.fd, 4096).decode()
        self.place = found + len(text)

    def answer(self, question: str, text: str) -> None:
        self.expect(question)
        os.write(self.fd, f"{text}\n".encode())

    def end(self) -> int:
        with suppress(OSError):
            while data := os.read(self.fd, 4096):
                self.seen += data.decode()
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


def test_a_passphrase_is_asked_for_and_not_shown(account: Account) -> None:
    terminal = Terminal("backup", account.path, account.folder / "backup", "--key", account.key)
    terminal.answer("Passphrase of the backup:", "planted phrase")
    terminal.answer("The same again:", "another phrase")
    terminal.expect("not the same")
    terminal.answer("Passphrase of the backup:", "planted phrase")
    terminal.answer("The same again:", "planted phrase")
    assert terminal.end() == 0, terminal.seen
    assert "planted" not in terminal.seen
    assert "written" in terminal.seen


def test_a_bar_on_a_terminal_only(account: Account) -> None:
    terminal = Terminal("verify", account.path, "--key", account.key)
    assert terminal.end() == 0, terminal.seen
    assert re.search(r"checking +\[#+\.*\] +\d+%", terminal.seen), terminal.seen
    # The last thing on the screen is the result, on a line of its own.
    assert re.search(r"\r\x1b\[K\d+ pages, all intact\r\n$", terminal.seen)
    assert "[#" not in mdk("verify", account.path, "--key", account.key).err
