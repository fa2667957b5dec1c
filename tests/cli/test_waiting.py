"""What a command waits for: what it is about, and nothing else."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from tests.cli.kit import Done, Home

from mdk.testing import LocalRelay

KEY_PACKAGE = 30443
# Seconds for what no relay takes in any time: enough to connect and to be refused, also on a busy machine.
PATIENCE = "8"
REFUSALS = ["blocked: kind not allowed", "restricted: pay first", "auth-required: not you"]


async def mdk(home: Home, *arguments: str) -> Done:
    return await asyncio.to_thread(home.mdk, *arguments)


async def pair(home: Home) -> tuple[str, str]:
    return await asyncio.to_thread(home.pair)


async def account(home: Home, name: str, *relays: LocalRelay) -> str:
    options = [part for one in relays for part in ("--relay", one.url)]
    done = await mdk(home, "init", "-a", name, "--key", home.key(name), "--json", *options)
    assert done.code == 0, done.err
    return str(done.document["npub"])


async def everywhere(home: Home, name: str, *relays: LocalRelay) -> None:
    """Keep the account connected until each relay has its KeyPackage: `init` ends when one has it."""
    process = home.start("listen", "-a", name)
    try:
        for relay in relays:
            await relay.until(lambda one: one.count(KEY_PACKAGE) > 0, 30)
    finally:
        process.send_signal(signal.SIGINT)
        await asyncio.to_thread(process.communicate)


async def test_commands_do_not_wait_for_a_key_package_that_relays_refuse(tmp_path: Path) -> None:
    """The guests' KeyPackages have been used, and nobody takes the next ones."""
    commands = {
        "bob": ["groups", "--sync"],
        "carol": ["members", "Lunch", "--sync"],
        "dave": ["accept"],
        "erin": ["whoami", "--check"],
    }
    async with LocalRelay() as relay:
        home = Home(tmp_path, relay.url)
        names = ("alice", *commands)
        _, *guests = await asyncio.gather(*(account(home, name, relay) for name in names))
        done = await mdk(home, "invite", "-a", "alice", "--new", "Lunch", *guests)
        assert done.code == 0, done.err
        joining = (mdk(home, "accept", "-a", name, "--all") for name in commands)
        assert [done.code for done in await asyncio.gather(*joining)] == [0] * len(guests)
        for words, guest in zip(REFUSALS, guests, strict=False):
            relay.refuse(kinds={KEY_PACKAGE}, reason=words)
            everybody = {**commands, "alice": ["promote", "Lunch", guest]}
            running = (
                mdk(home, *command, "-a", name, "--timeout", "30", "--json")
                for name, command in everybody.items()
            )
            for command, done in zip(
                everybody.values(), await asyncio.gather(*running), strict=True
            ):
                assert done.code == 0, (words, command, done.err)


@pytest.mark.parametrize("words", REFUSALS)
async def test_init_says_that_no_relay_takes_the_key_package(tmp_path: Path, words: str) -> None:
    async with LocalRelay() as relay:
        relay.refuse(kinds={KEY_PACKAGE}, reason=words)
        home = Home(tmp_path, relay.url)
        dave = ("init", "-a", "dave", "--key", home.key("dave"), "--relay", relay.url, "--offline")
        assert (await mdk(home, *dave)).code == 0
        options = ("-a", "carol", "--key", home.key("carol"), "--relay", relay.url)
        # Nor do other commands wait for a KeyPackage that there never was.
        done, accepted = await asyncio.gather(
            mdk(home, "init", *options, "--timeout", "60"),
            mdk(home, "accept", "-a", "dave", "--timeout", "30"),
        )
        assert done.code == 76, done.err
        assert "made" in done.out
        assert words in done.out
        assert "mdk init --account carol --relay URL" in done.out
        assert "No relay of yours was reached" not in done.out
        assert (accepted.code, accepted.out) == (0, "no invites\n"), accepted.err
        done = await mdk(home, "init", "-a", "carol", "--json")
        assert done.code == 76
        document = done.document
        assert (document["exit_code"], document["reachable"]) == (76, False)
        assert list(document["refused"].values()) == [words]
        relay.accept()
        done = await mdk(home, "init", "-a", "carol", "--json")
        assert (done.code, done.document["reachable"]) == (0, True)


async def test_init_does_not_call_a_relay_away_that_puts_the_key_package_off(
    tmp_path: Path,
) -> None:
    async with LocalRelay() as relay:
        relay.refuse(kinds={KEY_PACKAGE}, reason="rate-limited: slow down")
        home = Home(tmp_path, relay.url)
        options = ("-a", "carol", "--key", home.key("carol"), "--relay", relay.url)
        done = await mdk(home, "init", *options, "--timeout", PATIENCE)
        assert done.code == 68, done.err
        assert f"No relay took your KeyPackage within {PATIENCE} s" in done.out
        assert "No relay of yours was reached" not in done.out


