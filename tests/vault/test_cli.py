"""`mdk` as a person at a terminal, a script and a cron job see it."""

from __future__ import annotations

import io
import json
import os
import platform
import pty
import re
import select
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.vault.kit import founded, ran

from mdk import DatabaseKey, Keys, Mdk, errors, vault
from mdk.cli import exit_codes
from mdk.cli.app import app, run
from mdk.cli.exit_codes import ExitCode

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


@pytest.fixture
def account(tmp_path: Path) -> Account:
    folder = tmp_path / "account"
    folder.mkdir(mode=0o700)
    account = Account(folder)
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


def mdk(*arguments: str | Path, **options: Any) -> Done:
    done = ran([sys.executable, "-W", "error", "-m", "mdk", *arguments], **options)
    assert "Traceback" not in done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def with_fds(secrets: Sequence[str], make: Callable[[list[int]], list[str | Path]]) -> Done:
    """Run with each secret in a pipe of its own."""
    pipes = [os.pipe() for _ in secrets]
    for (_, end), secret in zip(pipes, secrets, strict=True):
        os.write(end, secret.encode())
        os.close(end)
    reading = [start for start, _ in pipes]
    try:
        return mdk(*make(reading), pass_fds=reading)
    finally:
        for start in reading:
            os.close(start)


def groups(mdk_: Mdk) -> list[str]:
    with mdk_:
        return [group.name for group in mdk_.groups()]


# ------------------------------------------------------------------ help and exit codes


def test_help_names_all_commands_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    done = mdk("--help")
    assert done.code == 0
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", done.out, re.MULTILINE), command
        assert run([command, "--help"]) == 0
        assert capsys.readouterr().out.startswith(f"Usage: mdk {command}")
    for code, meaning in exit_codes.MEANINGS.items():
        assert f"{code.value}  {meaning}" in done.out
    assert set(exit_codes.MEANINGS) == set(ExitCode)
    assert set(app.commands) >= set(COMMANDS)


