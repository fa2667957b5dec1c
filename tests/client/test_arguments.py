"""What is wrong with a number, a count or a length is said with the argument, the limit and the value."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from mdk import Bot, Client, Context, errors
from mdk.client.accounts import database_path
from mdk.testing import Faults, LocalBlossom, LocalRelay

RELAY = "wss://relay.example"


def bot(prefix: str = "/") -> Bot:
    return Bot(":memory:", allow="anyone", relays=[RELAY], prefix=prefix)


def measured(call: Callable[[], object], field: str, limit: int, value: int) -> None:
    with pytest.raises(errors.InvalidInput) as caught:
        call()
    error = caught.value
    assert (error.field, error.limit, error.value) == (field, limit, value), str(error)


async def none(_ctx: object) -> None: ...


def test_names_of_accounts() -> None:
    assert database_path("x" * 64) is not None
    measured(lambda: Client.open("x" * 65), "account", 64, 65)
    measured(lambda: Client.open(""), "account", 1, 0)
    # What is wrong in another way, too, is not called too long.
    with pytest.raises(errors.InvalidInput) as caught:
        Client.open("a b" + "x" * 65)
    assert (caught.value.limit, caught.value.value) == (None, None)


def test_names_for_others_to_see() -> None:
    def named(name: str) -> Client:
        return Client.open(":memory:", relays=[RELAY], name=name)

    named("é" * 128)
    measured(lambda: named("é" * 128 + "x"), "name", 256, 257)
    with pytest.raises(errors.InvalidInput, match="lone surrogates"):
        named("\udc80")


def test_bots() -> None:
    bot("!")
    measured(lambda: bot(""), "prefix", 1, 0)
    bot().command("x")
    measured(lambda: bot().command(""), "name", 1, 0)
    bot().every(timedelta(microseconds=1))(none)
    measured(lambda: bot().every(timedelta(0)), "interval", 0, 0)
    measured(lambda: bot().every(timedelta(seconds=-1.5)), "interval", 0, -2)


def test_what_is_registered_twice_is_not_called_empty() -> None:
    own = bot()

    @own.command("x")
    async def first(_ctx: Context) -> None: ...

    for taken in ("x", "a b", " "):
        with pytest.raises(errors.InvalidInput) as caught:
            own.command(taken)
        assert (caught.value.limit, caught.value.value) == (None, None)


def test_relays_and_servers_of_tests() -> None:
    LocalRelay(port=65_535, max_event_bytes=1, page_limit=0)
    LocalBlossom(port=65_535, max_bytes=0)
    measured(lambda: LocalRelay(port=65_536), "port", 65_535, 65_536)
    measured(lambda: LocalRelay(port=-1), "port", 0, -1)
    measured(lambda: LocalRelay(max_event_bytes=0), "max_event_bytes", 1, 0)
    measured(lambda: LocalRelay(page_limit=-1), "page_limit", 0, -1)
    measured(lambda: LocalBlossom(port=65_536), "port", 65_535, 65_536)
    measured(lambda: LocalBlossom(max_bytes=-1), "max_bytes", 0, -1)


def test_faults() -> None:
    Faults(drop_silently_over=0, reorder=2**64 - 1, page_limit=0, rate_limit=2**32 - 1)
    Faults(delay=timedelta(0))
    measured(lambda: Faults(reorder=-1), "reorder", 0, -1)
    measured(lambda: Faults(reorder=2**64), "reorder", 2**64 - 1, 2**64)
    measured(lambda: Faults(drop_silently_over=-1), "drop_silently_over", 0, -1)
    measured(lambda: Faults(page_limit=-1), "page_limit", 0, -1)
    measured(lambda: Faults(rate_limit=2**32), "rate_limit", 2**32 - 1, 2**32)
    measured(lambda: Faults(delay=timedelta(seconds=-0.5)), "delay", 0, -1)


async def test_what_is_no_number_is_told_in_words(relay: LocalRelay) -> None:
    wrong: Any = relay
    number: Any = "445"
    for call, told in (
        (lambda: Faults(reorder=number), "reorder: str instead of a whole number"),
        (lambda: Faults(delay=number), "delay: str instead of a timedelta"),
        (lambda: LocalRelay(port=number), "port: str instead of a whole number"),
        (lambda: wrong.count("445"), "kind: str instead of a whole number"),
        (lambda: wrong.refuse(kinds="445"), "kinds: str instead of a set of numbers"),
        (lambda: wrong.refuse(kinds=445), "kinds: int instead of a set of numbers"),
        (lambda: wrong.refuse(kinds={"445"}), "kinds: str instead of a whole number"),
    ):
        with pytest.raises(TypeError) as caught:
            call()
        assert str(caught.value) == told


async def test_servers_of_tests_are_entered_once() -> None:
    for server in (LocalRelay(), LocalBlossom()):
        async with server:
            url = server.url
            with pytest.raises(errors.InvalidInput):
                await server.__aenter__()
            # It runs on.
            assert server.url == url
        async with server:
            assert server.url


async def test_kinds(relay: LocalRelay) -> None:
    assert relay.count(65_535) == 0
    assert relay.events(65_535) == []
    relay.refuse(kinds={0, 65_535})
    for wrong, limit in ((65_536, 65_535), (-1, 0)):
        measured(lambda wrong=wrong: relay.count(wrong), "kind", limit, wrong)  # type: ignore[misc]
        measured(lambda wrong=wrong: relay.events(wrong), "kind", limit, wrong)  # type: ignore[misc]
        measured(
            lambda wrong=wrong: relay.refuse(kinds={1, wrong}),  # type: ignore[misc]
            "kinds",
            limit,
            wrong,
        )


async def test_an_account_without_relays() -> None:
    with pytest.raises(errors.InvalidInput) as caught:
        await Client.open(":memory:").start()
    assert (caught.value.field, caught.value.limit, caught.value.value) == ("relays", 1, 0)


async def test_relays_of_a_group_are_taken_all_or_not_at_all(
    alice: Client, relay: LocalRelay
) -> None:
    others = [f"ws://127.0.0.1:{port}" for port in range(1, 17)]
    with pytest.raises(errors.InvalidInput) as caught:
        await alice.groups.create("Lunch", relays=[relay.url, *others])
    assert (caught.value.field, caught.value.limit, caught.value.value) == ("relays", 16, 17)
    assert len(alice.groups) == 0
    group = await alice.groups.create("Lunch", relays=[relay.url, *others[:15]])
    assert len(group.info.relays) == 16
    with pytest.raises(errors.InvalidInput) as caught:
        await group.update(relays=[relay.url, *others])
    assert (caught.value.field, caught.value.limit, caught.value.value) == ("relays", 16, 17)