async def test_a_relay_that_goes_away_while_one_listens_was_reached(tmp_path: Path) -> None:
    async with LocalRelay() as relay:
        home = Home(tmp_path, relay.url)
        await account(home, "alice", relay)
        patience, until_away, tries = 2, 3, 0
        while True:
            await relay.until(lambda one: one.connections == 0, 60)
            arguments = ("listen", "-a", "alice", "--json", "--for", "5")
            listening = asyncio.create_task(mdk(home, *arguments, "--timeout", str(patience)))
            await relay.until(lambda one: one.connections > 0, 60)
            await asyncio.sleep(until_away)
            await relay.pause()
            done = await listening
            # A busy machine may need longer to ask for everything, so one good attempt is enough.
            if "still trying" not in done.err:
                break
            tries += 1
            assert tries < 5, done.err
            await relay.resume()
        assert (done.code, done.out) == (0, ""), done.err


async def test_what_relays_say_while_a_message_waits_is_shown(tmp_path: Path) -> None:
    async with LocalRelay() as relay:
        home = Home(tmp_path, relay.url)
        await pair(home)
        relay.refuse(kinds={445}, reason="error: disk full")
        command = ("send", "Lunch", "later", "--timeout", PATIENCE)
        as_json, plain = await asyncio.gather(
            mdk(home, *command, "-a", "alice", "--json"), mdk(home, *command, "-a", "bob")
        )
        assert as_json.code == 68, as_json.err
        assert as_json.document["errors"] == {relay.url: "error: disk full"}
        assert plain.code == 68, plain.err
        assert f"{relay.url}: error: disk full\n" in plain.out


async def test_what_another_group_waits_for_is_not_waited_for(tmp_path: Path) -> None:
    async with LocalRelay() as old, LocalRelay() as new:
        home = Home(tmp_path, old.url)
        await account(home, "alice", old)
        bob = await account(home, "bob", new, old)
        await everywhere(home, "bob", new, old)
        done = await mdk(home, "invite", "-a", "alice", "--new", "Old", bob, "--json")
        assert done.code == 0, done.err
        assert (await mdk(home, "init", "-a", "alice", "--relay", new.url)).code == 0
        await old.pause()
        done = await mdk(home, "send", "-a", "alice", "Old", "waits", "--timeout", "1")
        assert done.code == 68, done.err
        done = await mdk(
            home, "invite", "-a", "alice", "--new", "New", bob, "--json", "--timeout", "30"
        )
        assert done.code == 0, done.err
        group = done.document["group"]
        done = await mdk(home, "accept", "-a", "bob", "--all", "--timeout", "30", "--json")
        assert "New" in [one["name"] for one in done.document["joined"]], done.err
        done = await mdk(home, "promote", "-a", "alice", "New", bob, "--timeout", "30")
        assert done.code == 0, done.err
        done = await mdk(home, "demote", "-a", "alice", "New", "--timeout", "30")
        assert done.code == 0, done.err
        done = await mdk(home, "leave", "-a", "alice", "New", "--yes", "--json", "--timeout", "30")
        assert done.code == 0, done.err
        assert (done.document["group"], done.document["state"]) == (group["id"], "leaving")


async def test_what_a_command_made_and_no_relay_took_is_told_with_the_group(
    tmp_path: Path,
) -> None:
    """Whoever runs it again must know that the group is there."""
    async with LocalRelay() as relay:
        home = Home(tmp_path, relay.url)
        _, bob = await pair(home)
        relay.refuse(kinds={445, 1059}, reason="rate-limited: slow down")
        command = ("invite", "-a", "alice", "--new", "Far", bob, "--timeout", PATIENCE)
        leaving = ("leave", "-a", "bob", "Lunch", "--yes", "--timeout", PATIENCE, "--json")
        plain, left = await asyncio.gather(mdk(home, *command), mdk(home, *leaving))
        assert plain.code == 68, plain.err
        assert "founded, and invited 1 person" in plain.out
        assert f"No relay took it within {PATIENCE} s" in plain.out
        assert left.code == 68, left.err
        assert (left.document["exit_code"], left.document["waiting"]) == (68, True)
        assert left.document["state"] == "leaving"
        done = await mdk(home, *command, "--json")
        assert done.code == 68, done.err
        assert done.document["exit_code"] == 68
        assert done.document["waiting"] is True
        assert done.document["group"]["name"] == "Far"
        assert done.document["group"]["member_count"] == 2
        done = await mdk(home, "groups", "-a", "alice", "--json")
        assert [one["name"] for one in done.document["groups"]].count("Far") == 2


def test_people_are_invited_by_their_links(home: Home) -> None:
    home.account("alice")
    bob, carol = home.account("bob"), home.account("carol")
    link = home.mdk("whoami", "-a", "bob", "--json").document["invite_uri"]
    command = ("invite", "-a", "alice", "--new", "Lunch")
    done = home.mdk(*command, link, carol, bob, link.upper(), "--json")
    assert done.code == 0, done.err
    assert done.document["invited"] == [bob, carol]
    done = home.mdk("invite", "-a", "alice", "Lunch", link)
    assert done.code == 64
    assert f"{bob} is a member already" in done.err
    done = home.mdk(*command, link[:-1])
    assert done.code == 64
    assert link[:-1] not in done.err
