"""What is wrong with a number, a count or a length is said with the argument, the limit and the value."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from mdk import Bot, Client, Keys, MdkError, PublicKey, Signer, errors
from mdk.client.accounts import database_path
from mdk.testing import Faults, LocalBlossom, LocalRelay

RELAY = "wss://relay.example"


def bot(prefix: str = "/", **options: Any) -> Bot:
    return Bot(":memory:", allow="anyone", relays=[RELAY], prefix=prefix, **options)


def named(name: str) -> Client:
    return Client.open(":memory:", relays=[RELAY], name=name)


def require(call: Callable[[], object], *expected: object) -> None:
    """It is refused with this field, this limit and this value."""
    with pytest.raises(errors.InvalidInput) as caught:
        call()
    error = caught.value
    assert (error.field, error.limit, error.value) == expected, str(error)


async def none(_ctx: object) -> None: ...


MEASURED: list[tuple[Callable[[], object], str, int, int]] = [
    (lambda: Client.open("x" * 65), "account", 64, 65),
    (lambda: Client.open(""), "account", 1, 0),
    (lambda: named("é" * 128 + "x"), "name", 256, 257),
    (lambda: bot(""), "prefix", 1, 0),
    (lambda: bot(tries=0), "tries", 1, 0),
    (lambda: bot(messages_a_minute=0), "messages_a_minute", 1, 0),
    (lambda: bot().command(""), "name", 1, 0),
    (lambda: bot().every(timedelta(0)), "interval", 0, 0),
    (lambda: bot().every(timedelta(seconds=-1.5)), "interval", 0, -2),
    (lambda: LocalRelay(port=65_536), "port", 65_535, 65_536),
    (lambda: LocalRelay(port=-1), "port", 0, -1),
    (lambda: LocalRelay(max_event_bytes=0), "max_event_bytes", 1, 0),
    (lambda: LocalRelay(page_limit=-1), "page_limit", 0, -1),
    (lambda: LocalBlossom(port=65_536), "port", 65_535, 65_536),
    (lambda: LocalBlossom(max_bytes=-1), "max_bytes", 0, -1),
    (lambda: Faults(reorder=-1), "reorder", 0, -1),
    (lambda: Faults(reorder=2**64), "reorder", 2**64 - 1, 2**64),
    (lambda: Faults(drop_silently_over=-1), "drop_silently_over", 0, -1),
    (lambda: Faults(page_limit=-1), "page_limit", 0, -1),
    (lambda: Faults(rate_limit=2**32), "rate_limit", 2**32 - 1, 2**32),
    (lambda: Faults(delay=timedelta(seconds=-0.5)), "delay", 0, -1),
]


def test_what_is_over_a_limit_is_measured_and_what_is_at_it_is_taken() -> None:
    for call, field, limit, value in MEASURED:
        require(call, field, limit, value)
    assert database_path("x" * 64) is not None
    named("é" * 128)
    bot("!").command("x")
    bot(tries=1, messages_a_minute=1).every(timedelta(microseconds=1))(none)
    LocalRelay(port=65_535, max_event_bytes=1, page_limit=0)
    LocalBlossom(port=65_535, max_bytes=0)
    Faults(drop_silently_over=0, reorder=2**64 - 1, page_limit=0, rate_limit=2**32 - 1)
    Faults(delay=timedelta(0))


def test_what_is_wrong_in_another_way_is_not_called_too_long_or_empty() -> None:
    own = bot()
    own.command("x")(none)
    require(lambda: Client.open("a b" + "x" * 65), "account", None, None)
    for taken in ("x", "a b", " "):
        require(lambda taken=taken: own.command(taken), "name", None, None)  # type: ignore[misc]
    with pytest.raises(errors.InvalidInput, match="lone surrogates"):
        named("\udc80")


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
        for call, field in (
            (relay.count, "kind"),
            (relay.events, "kind"),
            (lambda kind: relay.refuse(kinds={1, kind}), "kinds"),
        ):
            require(partial(call, wrong), field, limit, wrong)


async def test_relays_are_taken_all_or_not_at_all(relay: LocalRelay, alice: Client) -> None:
    others = [f"ws://127.0.0.1:{port}" for port in range(1, 17)]
    group = await alice.groups.create("Lunch", relays=[relay.url, *others[:15]])
    assert len(group.info.relays) == 16
    for call, expected in (
        (lambda: alice.groups.create("Dinner", relays=[relay.url, *others]), ("relays", 16, 17)),
        (lambda: group.update(relays=[relay.url, *others]), ("relays", 16, 17)),
        (Client.open(":memory:").start, ("relays", 1, 0)),
    ):
        with pytest.raises(errors.InvalidInput) as caught:
            await call()
        assert (caught.value.field, caught.value.limit, caught.value.value) == expected
    assert len(alice.groups) == 1


async def test_nobody_adds_itself(alice: Client) -> None:
    group = await alice.groups.create("Lunch")
    with pytest.raises(MdkError) as caught:
        await group.add(alice.public_key)
    assert isinstance(caught.value, errors.InvalidInput)
    assert caught.value.field == "members"
    assert alice.public_key.npub in str(caught.value)


RELAYS = ["wss://relay.example"]


class Elsewhere:
    """A signer whose secret is on another machine."""

    def __init__(self) -> None:
        self.public_key: PublicKey = Keys.generate().public_key


async def test_only_keys_that_are_here_are_taken() -> None:
    mine: Signer = Keys.generate()
    Client.open(":memory:", keys=mine, relays=RELAYS)
    elsewhere: Signer = Elsewhere()
    nsec = Keys.generate().reveal_nsec()
    wrong: list[Any] = [elsewhere, nsec, nsec.encode(), 5, Keys]
    for keys in wrong:
        with pytest.raises(errors.InvalidInput) as caught:
            Client.open(":memory:", keys=keys, relays=RELAYS)
        assert caught.value.field == "keys"
        assert nsec not in repr((caught.value, caught.value.hint))
        if keys is elsewhere:
            assert "NIP-46" in str(caught.value)
            assert "Keys.parse()" in (caught.value.hint or "")
            assert elsewhere.public_key.npub not in str(caught.value)
        # Before anything is opened.
        with pytest.raises(errors.InvalidInput, match="keys"):
            Bot(":memory:", allow="anyone", keys=keys, relays=RELAYS)
        with pytest.raises(errors.InvalidInput, match="keys"):
            await Client.restore("nowhere", "nowhere-else", passphrase="x", keys=keys)
