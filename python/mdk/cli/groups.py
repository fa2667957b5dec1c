"""`mdk groups`, `mdk members`, `mdk invite`, `mdk accept`, `mdk leave`, `mdk delete`."""

import sys
from collections.abc import Mapping

import click

from mdk import Client, Delivery, GroupInfo, GroupState, Invite, InviteDeliveryChanged, PublicKey
from mdk.client import spread
from mdk.client.invites import is_beside
from mdk.client.opening import own_relays
from mdk.errors import GroupNotFound, InviteNotFound, LastAdmin, NotAllowed

from . import output, records, refusals, running, session
from .accounts import Account, account_options
from .exit_codes import ExitCode
from .kinds import Person, Profile
from .options import json_option, patience_option, sync_option

_OVER = frozenset({GroupState.PENDING, GroupState.LEFT, GroupState.REMOVED, GroupState.DISBANDED})
_GONE = (_OVER - {GroupState.PENDING}) | {GroupState.UNRECOVERABLE}


def _newest(info: GroupInfo) -> float:
    return info.last_message.received_at.timestamp() if info.last_message is not None else 0.0


@click.command()
@account_options
@sync_option
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Also groups that were left or have ended, and invites that wait.",
)
@patience_option(20)
@json_option
def groups(account: Account, sync: bool, everything: bool, timeout: float, as_json: bool) -> int:
    """List the groups of this account, the one with the newest message first."""

    async def body() -> int:
        deadline = running.Deadline(timeout)
        opening = session.reading(account, deadline, sync=sync, silent=as_json)
        async with opening as (engine, _):
            found = [info for info in engine.groups() if everything or info.state not in _OVER]
            found.sort(key=_newest, reverse=True)
            document = {
                "command": "groups",
                "exit_code": 0,
                "groups": [records.document(info) for info in found],
            }
            own, lines = own_relays(engine), list[str]()
            for info in found:
                lines.append(records.group_line(info))
                if add := spread.to_add(info, engine.public_key, own):
                    lines.append(f"            {records.lone_relay_line(info, add)}")
            output.show(as_json, document, lines or ["no groups yet"])
            return 0

    return running.run(body())


@click.command()
@click.argument("group")
@account_options
@sync_option
@patience_option(20)
@json_option
def members(group: str, account: Account, sync: bool, timeout: float, as_json: bool) -> int:
    """List the members of GROUP, admins first, you before others.

    GROUP is its name, its id, or the first digits of the id.
    """

    async def body() -> int:
        deadline = running.Deadline(timeout)
        opening = session.reading(account, deadline, sync=sync, silent=as_json)
        async with opening as (engine, _):
            info = session.pick(engine.groups(), group)
            found = sorted(engine.members(info.id), key=records.rank)
            document = {
                "command": "members",
                "exit_code": 0,
                "group": info.id,
                "members": [records.document(member) for member in found],
            }
            output.show(as_json, document, map(records.member_line, found))
            return 0

    return running.run(body())


