"""A client that cannot work says so: in the log, once for each relay and reason, and in NotConnected."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from tests.cli.kit import NOWHERE
from tests.client.people import PATIENCE, Two, until
from tests.client.test_log_lines import eventually

from mdk import Client, Config, Delivery, Keys, errors
from mdk.testing import LocalRelay, client
from mdk.testing.clients import impatient


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """What `mdk.client` says of relays at INFO."""
    with caplog.at_level(logging.INFO, "mdk"):
        yield lambda: [
            record.getMessage()
            for record in caplog.records
            if record.name == "mdk.client" and "relay=" in record.getMessage()
        ]


async def test_a_relay_that_is_not_reached_is_told_of_once_until_it_works_again(
    relay: LocalRelay, lines: Callable[[], list[str]]
) -> None:
    async with await client(relay, "alice") as alice:
        url = relay.url
        away = f"a relay is not reached (relay={url}, reason=the connection was refused or failed)"
        again = f"a relay works again (relay={url})"
        assert lines() == []
        for times in (1, 2):
            await relay.pause()
            # Nothing else happens at the client, and nobody calls it.
            await eventually(lambda: lines().count(away) == times)  # noqa: B023
            failed = alice.stats().relays[0]
            await until(lambda: alice.stats().relays[0].next_attempt != failed.next_attempt, alice)  # noqa: B023
            await relay.resume()
            await eventually(lambda: lines().count(again) == times)  # noqa: B023
        assert lines() == [away, again, away, again]


async def test_a_relay_that_refuses_is_told_of_with_its_words(
    relay: LocalRelay, two: Two, lines: Callable[[], list[str]]
) -> None:
    alice, _, group, _ = two
    relay.refuse(kinds={445}, reason=f"blocked: {alice.public_key.hex} has not paid")
    for _ in range(2):
        sent = await (await group.send("hello")).delivered(PATIENCE)
        assert sent.delivery is Delivery.FAILED
    words = f"a relay refuses events (relay={relay.url}, kind=445, words=blocked: … has not paid)"
    assert lines() == [words]
    relay.accept()
    assert (await (await group.send("hello")).delivered(PATIENCE)).delivery is Delivery.ACCEPTED
    await eventually(lambda: len(lines()) == 2)
    assert lines()[1] == f"a relay takes events again (relay={relay.url}, kind=445)"
    relay.refuse(kinds={445}, reason="invalid: created_at too far in the future")
    await (await group.send("hello")).delivered(PATIENCE)
    assert "look at the clock of this machine" in lines()[2]


async def test_a_relay_that_others_named_is_not_named(
    relay: LocalRelay, lines: Callable[[], list[str]]
) -> None:
    async with LocalRelay() as other:
        alice, bob = await client(relay, "alice"), await client(relay, "bob")
        async with bob:
            async with alice:
                group = await alice.groups.create(
                    "hers", [bob.public_key], relays=[relay.url, other.url]
                )
                room = await bob.invites.accept(await bob.invites.next(PATIENCE))
                assert other.url in group.info.relays
            await until(lambda: other.connections == 1, bob)
            await other.pause()
            await relay.pause()
            await eventually(lambda: len(lines()) == 1)
            await until(lambda: {r.state for r in bob.stats().relays} == {"backing-off"}, bob)
            with pytest.raises(errors.NotConnected) as caught:
                await bob.key_packages.find(Keys.generate().public_key)
            assert set(caught.value.reasons) == {relay.url, other.url}
            assert relay.url in str(caught.value)
            assert other.url not in str(caught.value)
            assert room.info.relays
        assert relay.url in lines()[0]
        assert not any(other.url in line for line in lines())


async def test_not_connected_names_each_relay_and_why() -> None:
    other = "ws://127.0.0.1:19"
    alice = impatient(
        Client.open(":memory:", relays=[NOWHERE, other], config=Config(allow_loopback=True)),
        request_timeout=0.5,
    )
    nobody = Keys.generate().public_key
    await alice.start()
    try:
        away = {"backing-off", "connecting"}
        await eventually(lambda: [bool(r.last_error) for r in alice.stats().relays] == [True] * 2)
        assert {one.state for one in alice.stats().relays} <= away
        for ask in (
            alice.sync,
            lambda: alice.key_packages.find(nobody),
            lambda: alice.groups.create("group", [nobody]),
        ):
            with pytest.raises(errors.NotConnected) as caught:
                await ask()
            why = "the connection was refused or failed"
            assert caught.value.reasons == {NOWHERE: why, other: why}
            assert f"{NOWHERE} ({why})" in str(caught.value)
            assert f"{other} ({why})" in str(caught.value)
    finally:
        await alice.close()


@asynccontextmanager
async def relay_at(time: datetime, *, where: str) -> AsyncIterator[str]:
    """What takes connections and says nothing but what time it is, in the handshake or in its document (NIP-11)."""
    date = f"Date: {format_datetime(time, usegmt=True)}\r\n"
    head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except EOFError:
            writer.close()
            return
        fields = dict(line.split(": ", 1) for line in asked.split("\r\n")[1:] if line)
        nonce = next((v for k, v in fields.items() if k.lower() == "sec-websocket-key"), None)
        if nonce is None:
            named = date if where == "document" else ""
            told = f"HTTP/1.1 200 OK\r\n{named}Content-Length: 2\r\nConnection: close\r\n\r\n{{}}"
        else:
            named = date if where == "handshake" else ""
            guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            proof = base64.b64encode(hashlib.sha1(f"{nonce}{guid}".encode()).digest()).decode()
            told = f"{head}{named}Sec-WebSocket-Accept: {proof}\r\n\r\n"
        writer.write(told.encode())
        with suppress(OSError):
            await writer.drain()
            while nonce is not None and await reader.read(1024):
                pass
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("where", "hours", "told"),
    [
        (
            "handshake",
            -5,
            " s ahead of a relay's: until it is set right, nobody can invite this account",
        ),
        ("document", 5, " s behind a relay's"),
        ("handshake", 0, None),
    ],
)
async def test_a_clock_that_is_wrong_is_told_of_with_what_comes_of_it(
    lines: Callable[[], list[str]], where: str, hours: int, told: str | None
) -> None:
    def of_clocks() -> list[str]:
        return [line for line in lines() if "clock" in line]

    async with relay_at(datetime.now(UTC) + timedelta(hours=hours), where=where) as url:
        alice = impatient(Client.open(":memory:", relays=[url], config=Config(allow_loopback=True)))
        await alice.start()
        try:
            if told is None:
                await eventually(lambda: any(r.state == "connected" for r in alice.stats().relays))
            else:
                await eventually(lambda: len(of_clocks()) > 0)
        finally:
            await alice.close()
    if told is None:
        assert of_clocks() == []
        return
    (line,) = of_clocks()
    found = re.fullmatch(rf"the clock of this machine is (\d+){told} \(relay={url}\)", line)
    assert found is not None
    assert abs(int(found[1]) - 5 * 3600) < 60
