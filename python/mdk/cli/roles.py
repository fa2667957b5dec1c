"""`mdk promote`, `mdk demote`, `mdk remove`: who is an admin of a group, and who is in it no more."""

from collections.abc import Awaitable, Callable

import click

from mdk import Group, GroupInfo, PublicKey

from . import output, records, refusals, running, session
from .accounts import Account, account_options
from .kinds import Person
from .options import json_option, patience_option

SEAL = "Put it out of reach of a hostile member: five changes follow, some ten seconds."


@click.command(short_help="Make members of GROUP admins.")
@click.argument("group")
@click.argument("people", nargs=-1, required=True, type=Person(), metavar="NPUB...")
@account_options
@patience_option(20)
@json_option
def promote(
    group: str, people: tuple[PublicKey, ...], account: Account, timeout: float, as_json: bool
) -> int:
    """Make members of GROUP admins. An admin can invite and remove members, and make and unmake admins."""
    chosen = list(dict.fromkeys(people))

    async def act(room: Group) -> GroupInfo:
        keys, me = await _members(room)
        refusals.unless_members(chosen, keys, me)
        refusals.if_all_admins(chosen, room.info.admins, me)
        return await room.promote(*chosen)

    return _change("promote", account, group, timeout, as_json, act)


@click.command(short_help="Make admins, or yourself, members like others.")
@click.argument("group")
@click.argument("people", nargs=-1, type=Person(), metavar="[NPUB...]")
@click.option("--seal", is_flag=True, help=SEAL)
@account_options
@patience_option(20)
@json_option
def demote(
    group: str,
    people: tuple[PublicKey, ...],
    seal: bool,
    account: Account,
    timeout: float,
    as_json: bool,
) -> int:
    """Take the rights of an admin of GROUP from members; without NPUB from yourself, for example before `mdk leave`.

    The last admin cannot be demoted: make somebody else one first.
    """
    chosen = list(dict.fromkeys(people))

    async def act(room: Group) -> GroupInfo:
        _, me = await _members(room)
        refusals.unless_admins(chosen or [me], room.info.admins, me)
        return await _sealed(room, await room.demote(*(chosen or [me]), seal=seal))

    return _change("demote", account, group, timeout, as_json, act)


@click.command(short_help="Remove members from GROUP.")
@click.argument("group")
@click.argument("people", nargs=-1, required=True, type=Person(), metavar="NPUB...")
@click.option("--seal", is_flag=True, help=SEAL)
@account_options
@patience_option(30)
@json_option
def remove(
    group: str,
    people: tuple[PublicKey, ...],
    seal: bool,
    account: Account,
    timeout: float,
    as_json: bool,
) -> int:
    """Remove members from GROUP, with all their devices. They keep what they have read.

    A hostile member can undo his removal for as long as fewer than five changes of the group have followed it: --seal
    makes these at once. If it is interrupted, it goes on with the next command of this account.
    """
    chosen = list(dict.fromkeys(people))

    async def act(room: Group) -> GroupInfo:
        keys, me = await _members(room)
        refusals.unless_members(chosen, keys, me)
        return await _sealed(room, await room.remove(*chosen, seal=seal))

    return _change("remove", account, group, timeout, as_json, act)


async def _sealed(room: Group, info: GroupInfo) -> GroupInfo:
    """Wait until nothing can undo it any more."""
    while info.sealing:
        await room._session.feed.wait()
        info = room.info
    return info


async def _members(room: Group) -> tuple[set[PublicKey], PublicKey]:
    """Who is in the group, and who of them is this account."""
    members = await room.members()
    (me,) = [member.public_key for member in members if member.is_me]
    return {member.public_key for member in members}, me


def _change(
    command: str,
    account: Account,
    wanted: str,
    timeout: float,
    as_json: bool,
    act: Callable[[Group], Awaitable[GroupInfo]],
) -> int:
    async def body() -> int:
        deadline = running.Deadline(timeout)
        async with session.opened(account, deadline) as client:
            await session.catch_up(client, deadline, silent=as_json)
            chosen = session.pick([handle.info for handle in client.groups], wanted)
            room = client.groups[chosen.id]
            async with session.within(client, deadline):
                await act(room)
            members = sorted(await room.members(), key=records.rank)
            document = {
                "command": command,
                "exit_code": 0,
                "group": chosen.id,
                "members": [records.document(member) for member in members],
            }
            output.show(as_json, document, map(records.member_line, members))
            return 0

    return running.run(body())
