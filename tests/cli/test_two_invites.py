"""Two admins have invited the same account to one group, the first invite is over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from tests.cli.kit import Done, Home
from tests.client.people import PATIENCE, until

from mdk import Client, InvitePolicy
from mdk.errors import CommitLost, CommitPending, GroupSettling

LATER = 6
"""Commits until the second invite: more than can be another branch of the first."""


async def again(change: Callable[[], Awaitable[object]], who: Client) -> None:
    """Make a change of a group, as soon as the one before is made up."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await change()
            except (GroupSettling, CommitPending, CommitLost):
                # What it waits for may have been told before it waits.
                with suppress(TimeoutError):
                    await asyncio.wait_for(who._session.feed.wait(), 0.1)
            else:
                return


async def invited_twice(alice: Client, relay: str, guests: list[str]) -> None:
    """Bob's invites are over when the guests hear of them, hers are good."""
    policy = InvitePolicy.anyone()
    bob = Client.open(":memory:", relays=[relay], invites=policy)
    # His commit after joining would be one more that meets hers.
    bob._settings.timing["self_update_after_join"] = 3600.0
    async with bob:
        group = await alice.groups.create("Lunch", [bob.public_key])
        await again(lambda: group.promote(bob.public_key), alice)
        await until(lambda: group.id in bob.groups, bob)
        his = bob.groups[group.id]
        await until(lambda: his.info.epoch == group.info.epoch, bob)
        await again(lambda: his.add(*guests), bob)
        await until(lambda: his.info.epoch == group.info.epoch, alice)
        await again(lambda: group.remove(*guests), alice)
        for n in range(LATER):
            await again(partial(group.update, name=f"Lunch {n}"), alice)
        await again(lambda: group.add(*guests), alice)


def test_of_two_invites_to_one_group_the_one_that_is_over_keeps_nobody_out(home: Home) -> None:
    # (which of two stood first was a matter of chance)
    names = ["carol", "dave", "erin"]
    guests = [home.account(name) for name in names]

    async def mdk(*arguments: str) -> Done:
        return await asyncio.to_thread(home.mdk, *arguments)

    async def story() -> None:
        async with Client.open(":memory:", relays=[home.relay]) as alice:
            await invited_twice(alice, home.relay, guests)
            (group,) = alice.groups
            for name in names:
                joined: list[str] = []
                # (if the one that is over comes first, it is answered before its end is heard of)
                for _ in range(2):
                    done = await mdk("accept", "-a", name, "--all", "--json")
                    assert done.code == 0, done.err
                    joined += [one["name"] for one in done.document["joined"]]
                    if joined[-1:] == [f"Lunch {LATER - 1}"]:
                        break
                assert joined[-1:] == [f"Lunch {LATER - 1}"]
                sent = await group.send(f"hello {name}")
                await sent.delivered(PATIENCE)
                done = await mdk("history", "-a", name, "--sync", f"Lunch {LATER - 1}", "--json")
                assert done.code == 0, done.err
                assert f"hello {name}" in done.out

    asyncio.run(story())
