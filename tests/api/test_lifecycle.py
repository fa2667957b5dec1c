"""Opening, closing, forking, panicking, and what a `with` block does."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import mdk
from mdk import DatabaseKey, EventId, GroupId, Keys, Mdk, _mdk, errors

RELAYS = ["wss://relay.example"]


@pytest.fixture
def keys() -> Keys:
    return Keys.generate()


@pytest.fixture
def open_(tmp_path: Path, keys: Keys) -> Callable[[], Mdk]:
    key = DatabaseKey.raw(bytes(range(32)))
    return lambda: Mdk.open(tmp_path / "account" / "mdk.db", keys=keys, key=key)


def test_state_is_on_disk(open_: Callable[[], Mdk], keys: Keys) -> None:
    with open_() as account:
        with account.create_group("Lunch", relays=RELAYS) as pending:
            group = pending.confirm()
        account.create_message(group.id, "to be found again")
        digest = account.digest()
        assert account.info.key_source == "raw"
        assert account.info.path is not None
        assert account.info.path.endswith("mdk.db")
        assert account.info.size_bytes > 0
        assert account.info.sqlcipher_version
        assert len(digest) == 32
        account.new_key_package(relays=RELAYS)
        digest, before = account.digest(), digest
        assert digest != before
    with open_() as account:
        assert account.digest() == digest
        assert account.public_key == keys.public_key
        assert [m.text for m in account.messages(group.id)] == ["to be found again"]


def test_a_message_that_was_not_published_can_be_had_again(open_: Callable[[], Mdk]) -> None:
    with Mdk.in_memory() as bob:
        package = bob.new_key_package(relays=RELAYS)
        assert not bob.published_key_package(EventId("5" * 64))
        assert bob.published_key_package(package.id)
        with open_() as alice:
            with alice.create_group("Lunch", members=[package], relays=RELAYS) as pending:
                bob.process(pending.welcomes[0])
                group = pending.confirm().id
            alice.create_message(group, "never published")
        with open_() as alice:
            (lost,) = (message for message in alice.messages(group) if message.is_mine)
            again = alice.resend(group, lost.id)
            assert again.message == lost
            assert again.relays == ("wss://relay.example",)
            twice = alice.resend(group, lost.id)
            with pytest.raises(errors.MessageNotFound):
                alice.resend(group, EventId("5" * 64))
            bob.process(again.event)
            bob.process(twice.event)
            assert [message.id for message in bob.messages(group)] == [lost.id]
            with pytest.raises(errors.NotAllowed):
                bob.resend(group, lost.id)
            alice.delete(group, lost.id)
            with pytest.raises(errors.NotAllowed):
                alice.resend(group, lost.id)
            with pytest.raises(errors.GroupNotFound):
                bob.search("never", group_id=GroupId("5" * 32))


def test_a_group_that_is_not_confirmed_is_not_there_for_any_call(open_: Callable[[], Mdk]) -> None:
    with open_() as alice:
        with alice.create_group("Lunch", relays=RELAYS) as pending:
            reads: list[Callable[[GroupId], object]] = [
                alice.group,
                alice.members,
                alice.messages,
                alice.mark_read,
                alice.media_servers,
                alice.avatar_url,
                lambda group: alice.search("lunch", group_id=group),
                lambda group: alice.message(group, EventId("5" * 64)),
            ]
            for read in reads:
                with pytest.raises(errors.GroupNotFound):
                    read(pending.group_id)
            assert alice.groups() == []
            pending.confirm()
        assert [member.is_me for member in alice.members(pending.group_id)] == [True]
        assert alice.messages(pending.group_id) == []


def test_a_file_is_not_called_memory(
    tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.InvalidInput, match=r"Mdk\.in_memory\(\)") as caught:
        Mdk.open(":memory:", keys=keys, key=DatabaseKey.raw(b"a" * 32))
    assert caught.value.field == "path"
    assert list(tmp_path.iterdir()) == []


def test_after_close_every_method_says_so(pair: GroupId, alice: Mdk) -> None:
    pending = alice.self_update(pair)
    iterator, batch = alice.events(), alice.process_many(["{"])
    alice.close()
    alice.close()
    event_id, ref = mdk.EventId("0" * 64), "0" * 64
    calls: list[Callable[[], object]] = [
        lambda: alice.info,
        alice.digest,
        lambda: alice.new_key_package(relays=RELAYS),
        alice.key_packages,
        lambda: alice.delete_key_package(ref),
        lambda: alice.select_key_package([]),
        lambda: alice.create_group("x", relays=RELAYS),
        alice.groups,
        lambda: alice.group(pair),
        lambda: alice.members(pair),
        lambda: alice.add_members(pair, []),
        lambda: alice.remove_members(pair, []),
        lambda: alice.update_group(pair),
        lambda: alice.change_requirements(pair),
        lambda: alice.promote(pair, []),
        lambda: alice.demote(pair, []),
        lambda: alice.self_update(pair),
        lambda: alice.disband(pair),
        lambda: alice.leave(pair),
        alice.pending,
        lambda: alice.create_message(pair, "x"),
        lambda: alice.react(pair, event_id),
        lambda: alice.edit(pair, event_id, "x"),
        lambda: alice.delete(pair, event_id),
        lambda: alice.resend(pair, event_id),
        lambda: alice.process(b"{"),
        lambda: list(alice.process_many(["{"])),
        alice.tick,
        lambda: alice.messages(pair),
        lambda: alice.message(pair, event_id),
        lambda: alice.search("x"),
        lambda: alice.mark_read(pair),
        lambda: list(alice.events()),
        alice.invites,
        lambda: alice.accept(event_id),
        lambda: alice.decline(event_id),
        alice.interests,
        lambda: alice.export_secret(pair, "x", b"", 32),
        alice.needs_self_update,
        pending.confirm,
        pending.discard,
        lambda: next(iterator),
        lambda: next(batch),
        alice.__enter__,
        pending.__enter__,
    ]
    for call in calls:
        with pytest.raises(errors.Closed):
            call()
    assert str(alice.public_key).startswith("npub1")
    assert "npub1" in repr(alice)


def test_leaving_the_block_without_confirm_discards(alice: Mdk, pair: GroupId) -> None:
    epoch = alice.group(pair).epoch
    with alice.self_update(pair):
        assert len(alice.pending()) == 1
    assert alice.pending() == []
    with pytest.raises(RuntimeError, match="relay"), alice.self_update(pair):
        raise RuntimeError("relay is down")
    assert alice.pending() == []
    assert alice.group(pair).epoch == epoch
    with alice.self_update(pair) as pending:
        pending.confirm()
    assert alice.group(pair).epoch == epoch + 1


def test_a_commit_is_confirmed_once(alice: Mdk, pair: GroupId) -> None:
    pending = alice.self_update(pair)
    with pytest.raises(errors.CommitPending):
        alice.self_update(pair)
    confirmed = pending.confirm()
    assert pending.confirm() == confirmed
    with ThreadPoolExecutor(2) as threads:
        again = [threads.submit(pending.confirm) for _ in range(2)]
        assert [info.result() for info in again] == [confirmed, confirmed]
    with pytest.raises(errors.NotAllowed, match="was confirmed") as refused:
        pending.discard()
    assert not isinstance(refused.value, errors.CommitLost)
    pending = alice.self_update(pair)
    pending.discard()
    with pytest.raises(errors.CommitLost):
        pending.confirm()
    with pytest.raises(errors.CommitLost):
        pending.discard()


def test_leaving_the_block_after_another_object_resolved_it(alice: Mdk, pair: GroupId) -> None:
    with alice.self_update(pair) as pending:
        (same,) = alice.pending()
        assert (same.group_id, same.event) == (pending.group_id, pending.event)
        same.confirm()


def test_a_panic_is_an_error_and_the_process_lives(
    open_: Callable[[], Mdk], capfd: pytest.CaptureFixture[str]
) -> None:
    account = open_()
    with pytest.raises(errors.InternalError, match=r"panic at faults\.rs:\d+"):
        _mdk._panic(account)
    with pytest.raises(errors.InternalError, match="open it again"):
        account.groups()
    with open_() as again:
        assert again.groups() == []
    account.close()
    captured = capfd.readouterr()
    assert "must not be printed" not in captured.out + captured.err


def test_an_unclosed_database_is_reported(open_: Callable[[], Mdk]) -> None:
    accounts = [open_()]
    with pytest.warns(ResourceWarning, match="unclosed Mdk"):
        accounts.clear()
    open_().close()