@click.command()
@click.argument("group")
@click.argument("people", nargs=-1, required=True, type=Profile(), metavar="NPUB...")
@account_options
@click.option("--new", is_flag=True, help="Found the group, with this name.")
@click.option("--description", default="", help="With --new: what the group is for.")
@patience_option(20)
@json_option
def invite(
    group: str,
    people: tuple[str, ...],
    account: Account,
    new: bool,
    description: str,
    timeout: float,
    as_json: bool,
) -> int:
    """Invite people into GROUP, or with --new into a group that is founded now.

    NPUB may be an invite link, too: the relays that it names are asked. Each one must have published a KeyPackage,
    which apps do when they start. Nothing is changed unless all of them have one. Only an admin can invite; whoever
    founds a group is one. An invite that every relay refuses is kept and tried again with each command that connects;
    the exit code is 76. If an invite still waits for a relay in the end, the exit code is 68, and the group is there
    all the same.
    """
    if description and not new:
        raise click.UsageError("--description goes with --new")
    if new and not group:
        raise click.UsageError("a group needs a name: the other commands ask for it")
    invited = {PublicKey.parse(person): person for person in people}

    async def body() -> int:
        deadline = running.Deadline(timeout)
        async with session.opened(account, deadline) as client:
            await session.catch_up(client, deadline, silent=as_json)
            begin, place = client.cursor, client._session.store.outbox_end()
            async with session.within(client, deadline):
                if new:
                    # Whoever founds a group is in it.
                    others = [person for person in invited if person != client.public_key]
                    links = [invited[person] for person in others]
                    founded = await client.groups.create(group, links, description=description)
                    info = founded.info
                else:
                    others = list(invited)
                    chosen = session.pick([handle.info for handle in client.groups], group)
                    room = client.groups[chosen.id]
                    inside = {member.public_key for member in await room.members()}
                    refusals.if_members(others, inside, client.public_key)
                    info = await room.add(*invited.values())
            # The Welcomes go out behind the commit.
            out = await session.flush(client, info.id, place, deadline)
            refused = _refused_invites(client, begin)
            code = ExitCode.OK if out else ExitCode.NETWORK
            if refused:
                code = ExitCode.REFUSED
            document = {
                "command": "invite",
                "exit_code": int(code),
                "new": new,
                "invited": [person.npub for person in others],
                "waiting": not out,
                "refused": {person.npub: dict(said) for person, said in refused.items()},
                "group": records.document(info),
            }
            verb = "founded, and invited" if new else "invited"
            what = output.count(len(others), "person", "people") if others else "nobody"
            lines = [records.group_line(info), f"{verb} {what}"]
            for person, said in refused.items():
                lines.append(f"no relay takes the invite of {records.short(person)}")
                lines += [f"{url}: {records.one_line(words)}" for url, words in said.items()]
            if refused:
                lines.append("It is kept, and tried again with each command that connects.")
            if not out:
                lines.append(session.waits(deadline))
            output.show(as_json, document, lines)
            return code

    return running.run(body())


def _refused_invites(client: Client, begin: str) -> dict[PublicKey, Mapping[str, str]]:
    """Whose invites every relay has refused since `begin`, and what the relays say."""
    refused: dict[PublicKey, Mapping[str, str]] = {}
    for happened in client.engine.events(after=begin):
        if isinstance(happened, InviteDeliveryChanged):
            if happened.delivery is Delivery.QUEUED:
                refused[happened.account] = happened.errors
            else:
                refused.pop(happened.account, None)
    return refused


@click.command()
@click.argument("invite_id", required=False, metavar="[INVITE]")
@account_options
@click.option("--all", "everything", is_flag=True, help="Accept every invite that is there.")
@click.option(
    "--from", "sender", type=Person(), metavar="NPUB", help="Accept every invite of this person."
)
@click.option("--decline", is_flag=True, help="Decline instead.")
@patience_option(20)
@json_option
def accept(
    invite_id: str | None,
    account: Account,
    everything: bool,
    sender: PublicKey | None,
    decline: bool,
    timeout: float,
    as_json: bool,
) -> int:
    """Accept INVITE, given by its id or the first digits of it. Without any choice, list the invites.

    An invite is a group that an admin has put you into. Until you accept it, nothing of it is shown and nobody is
    told that you have seen it.
    """
    if sum((invite_id is not None, everything, sender is not None)) > 1:
        raise click.UsageError("give an INVITE, --all or --from")

    async def body() -> int:
        deadline = running.Deadline(timeout)
        async with session.opened(account, deadline) as client:
            await session.catch_up(client, deadline, silent=as_json)
            waiting = await client.invites.pending()
            if invite_id is None and not everything and sender is None:
                document = {
                    "command": "accept",
                    "exit_code": 0,
                    "invites": [records.document(one) for one in waiting],
                }
                output.show(
                    as_json,
                    document,
                    map(records.invite_line, waiting) if waiting else ["no invites"],
                )
                return 0
            chosen = _choose(waiting, invite_id, sender)
            lines, joined = [], []
            for one in chosen:
                if decline:
                    await client.invites.decline(one)
                    lines.append(f"declined  {records.one_line(one.group_name)}")
                elif invite_id is None and await is_beside(client._session, one):
                    # What was accepted stays, until this one is asked for by its id.
                    lines.append(f"waiting   {records.one_line(one.group_name)}: you are in it")
                else:
                    info = (await client.invites.accept(one)).info
                    joined.append(records.document(info))
                    lines.append(f"joined    {records.group_line(info)}")
            document = {
                "command": "accept",
                "exit_code": 0,
                "joined": joined,
                "declined": len(chosen) if decline else 0,
            }
            output.show(as_json, document, lines or ["no invites"])
            return 0

    return running.run(body())