def test_the_document_has_the_same_table() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for code, meaning in exit_codes.MEANINGS.items():
        assert f"| {code.value} | {meaning} |" in text
    for command in COMMANDS:
        assert f"mdk {command}" in text


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
        ("", ""),
        ("nothing", ""),
        ("verify", ""),
        ("verify --key planted-secret x", ""),
        ("verify --key file: x", ""),
        ("verify --key keyring: x", ""),
        # A variable that was not set must not lead to the key of another one.
        ("verify --key keyring:/x x", "service: empty"),
        ("verify --key keyring:mdk/ x", "key_id: empty"),
        ("verify --key keyring:/ x", "service: empty"),
        ("verify --key fd:one x", ""),
        ("verify --key passphrase:planted-secret x", ""),
        ("verify --key passphrase x", ""),
        ("verify --key passphrase --passphrase-fd 987 x", ""),
        ("verify --keyring-timeout 0 x", ""),
        ("backup x y", ""),
    ],
)
def test_wrong_usage(
    command: str,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert run(command.split()) == 64
    out, err = capsys.readouterr()
    assert "planted-secret" not in out + err
    assert said in err
    assert err.startswith("mdk: " if command else "")
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_one_line_with_a_hint(account: Account) -> None:
    done = mdk("verify", account.folder / "nothing.db", "--key", account.key)
    assert (done.code, done.out) == (66, "")
    assert re.fullmatch(r"mdk: [^\n]+\. [A-Z][^\n]+\n", done.err)
    done = mdk("verify", account.folder / "nothing.db", "--key", account.key, "--json")
    assert done.code == 66
    error = done.document["error"]
    assert error["code"] == "file_missing"
    assert error["message"]
    assert error["hint"]
    assert done.document["exit_code"] == 66


def test_usage_errors_in_json() -> None:
    done = mdk("verify", "--json")
    assert done.code == 64
    assert done.document["error"]["code"] == "usage"


# ------------------------------------------------------------------ the commands


def test_verify(account: Account) -> None:
    done = mdk("verify", account.path, "--key", account.key)
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(r"[\d,]+ pages, all intact\n", done.out)
    document = mdk("verify", account.path, "--key", account.key, "--json").document
    assert (document["command"], document["ok"], document["bad_page_count"]) == ("verify", True, 0)
    data = bytearray(account.path.read_bytes())
    data[5 * 4096 + 100] ^= 1
    account.path.write_bytes(data)
    done = mdk("verify", account.path, "--key", account.key)
    assert done.code == 1
    assert "page 6 fails its authentication" in done.out
    document = mdk("verify", account.path, "--key", account.key, "--json").document
    assert (document["ok"], document["bad_pages"], document["exit_code"]) == (False, [6], 1)


def test_a_database_that_is_open(account: Account) -> None:
    with account.open():
        done = mdk("verify", account.path, "--key", account.key)
    assert done.code == 75
    assert f"process {os.getpid()}" in done.err


def test_rekey_in_place_and_to_another_source(account: Account) -> None:
    old = (account.folder / "mdk.key").read_bytes()
    done = mdk("rekey", account.path, "--key", account.key)
    assert (done.code, done.err) == (0, "")
    assert (account.folder / "mdk.key").read_bytes() != old
    assert groups(account.open()) == ["Lunch"]
    done = with_fds(
        ["a new passphrase\n"],
        lambda fds: [
            *("rekey", account.path, "--key", account.key, "--json"),
            *("--to", "passphrase", "--to-passphrase-fd", str(fds[0])),
        ],
    )
    assert done.code == 0, done.err
    assert done.document["bytes"] > 0
    key = DatabaseKey.passphrase("a new passphrase")
    assert groups(account.open(key=key)) == ["Lunch"]
    wrong = with_fds(
        ["another one"],
        lambda fds: ["verify", account.path, "--key", "passphrase", "--passphrase-fd", str(fds[0])],
    )
    assert wrong.code == 78
    assert "passphrase" in wrong.err


def test_a_keyring_that_cannot_have_the_new_key_is_not_taken_for_the_old_keys(
    account: Account,
) -> None:
    nowhere = {**os.environ, "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent"}
    done = mdk(
        *("rekey", account.path, "--key", account.key, "--to", "keyring:mdk-test/new"),
        *("--keyring-store", "secret-service"),
        env=nowhere,
    )
    assert done.code != 0
    assert "Keep the new key elsewhere: --to file:PATH" in done.err
    assert groups(account.open()) == ["Lunch"]


def test_keys_from_everywhere(account: Account, tmp_path: Path) -> None:
    raw = bytes(range(32))
    done = mdk("rekey", account.path, "--key", account.key, "--to", "env:PLANTED")
    assert done.code == 78
    environment = {**os.environ, "PLANTED": raw.hex()}
    done = mdk("rekey", account.path, "--key", account.key, "--to", "env:PLANTED", env=environment)
    assert done.code == 0, done.err
    done = mdk("verify", account.path, "--key", "env:PLANTED", env=environment)
    assert done.code == 0, done.err
    done = with_fds([raw.hex()], lambda fds: ["verify", account.path, "--key", f"fd:{fds[0]}"])
    assert done.code == 0, done.err
    secrets = tmp_path / "credentials"
    secrets.mkdir(mode=0o700)
    (secrets / "database").write_bytes(raw)
    environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(secrets)}
    done = mdk("verify", account.path, "--key", "secret:database", env=environment)
    assert done.code == 0, done.err


def test_backup_and_restore(account: Account) -> None:
    backup, new = account.folder / "backup", account.folder / "new" / "mdk.db"
    new_key = f"file:{new.with_suffix('.key')}"

    def save(fds: list[int]) -> list[str | Path]:
        command: list[str | Path] = ["backup", account.path, backup, "--key", account.key]
        return [*command, "--backup-passphrase-fd", str(fds[0])]

    def load(fds: list[int]) -> list[str | Path]:
        command: list[str | Path] = ["restore", backup, new, "--key", new_key, "--json"]
        return [*command, "--backup-passphrase-fd", str(fds[0])]

    done = with_fds(["phrase\r\n"], save)
    assert (done.code, done.err) == (0, "")
    assert backup.stat().st_mode & 0o777 == 0o600
    assert with_fds(["phrase"], save).code == 73
    assert with_fds(["wrong"], load).code == 78
    assert not new.exists()
    done = with_fds(["phrase"], load)
    assert done.code == 0, done.err
    document = done.document
    assert (document["groups"], document["must_update"]) == (1, 1)
    with account.open(new) as mdk_:
        (group,) = mdk_.groups()
        with pytest.raises(errors.SelfUpdateRequired):
            mdk_.create_message(group.id, "too early")
        with mdk_.self_update(group.id) as pending:
            pending.confirm()
        mdk_.create_message(group.id, "now")
    # No id of a group is shown.
    assert group.id not in done.out


