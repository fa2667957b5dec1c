"""The groups of an account."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from mdk._mdk import PublicKey
from mdk.errors import GroupTooLarge, InvalidInput, InviteNotFound
from mdk.values import GroupId, GroupInfo, GroupState, PublicKeyLike

from .feed import GONE
from .group import Group, forget, handle
from .invites import Invites
from .session import COMMIT_PATIENCE, Session, people, public_keys
from .upkeep import uncancelled

if TYPE_CHECKING:
    from mdk._mdk import Mdk, PendingCommit

_MOST_RELAYS = 16
_MOST_SERVERS = 16
"""Of a group."""


class Groups:
    """The groups that this account is in, as handles; those it was invited to come with accept().

    Groups that are over (left, removed, disbanded) can be looked up, but are not counted and not iterated over.
    """

    def __init__(
        self, session: Callable[[], Session], invites: Invites, ask: Callable[[], float]
    ) -> None:
        """Made by Client; `session` is the open account, `ask` how many seconds relays are asked."""
        self._session = session
        self._invites = invites
        self._ask = ask

    def _known(self) -> list[GroupInfo]:
        return self._session().native.groups()

    def __iter__(self) -> Iterator[Group]:
        session = self._session()
        hidden = GONE | {GroupState.PENDING}
        return iter([handle(session, i.id) for i in self._known() if i.state not in hidden])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, group_id: object) -> bool:
        return isinstance(group_id, str) and self._session().native.has_group(group_id)

    def __getitem__(self, group_id: GroupId) -> Group:
        if group_id not in self:
            raise KeyError(group_id)
        return handle(self._session(), group_id)

    def get(self, group_id: GroupId) -> Group | None:
        """The handle of a group; None if there is no such group."""
        return handle(self._session(), group_id) if group_id in self else None

    async def create(
        self,
        name: str,
        members: Iterable[PublicKeyLike] = (),
        *,
        description: str = "",
        relays: Sequence[str] | None = None,
        admins: Iterable[PublicKeyLike] = (),
        retention: timedelta | None = None,
    ) -> Group:
        """Found a group and invite members: their KeyPackages are looked for on relays.

        Files of the group go to the servers of its founder: the `blossom=` of this account, or, without any, the public
        servers that other apps found their groups with. All members learn these addresses.

        Args:
            name: at most 256 bytes of UTF-8.
            members: npub, nprofile (both also as `nostr:` links, an `invite_uri` for example), hex, or PublicKey;
                ourselves need not be named. Relays that an nprofile names are asked as well.
            description: at most 4096 bytes of UTF-8.
            relays: 1 to 16 relay URLs that carry the group; None for the account's own.
            admins: admins besides ourselves, each one of `members`.
            retention: messages disappear after this time; whole seconds, None for never.

        Raises:
            KeyPackageNotFound: `who` has the members without a usable KeyPackage on any relay.
            IncompatibleMember, GroupTooLarge: a member's client, or their number.
            InvalidInput, InvalidKey, InvalidRelayUrl: the arguments.
            NotConnected: no relay could be asked for the members, or none has one of them and a relay of ours did
                not answer.
            Nothing was published then, and there is no group.
        """
        session = self._session()
        invited = people(members)
        invited.pop(session.mdk.public_key, None)
        chosen = public_keys(admins, "admins")
        # Of the account's own as many as a group can have; what was named is the caller's to choose.
        own = session.relays[:_MOST_RELAYS]
        carriers = own if relays is None else await session.name(relays)
        packages = await session.key_packages_of(invited)

        def found(mdk: "Mdk") -> "PendingCommit":
            return mdk.create_group(
                name,
                members=packages,
                relays=carriers,
                description=description,
                admins=chosen,
                retention=retention,
                media_servers=session.servers[:_MOST_SERVERS],
            )

        info = await uncancelled(self._found(found, carriers))
        await session.fresh(info.id)
        # The events of the founding lie before `client.cursor` then.
        await session.feed.current()
        return handle(session, info.id)

    async def _found(
        self, stage: Callable[["Mdk"], "PendingCommit"], carriers: tuple[str, ...]
    ) -> GroupInfo:
        session = self._session()
        pending = await session.change(stage)
        try:
            await self._check_size(pending, carriers)
        except BaseException:
            await session.change(lambda _: pending.discard())
            raise
        # Nobody else knows of it yet: it is true at once, and the invites go out from the outbox.
        return await session.change(lambda _: pending.confirm())

    async def _check_size(self, pending: "PendingCommit", carriers: tuple[str, ...]) -> None:
        """Refuse what no relay of the group would take, as far as they say so (NIP-11)."""
        size = max((len(event.to_json().encode()) for event in pending.welcomes), default=0)
        try:
            async with asyncio.timeout(self._ask()):
                limits = await self._session().native.invite_limits(list(carriers))
        except TimeoutError:
            return
        if limits and len(limits) == len(carriers) and max(limits) < size:
            raise GroupTooLarge(
                f"an invite has {size} bytes, the relays take {max(limits)}",
                size=size,
                limit=max(limits),
            )

    async def direct(self, peer: PublicKeyLike) -> Group:
        """The group of just the two of us: the oldest one there is, or a new one, without a name.

        If the peer has invited us into such a group, and the invite waits, it is accepted: whoever asks for this group
        agrees to it. Invites of others, and into other groups, are left alone.

        Raises as create().
        """
        session = self._session()
        (other,) = public_keys([peer])
        if other == session.mdk.public_key:
            raise InvalidInput("peer: that is this account itself", field="peer")
        # Two calls at once make one group.
        async with session.direct:
            known = [i for i in self._known() if i.state is GroupState.ACTIVE]
            for info in known:
                if info.member_count == 2 and not info.name and await self._has(info.id, other):
                    return handle(session, info.id)
            invites = self._invites
            for invite in await invites.pending():
                if invite.inviter == other and invite.member_count == 2 and not invite.group_name:
                    # It may have been answered meanwhile.
                    with suppress(InviteNotFound):
                        return await invites.accept(invite)
            return await self.create("", [peer])

    async def delete(self, group_id: GroupId) -> None:
        """Delete a group that is over for this account, with all that was said in it. Nobody is told.

        A disbanded group stays disbanded; to one that was left a new invite leads. Its handle raises GroupNotFound from
        here on, and what was erased leaves the write-ahead log within a tick.

        Raises:
            GroupNotFound: there is none with this id.
            GroupSettling: others kept changing it, so that its end is not certain.
            NotAllowed: this account is in it, an invite to it waits for an answer, its end is not final yet, or an
                invite of this account is still on its way to a relay.
        """
        # What is known of it here goes, too, also if nobody waits for that any more.
        await uncancelled(self._delete(group_id))

    async def _delete(self, group_id: GroupId) -> None:
        session = self._session()

        def delete(mdk: "Mdk") -> tuple[str, ...]:
            relays = mdk.group(group_id).relays
            mdk.delete_group(group_id)
            session.native.read_group(group_id)
            return relays

        relays = await session.patient(delete, COMMIT_PATIENCE)
        session.feed.drop(group_id)
        forget(session, group_id)
        # The addresses that were named for it alone say something of it, too.
        await session.native.forget_relays(list(relays))

    async def _has(self, group_id: GroupId, who: PublicKey) -> bool:
        members = await self._session().look(lambda mdk: mdk.members(group_id))
        return any(member.public_key == who for member in members)