def _choose(waiting: list[Invite], wanted: str | None, person: PublicKey | None) -> list[Invite]:
    if wanted is None:
        return [one for one in waiting if person is None or one.inviter == person]
    found = [one for one in waiting if one.id.startswith(wanted.lower())]
    if len(found) != 1:
        what = "several invites begin with" if found else "there is no invite"
        raise InviteNotFound(f"{what} {wanted!r}", hint="List them: mdk accept.")
    return found


def _may_leave(info: GroupInfo, me: PublicKey) -> None:
    """Before somebody is asked whether they want to.

    Raises:
        LastAdmin, NotAllowed: an admin of a group with other members has to step down first.
    """
    if info.member_count == 1 or me not in info.admins:
        return
    if len(info.admins) == 1:
        raise LastAdmin("you are the only admin of the group")
    raise NotAllowed("an admin cannot leave")


@click.command()
@click.argument("group")
@account_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@patience_option(20)
@json_option
def leave(group: str, account: Account, yes: bool, timeout: float, as_json: bool) -> int:
    """Leave GROUP. The history stays here, until mdk delete GROUP; only a new invite lets you in again.

    An admin has to step down first: mdk demote GROUP. When its last member leaves, the group has ended. Without a
    terminal, and with --json, it has to be confirmed with --yes.
    """
    if not yes and (as_json or not sys.stdin.isatty()):
        raise click.UsageError("leaving has to be confirmed: give --yes")

    async def body() -> int:
        deadline = running.Deadline(timeout)
        async with session.opened(account, deadline) as client:
            await session.catch_up(client, deadline, silent=as_json)
            info = session.pick([handle.info for handle in client.groups], group)
            room = client.groups[info.id]
            _may_leave(info, client.public_key)
            if not yes:
                question = f"Leave {records.one_line(info.name or group)!r}?"
                running.ask(lambda: click.confirm(question, abort=True, err=True))
                deadline.begin()
            place = client._session.store.outbox_end()
            async with session.within(client, deadline):
                if info.member_count == 1:
                    await room.disband()
                else:
                    await room.leave()
            out = await session.flush(client, info.id, place, deadline)
            code = ExitCode.OK if out else ExitCode.NETWORK
            state = client.engine.group(info.id).state
            document = {
                "command": "leave",
                "exit_code": int(code),
                "waiting": not out,
                "group": info.id,
                "state": state.value,
            }
            words = {
                GroupState.LEFT: "left",
                GroupState.DISBANDED: "left, and ended: you were its last member",
            }
            asked = "asked to leave; another member's app completes it"
            lines = [words.get(state, asked)]
            if not out:
                lines.append(session.waits(deadline))
            output.show(as_json, document, lines)
            return code

    return running.run(body())


def _may_delete(info: GroupInfo) -> None:
    """Before somebody is asked whether they want to.

    Raises:
        NotAllowed: the group is not over.
    """
    match info.state:
        case GroupState.ACTIVE:
            raise NotAllowed("you are in the group: leave it first, mdk leave GROUP")
        case GroupState.LEAVING:
            raise NotAllowed("another member's app has not completed your leave yet")
        case GroupState.PENDING:
            raise NotAllowed("you are invited to the group: decline that, mdk accept --decline")
        case _:
            pass


@click.command()
@click.argument("group")
@account_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@sync_option
@patience_option(20)
@json_option
def delete(
    group: str, account: Account, yes: bool, sync: bool, timeout: float, as_json: bool
) -> int:
    """Delete GROUP, which you have left, were removed from, or which has ended, and all that was said in it.

    It is gone from the file of the account, for good; nobody is told. Without a terminal, and with --json, it has to be
    confirmed with --yes.
    """
    if not yes and (as_json or not sys.stdin.isatty()):
        raise click.UsageError("deleting has to be confirmed: give --yes")

    async def body() -> int:
        deadline = running.Deadline(timeout)
        opening = session.reading(account, deadline, sync=sync, silent=as_json)
        async with opening as (engine, _):
            known = engine.groups()
            # One that goes on does not stand in the way of one of the same name that is over.
            over = [info for info in known if info.state in _GONE]
            try:
                info = session.pick(over, group)
            except GroupNotFound:
                info = session.pick(known, group)
            _may_delete(info)
            if not yes:
                name = records.one_line(info.name or group)
                question = f"Delete {name!r}, and all that was said in it?"
                running.ask(lambda: click.confirm(question, abort=True, err=True))
            engine.delete_group(info.id)
            document = {"command": "delete", "exit_code": 0, "group": info.id}
            output.show(as_json, document, ["deleted"])
            return 0

    return running.run(body())