def plain_copy(account: Account, to: Path) -> None:
    """The same database without encryption, made by another build of SQLCipher."""
    from sqlcipher3 import dbapi2  # noqa: PLC0415

    raw = bytes(range(32))
    with_key = DatabaseKey.raw(raw)
    with account.open() as mdk_:
        mdk_.rekey(with_key)
    connection = dbapi2.connect(str(account.path))
    connection.execute(f"PRAGMA key = \"x'{raw.hex()}'\"")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"ATTACH '{to}' AS plain KEY ''")
    connection.execute("SELECT sqlcipher_export('plain')")
    connection.execute(f"PRAGMA plain.application_id = {application}")
    connection.execute(f"PRAGMA plain.user_version = {version}")
    connection.execute("DETACH plain")
    connection.close()
    to.chmod(0o600)


def test_encrypt(account: Account) -> None:
    plain = account.folder / "plain.db"
    plain_copy(account, plain)
    assert b"planted message" in plain.read_bytes()
    copy, key = account.folder / "copy.db", f"file:{account.folder / 'copy.key'}"
    done = mdk("encrypt", plain, "--to", copy, "--key", key, "--json")
    assert done.code == 0, done.err
    assert done.document["rows"] > 0
    assert groups(account.open(copy)) == ["Lunch"]
    assert plain.read_bytes()[:6] == b"SQLite"
    key = f"file:{account.folder / 'plain.key'}"
    done = mdk("encrypt", plain, "--key", key)
    assert (done.code, done.err) == (0, "")
    assert b"planted message" not in plain.read_bytes()
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(plain).execute("SELECT * FROM sqlite_schema").fetchall()
    assert groups(account.open(plain)) == ["Lunch"]
    assert mdk("encrypt", plain, "--key", key).code == 65
    other = account.folder / "other.key"
    done = mdk("encrypt", plain, "--from-key", key, "--key", f"file:{other}")
    assert (done.code, other.exists()) == (64, False)
    assert "--from-key needs --to PATH" in done.err
    assert "mdk rekey" in done.err


def test_salvage(account: Account) -> None:
    new, key = account.folder / "new.db", f"file:{account.folder / 'new.key'}"
    done = mdk("salvage", account.path, new, "--key", account.key, "--to-key", key, "--json")
    assert done.code == 0, done.err
    assert (done.document["missing"], done.document["bad_pages"]) == ([], 0)
    opened = account.open(new)
    assert groups(opened) == ["Lunch"]
    data = bytearray(account.path.read_bytes())
    rest, key = account.folder / "rest.db", f"file:{account.folder / 'rest.key'}"
    codes = []
    # A page of the list of tables costs everything.
    for page in (1, 4, 24, 32, 40):
        bad = data[:]
        bad[page * 4096 + 100] ^= 1
        account.path.write_bytes(bad)
        done = mdk("salvage", account.path, rest, "--key", account.key, "--to-key", key)
        assert account.path.read_bytes() == bad
        codes.append(done.code)
        if done.code == 1:
            assert "1 page could not be read" in done.out
            account.open(rest).close()
            break
        assert "restore a backup" in done.err
    assert codes[-1] == 1, codes


