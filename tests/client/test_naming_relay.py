"""Which events a relay has, by NIP-77, asked of one by other people."""

from __future__ import annotations

from pathlib import Path

from tests.client.naming_relay import NamingRelay
from tests.client.people import PATIENCE, Account, Metronome, hear, join, texts

from mdk.testing import client


async def test_who_comes_back_fetches_what_is_missing(tmp_path: Path) -> None:
    """The relay names all of it, and gives what is asked for."""
    metronome = Metronome()
    async with NamingRelay() as relay:
        away = Account(tmp_path, "bob", relay)
        async with await client(relay, "alice", clock=metronome.clock) as alice:
            async with away.open(clock=metronome.clock) as bob:
                group, room = await join(alice, bob)
                before = [f"{n:03}" for n in range(200)]
                await metronome.say(group, *before)
                assert await hear(room, len(before)) == before
            missed = [f"missed {n}" for n in range(5)]
            await metronome.say(group, *missed)
            await alice.outbox.flush(PATIENCE)
            async with away.open(clock=metronome.clock) as bob:
                back = bob.groups[group.id]
                assert await hear(back, len(missed)) == missed
                assert await texts(back) == before + missed
                (status,) = bob.stats().relays
                assert status.complete_as_of is not None
                assert len(missed) <= bob.stats().backlog_fetched < 2 * len(missed)
