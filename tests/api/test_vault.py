"""The operations on a whole database, as methods of an open account."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mdk import (
    DatabaseKey,
    DatabaseRekeyReport,
    GroupId,
    Keys,
    Mdk,
    Progress,
    RestoreReport,
    VerifyReport,
    errors,
    vault,
)

RELAYS = ["wss://relay.example"]
PHRASE = "correct horse battery staple"


@pytest.fixture
def keys() -> Keys:
    return Keys.generate()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "account" / "mdk.db"


@pytest.fixture
def key(tmp_path: Path) -> DatabaseKey:
    return DatabaseKey.from_file(tmp_path / "account" / "key")


@pytest.fixture
def open_(path: Path, keys: Keys, key: DatabaseKey) -> Callable[[], Mdk]:
    return lambda: Mdk.open(path, keys=keys, key=key)


def fill(account: Mdk) -> GroupId:
    with account.create_group("Lunch", relays=RELAYS) as pending:
        group = pending.confirm()
    for number in range(20):
        account.create_message(group.id, f"message {number}")
    return group.id


def test_rekey_goes_on_with_the_same_object_and_moves_the_key(
    open_: Callable[[], Mdk], tmp_path: Path, path: Path, keys: Keys
) -> None:
    old, raw = tmp_path / "old.key", os.urandom(32)
    with open_() as account:
        group = fill(account)
        digest = account.digest()
        old.write_bytes((path.parent / "key").read_bytes())
        old.chmod(0o600)
        assert account.info.rekeyed_at is None
        report = account.rekey()
        assert type(report) is DatabaseRekeyReport
        assert report.bytes > 0
        assert account.digest() == digest
        assert account.info.rekeyed_at is not None
        account.create_message(group, "under the new key")
    with pytest.raises(errors.WrongKey):
        Mdk.open(path, keys=keys, key=DatabaseKey.from_file(old))
    with open_() as account:
        assert account.messages(group)[-1].text == "under the new key"
        account.rekey(DatabaseKey.raw(raw))
        assert account.info.key_source == "raw"
    assert not (path.parent / "key").exists()
    with Mdk.open(path, keys=keys, key=DatabaseKey.raw(raw)) as account:
        assert account.messages(group)[-1].text == "under the new key"


def test_backup_and_restore_are_a_move(
    open_: Callable[[], Mdk], tmp_path: Path, keys: Keys
) -> None:
    backup, new = tmp_path / "backup", tmp_path / "new" / "mdk.db"
    raw = DatabaseKey.raw(os.urandom(32))
    with open_() as account:
        group = fill(account)
        unfinished = account.self_update(group)
        assert account.backup(backup, passphrase=PHRASE).bytes == backup.stat().st_size
    report = Mdk.restore(backup, new, passphrase=PHRASE.encode(), key=raw)
    assert report == RestoreReport((group,), (group,), report.created_at, report.rows)
    with Mdk.open(new, keys=keys, key=raw) as account:
        assert len(account.messages(group)) == 20
        assert account.needs_self_update() == [group]
        calls: list[Callable[[], object]] = [
            lambda: account.create_message(group, "too early"),
            lambda: account.react(group, account.messages(group)[0].id),
            lambda: account.edit(group, account.messages(group)[0].id, "too early"),
            lambda: account.delete(group, account.messages(group)[0].id),
        ]
        for send in calls:
            with pytest.raises(errors.SelfUpdateRequired) as caught:
                send()
            assert caught.value.hint
        # A commit that came with the backup renews nothing: the old copy has its keys too.
        (pending,) = account.pending()
        assert pending.event == unfinished.event
        pending.confirm()
        assert account.needs_self_update() == [group]
        with pytest.raises(errors.SelfUpdateRequired):
            account.create_message(group, "still too early")
    # It is remembered.
    with Mdk.open(new, keys=keys, key=raw) as account:
        with pytest.raises(errors.SelfUpdateRequired):
            account.create_message(group, "still too early")
        with account.self_update(group) as renewal:
            renewal.confirm()
        assert account.needs_self_update() == []
        account.create_message(group, "now")


def test_verify_and_check(open_: Callable[[], Mdk], path: Path, key: DatabaseKey) -> None:
    with open_() as account:
        fill(account)
        report = account.verify()
        assert isinstance(report, VerifyReport)
        assert report.ok
        assert report.problems == account.check() == []
        assert report.pages > 10
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    damaged = vault.verify(path, key=key)
    assert not damaged.ok
    assert damaged.bad_page_count == 1
    assert damaged.problems


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("DELETE FROM mls_rows WHERE label = 8", "is not there|does not load"),
        ("UPDATE mls_rows SET value = x'00' WHERE label = 6", "does not load"),
        ("UPDATE groups SET epoch = epoch + 1", "epoch"),
    ],
)
def test_verify_loads_every_group(path: Path, keys: Keys, statement: str, problem: str) -> None:
    sqlcipher = pytest.importorskip("sqlcipher3.dbapi2")
    raw = os.urandom(32)
    with Mdk.open(path, keys=keys, key=DatabaseKey.raw(raw)) as account:
        group = fill(account)
        assert account.check() == []
    connection = sqlcipher.connect(str(path))
    connection.execute(f"PRAGMA key = \"x'{raw.hex()}'\"")
    connection.execute(statement)
    connection.commit()
    connection.close()
    with Mdk.open(path, keys=keys, key=DatabaseKey.raw(raw)) as account:
        report = account.verify()
        assert report.bad_page_count == 0
        assert report.structure == ()
        assert any(re.search(problem, line) for line in report.logic), report.logic
        assert not report.ok
        assert group not in repr(report)


def test_memory_has_no_pages_to_verify() -> None:
    with Mdk.in_memory() as account:
        for call in (account.check, account.verify):
            with pytest.raises(errors.InMemory):
                call()


class Stop(Exception):
    pass


def operations(
    account: Mdk, folder: Path
) -> dict[str, Callable[[Callable[[Progress], object]], object]]:
    return {
        "verify": lambda progress: account.verify(progress=progress),
        "backup": lambda progress: account.backup(
            folder / "b", passphrase=PHRASE, progress=progress
        ),
        "rekey": lambda progress: account.rekey(progress=progress),
        # Of a database that is open, here.
        "doctor": lambda progress: vault.doctor(folder / "account" / "mdk.db", progress=progress),
    }


@pytest.mark.parametrize("name", ["verify", "backup", "rekey", "doctor"])
def test_progress_comes_and_can_cancel(open_: Callable[[], Mdk], tmp_path: Path, name: str) -> None:
    with open_() as account:
        fill(account)
        digest = account.digest()
        operation = operations(account, tmp_path)[name]

        def stop(progress: Progress) -> None:
            raise Stop(progress.stage)

        before = sorted(p.name for p in (tmp_path / "account").iterdir())
        with pytest.raises(Stop):
            operation(stop)
        assert sorted(p.name for p in (tmp_path / "account").iterdir()) == before
        assert not (tmp_path / "b").exists()
        assert account.digest() == digest
        steps: list[Progress] = []
        operation(steps.append)
        assert steps
        for step in steps:
            assert step.stage in {"deriving", "checking", "writing", "comparing", "wiping"}
            assert step.done >= 0
            assert step.total == 0 or step.done <= step.total
        assert account.digest() == digest
    open_().close()


def test_progress_of_the_doctor_is_its_parts(
    open_: Callable[[], Mdk], path: Path, key: DatabaseKey
) -> None:
    with open_() as account:
        fill(account)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    steps: list[Progress] = []
    reports = vault.doctor(path, key=key, progress=steps.append), vault.doctor(path, key=key)
    # Without the texts: how much room there is on the disk is also up to others.
    heard_of, unheard = ([(f.level, f.topic) for f in report.findings] for report in reports)
    assert heard_of == unheard
    assert {step.stage for step in steps} == {"checking"}
    (total,) = {step.total for step in steps}
    assert [step.done for step in steps] == list(range(total + 1))
    for last in (0, total // 2, total):
        heard: list[int] = []

        def stop(progress: Progress, last: int = last, heard: list[int] = heard) -> None:
            heard.append(progress.done)
            if progress.done == last:
                raise Stop

        with pytest.raises(Stop):
            vault.doctor(path, key=key, progress=stop)
        assert heard == list(range(last + 1)), "it went on"
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def test_progress_of_restore_can_cancel(open_: Callable[[], Mdk], tmp_path: Path) -> None:
    backup, new = tmp_path / "backup", tmp_path / "new" / "mdk.db"
    with open_() as account:
        fill(account)
        account.backup(backup, passphrase=PHRASE)

    def stop(progress: Progress) -> None:
        if progress.stage == "writing":
            raise Stop

    key = DatabaseKey.from_file(tmp_path / "new" / "key")
    with pytest.raises(Stop):
        Mdk.restore(backup, new, passphrase=PHRASE, key=key, progress=stop)
    assert not new.parent.exists()
    Mdk.restore(backup, new, passphrase=PHRASE, key=key, progress=lambda _: None)


def test_a_callback_may_not_use_its_own_account(open_: Callable[[], Mdk]) -> None:
    with open_() as account, Mdk.in_memory() as other:
        said: list[errors.MdkError] = []

        def meddle(_: Progress) -> None:
            other.groups()
            try:
                account.groups()
            except errors.Reentered as error:
                said.append(error)

        assert account.verify(progress=meddle).ok
        assert said
        assert said[0].hint
        with pytest.raises(errors.Reentered):
            account.verify(progress=lambda _: account.close())
        assert account.groups() == []


def test_other_threads_wait_for_a_long_operation(open_: Callable[[], Mdk]) -> None:
    with open_() as account:
        done: list[int] = []
        threads = [
            threading.Thread(target=lambda: done.append(len(account.groups()))) for _ in range(4)
        ]

        def begin(_: Progress) -> None:
            for thread in threads:
                if thread.ident is None:
                    thread.start()

        account.verify(progress=begin)
        for thread in threads:
            thread.join(timeout=30)
        assert done == [0] * 4


def test_progress_must_be_callable(open_: Callable[[], Mdk], path: Path) -> None:
    wrong: Any = 17
    with open_() as account:
        for call in (account.verify, lambda **it: vault.doctor(path, **it)):
            with pytest.raises(TypeError, match="callable"):
                call(progress=wrong)


def test_a_key_callback_may_use_python(path: Path, keys: Keys) -> None:
    asked: list[str] = []
    raw = os.urandom(32)
    handed: list[bytearray] = []

    def ask() -> bytearray:
        asked.append(threading.current_thread().name)
        handed.append(bytearray(raw))
        return handed[-1]

    with Mdk.open(path, keys=keys, key=DatabaseKey.callback(ask)) as account:
        assert account.info.key_source == "callback"
    assert asked
    assert all(key == bytes(32) for key in handed), "wiped"
    Mdk.open(path, keys=keys, key=DatabaseKey.raw(raw)).close()