# proves: K9
def test_doctor(account: Account) -> None:
    def timed(*arguments: str | Path) -> tuple[float, Done]:
        before = time.monotonic()
        done = mdk(*arguments)
        return time.monotonic() - before, done

    # A busy machine may hold up one of the calls; what waits for something holds up each.
    def quickest(*arguments: str | Path) -> tuple[float, Done]:
        return min((timed(*arguments) for _ in range(3)), key=lambda call: call[0])

    started, _ = quickest("--version")
    took, done = quickest("doctor", account.path, "--key", account.key)
    assert took < 20 * started
    assert done.code in {0, 1}, done.out
    for topic in ("database", "directory", "key", "lock"):
        assert re.search(rf"^\w+ +{topic} ", done.out, re.MULTILINE), done.out
    document = mdk("doctor", account.path, "--json").document
    assert document["exit_code"] == done.code
    assert {"level", "topic", "text", "hint"} == set(document["findings"][0])
    with account.open():
        held = mdk("doctor", account.path)
    assert held.code in {0, 1}
    assert str(os.getpid()) in held.out
    account.path.chmod(0o644)
    assert mdk("doctor", account.path).code in {1, 2}
    nothing = account.folder / "nothing" / "mdk.db"
    done = mdk("doctor", nothing)
    assert done.code in {0, 1}
    assert "does not exist" in done.out
    assert not nothing.parent.exists()


# proves: K9
@pytest.mark.parametrize("kind", ["file", "passphrase"])
def test_the_doctor_tells_a_key_that_was_destroyed(tmp_path: Path, kind: str) -> None:
    """Every way of it is tried in crates/mdk-store/tests/vault/doctor_keys.rs."""
    path = tmp_path / "home" / "a.db"
    file = path.with_name("a.secret" if kind == "file" else "a.db.key")
    key = DatabaseKey.from_file(file) if kind == "file" else DatabaseKey.passphrase("many words")
    Mdk.open(path, keys=KEYS, key=key).close()
    assert any(f.text.endswith("is there") for f in vault.doctor(path).findings)
    file.write_bytes(file.read_bytes()[:40])
    assert any(f.topic == "key" and f.level == "error" for f in vault.doctor(path).findings)
    done = mdk("doctor", path)
    assert done.code == 2
    assert "is there" not in done.out


# proves: K8
@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are of Unix")
def test_a_descriptor_without_a_key(account: Account) -> None:
    """Numbers that are not open, or that the command opens itself; and one for writing, a pipe for the output."""
    for number in (*range(3, 9), 1):
        done = mdk("verify", account.path, "--key", f"fd:{number}")
        assert done.code == 78, done.err
        assert "the file descriptor holds no key" in done.err


def test_demo() -> None:
    done = mdk("demo")
    assert done.code == 0
    assert "Soup" in done.out


# ------------------------------------------------------------------ a person


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, *arguments: str | Path) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            # Whoever runs the tests in the background ignores it, and what is ignored is inherited.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
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

    def type(self, text: str) -> None:
        os.write(self.fd, f"{text}\n".encode())

    def end(self) -> int:
        while True:
            try:
                data = os.read(self.fd, 4096)
            except OSError:
                break
            if not data:
                break
            self.seen += data.decode()
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


def test_a_passphrase_is_asked_for_and_not_shown(account: Account) -> None:
    terminal = Terminal("backup", account.path, account.folder / "backup", "--key", account.key)
    terminal.expect("Passphrase of the backup:")
    terminal.type("planted phrase")
    terminal.expect("The same again:")
    terminal.type("another phrase")
    terminal.expect("not the same")
    terminal.expect("Passphrase of the backup:")
    terminal.type("planted phrase")
    terminal.expect("The same again:")
    terminal.type("planted phrase")
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


def test_control_c(account: Account) -> None:
    terminal = Terminal("backup", account.path, account.folder / "backup", "--key", account.key)
    terminal.expect("Passphrase of the backup:")
    # (between the question and the reading Python would not hear of it)
    read = {"x86_64": "0", "aarch64": "63"}.get(platform.machine())
    call = Path(f"/proc/{terminal.pid}/syscall")
    while read and call.exists() and call.read_text().split()[0] != read:
        time.sleep(0.01)
    os.kill(terminal.pid, signal.SIGINT)
    assert terminal.end() == 130
    assert "Traceback" not in terminal.seen
    assert not (account.folder / "backup").exists()
