"""A live handle on one group."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from mdk.errors import Closed, GroupNotFound, InvalidInput, MessageNotFound
from mdk.ranges import within
from mdk.values import EventId, GroupId, GroupInfo, Kind, Member, Message, PathArg, PublicKeyLike

from . import media, pages, spread
from .readers import Kinds, Reader, chosen
from .session import COMMIT_PATIENCE, people, public_keys, several
from .values import Sent

if TYPE_CHECKING:
    from .session import Session


def _id(message: Message | EventId) -> EventId:
    return message.id if isinstance(message, Message) else message


def handle(session: "Session", group_id: GroupId) -> "Group":
    """The one handle of a group in this client."""
    known = session.handles.get(group_id)
    if not isinstance(known, Group):
        known = session.handles[group_id] = Group(session, group_id, after=session.feed.opened_at)
    return known


def forget(session: "Session", group_id: GroupId) -> None:
    """The handle of a group that is not there any more raises GroupNotFound from here on."""
    gone = session.handles.pop(group_id, None)
    if isinstance(gone, Group):
        gone._forget()


class Group:
    """A live handle on one group: `info` is always how it stands, as far as this client knows.

    `messages()` and `next_message()` share one position: what one of them has given, the other gives no more. It begins
    where the log was when the client was started, so nothing that arrived since is missed. They give chat; each
    other choice of `kinds` has a position of its own, which begins at the same place.
    """

    def __init__(
        self,
        session: "Session",
        group_id: GroupId,
        *,
        after: int,
        heard: Callable[[Message], bool] | None = None,
    ) -> None:
        """Made by `client.groups`. `heard`: which messages next_message() and messages() give; None: all."""
        self._heard = heard
        self._session = session
        self._id = group_id
        self._after = after
        self._readers: dict[Kinds, Reader] = {}

    def __repr__(self) -> str:
        return f"<Group {self._id[:8]}…>"

    def _forget(self) -> None:
        """Drop messages that nobody has taken yet: the group was deleted."""
        for reader in self._readers.values():
            reader.forget()

    @property
    def id(self) -> GroupId:
        """MLS group id, lower-case hex. Private: never on a relay."""
        return self._id

    @property
    def info(self) -> GroupInfo:
        """A snapshot of the group.

        Raises:
            GroupNotFound: it was deleted.
        """
        info = self._session.native.group(self._id)
        if info is None:
            raise GroupNotFound("no such group")
        return info

    @property
    def name(self) -> str:
        """Its name."""
        return self.info.name

    async def members(self) -> list[Member]:
        """The member accounts."""
        return await self._session.look(lambda mdk: mdk.members(self._id))

    async def media_servers(self) -> list[str]:
        """Where files of the group go, as its settings say, for members without servers of their own (`blossom=`)."""
        return await self._session.look(lambda mdk: mdk.media_servers(self._id))

    async def avatar_url(self) -> str | None:
        """The public address of the group's picture; None without one. Other apps show it rather than image().

        Somebody in the group wrote it, and whoever serves it learns who fetches it.
        """
        return await self._session.look(lambda mdk: mdk.avatar_url(self._id))

    # messages

    async def send(
        self,
        text: str,
        *,
        reply_to: Message | EventId | None = None,
        tags: Sequence[Sequence[str]] = (),
        push: bool = True,
        timeout: float = 10.0,
    ) -> Sent:
        """Send a chat message. When this returns it is on disk, and will be tried until a relay has it.

        Args:
            text: at most Config.max_message_bytes, with id and tags as JSON.
            reply_to: the message that it answers.
            tags: further tags.
            push: whether it wakes the phones of the others (Config.push).
            timeout: seconds to wait while a change of the group by us is on its way, or changes by others compete:
                what is said on the side that loses nobody would have.

        Raises:
            InvalidInput: it is too large, or an argument is wrong.
            NotMember, MessageNotFound: the group, or `reply_to`.
            CommitPending, GroupSettling, SelfUpdateRequired: the group was not ready within `timeout`, and nothing
                was sent.
            OutboxFull: too much waits already.
        """
        answered = None if reply_to is None else _id(reply_to)
        marked = await self._session.marked(self._id, tags)
        outgoing = await self._session.patient(
            self._session.saying(
                lambda mdk: mdk.create_message(self._id, text, reply_to=answered, tags=marked), push
            ),
            timeout,
        )
        return Sent(outgoing.message, _session=self._session)

    async def send_file(
        self,
        source: PathArg | bytes,
        *,
        caption: str = "",
        filename: str | None = None,
        mime_type: str | None = None,
        push: bool = True,
        timeout: float = 10.0,
    ) -> Sent:
        """Encrypt a file, upload it, and send a chat message that carries it. Without a server nothing is sent.

        It goes to the `blossom=` servers of the account, at least one of which must take it; without any, to those of
        the group. A picture loses its metadata first (Config.strip_image_metadata). Only members can open it.

        Args:
            source: the path of a file, or its bytes.
            caption: the text of the message.
            filename: what others see; None means the name of the file.
            mime_type: None means what its first bytes and its name say.
            push: as in send().
            timeout: as in send(); the upload has times of its own.

        Raises:
            MediaUnavailable: no server took it; `reasons` has what each said.
            MediaTooLarge, MediaError, FileMissing, AccessDenied: the file.
            MediaStale: the group changed each time while the file was on its way.
            Otherwise as send().
        """
        return await media.send_file(
            self._session,
            self._id,
            source,
            caption=caption,
            filename=filename,
            mime_type=mime_type,
            push=push,
            timeout=timeout,
        )

    async def react(
        self, message: Message | EventId, emoji: str = "+", *, timeout: float = 10.0
    ) -> Sent:
        """React to a message; `emoji` has 1 to 64 characters. Raises as send()."""
        outgoing = await self._session.patient(
            lambda mdk: mdk.react(self._id, _id(message), emoji), timeout
        )
        return Sent(outgoing.message, _session=self._session)

    async def unreact(
        self, message: Message | EventId, emoji: str | None = None, *, timeout: float = 10.0
    ) -> Sent:
        """Take back our newest reaction to a message, or the newest with this `emoji`.

        Raises:
            MessageNotFound: there is no such reaction of ours. Otherwise as send().
        """
        store, target = self._session.store, _id(message)
        reactions = await self._session.look(lambda _: store.own_reactions(self._id, target))
        for reaction, given in reversed(reactions):
            if emoji is None or given == emoji:
                return await self.delete(reaction, timeout=timeout)
        raise MessageNotFound("there is no such reaction of ours")

    async def edit(self, message: Message | EventId, text: str, *, timeout: float = 10.0) -> Sent:
        """Replace the text of a message of ours.

        Raises:
            NotAllowed: it is somebody else's. Otherwise as send().
        """
        outgoing = await self._session.patient(
            lambda mdk: mdk.edit(self._id, _id(message), text), timeout
        )
        return Sent(outgoing.message, _session=self._session)

    async def delete(self, message: Message | EventId, *, timeout: float = 10.0) -> Sent:
        """Delete a message of ours.

        Raises:
            NotAllowed: it is somebody else's. Otherwise as send().
        """
        outgoing = await self._session.patient(
            lambda mdk: mdk.delete(self._id, _id(message)), timeout
        )
        return Sent(outgoing.message, _session=self._session)

    async def history(
        self,
        *,
        limit: int | None = None,
        before: EventId | None = None,
        newest_first: bool = True,
    ) -> AsyncIterator[Message]:
        """The messages that are kept, in the order of arrival or the other way round, read page by page.

        What expires meanwhile is left out, and nothing else; none comes twice.

        Args:
            limit: at most so many, the newest ones; None for all.
            before: only those before this message.
            newest_first: the newest first; False for the oldest first.

        Raises:
            InvalidInput: `limit` is negative. MessageNotFound: `before`.
        """
        if limit is not None:
            within("limit", limit, 0)
        if newest_first:
            async for message in pages.newest_first(self._session, self._id, limit, before):
                yield message
        elif limit is None:
            async for message in pages.oldest_first(self._session, self._id, before):
                yield message
        else:
            newest = [m async for m in self.history(limit=limit, before=before)]
            for message in reversed(newest):
                yield message

    async def search(self, query: str, *, limit: int = 50) -> list[Message]:
        """Messages whose text contains `query`, newest first. Case is ignored for A to Z only."""
        return await self._session.look(
            lambda mdk: mdk.search(query, group_id=self._id, limit=limit)
        )

    async def mark_read(self, upto: Message | EventId | None = None) -> None:
        """Mark messages as read, up to `upto`, or all: `info.unread_count` counts those after it."""
        last = None if upto is None else _id(upto)
        await self._session.change(lambda mdk: mdk.mark_read(self._id, last))
        await self._session.fresh(self._id)

    async def messages(
        self, *, kinds: Iterable[int] | None = (Kind.CHAT,)
    ) -> AsyncIterator[Message]:
        """Messages of others from this handle's position on, for ever.

        Ends when the client is closed, or the group deleted.

        Args:
            kinds: as in next_message().

        Raises:
            InvalidInput, TypeError: as next_message().
        """
        reader = self._reader(kinds)
        while True:
            try:
                message = await reader.next()
            except (Closed, GroupNotFound):
                return
            yield message

    async def next_message(
        self, timeout: float | None = None, *, kinds: Iterable[int] | None = (Kind.CHAT,)
    ) -> Message:
        """The next message of somebody else, from this handle's position on. None is missed, none comes twice.

        Args:
            timeout: seconds to wait; None for as long as it takes.
            kinds: which kinds of messages, at least one, each from 0 to 65535; chat (9: text, files, or both) unless
                others are asked for. None gives every kind, also what is no answer to anybody: that a stream begins
                (1200), or a kind that this version does not know.

        Raises:
            TimeoutError: there was none in time.
            Closed: the client was closed. GroupNotFound: the group was deleted.
            InvalidInput: `kinds` is empty, or one of them is no kind. TypeError: they are no numbers.
        """
        reader = self._reader(kinds)
        async with asyncio.timeout(timeout):
            return await reader.next()

    def _reader(self, kinds: Iterable[int] | None) -> Reader:
        wanted = chosen(kinds)
        if wanted not in self._readers:
            self._readers[wanted] = Reader(
                self._session, self._id, wanted, after=self._after, heard=self._heard
            )
        return self._readers[wanted]

    # membership and settings

    async def add(self, *members: PublicKeyLike, admin: bool = False) -> GroupInfo:
        """Invite accounts: finds their KeyPackages on relays, commits, and sends the invites once that is true.

        Args:
            members: as in Groups.create().
            admin: make them admins as well.

        Raises:
            KeyPackageNotFound: `who` has those without a usable KeyPackage on any relay; nobody was invited.
            NotConnected: as in Groups.create(); nobody was invited.
            InvalidInput: one of them is this account itself.
            NotAdmin, IncompatibleMember, GroupTooLarge: nothing was published.
            CommitLost: another member's commit won; nobody was invited.
            NoRelayAccepted: every relay refused; nobody was invited.
        """
        self._session.feed.check()
        invited = people(members)
        if (own := self._session.mdk.public_key) in invited:
            raise InvalidInput(
                f"members: {own.npub} is this account itself, which is in the group",
                field="members",
                hint="Leave it out; to make it an admin, an admin calls promote().",
            )
        events = await self._session.key_packages_of(invited, self._id)
        return await self._session.commit(
            lambda mdk: mdk.add_members(self._id, events, promote=admin)
        )

    async def remove(self, *members: PublicKeyLike, seal: bool = False) -> GroupInfo:
        """Remove accounts with all their devices.

        Args:
            members: as in Groups.create().
            seal: put it out of reach. A hostile member can make commits before he is removed and publish them later,
                and may be back by that until five commits have followed. With this they follow within some ten seconds;
                `info.sealing` counts down, and a restart goes on. An app that is away meanwhile may not show its user
                all that was said: it is for somebody hostile, not for somebody who left the team.

        Raises:
            NotAdmin, LastAdmin, InvalidInput: nothing was published.
            CommitLost, NoRelayAccepted: as add().
        """
        keys = public_keys(members)
        return await self._session.commit(lambda mdk: mdk.remove_members(self._id, keys, seal=seal))

    async def accept_members(self) -> GroupInfo:
        """Say that members and admins are as they should be, after RemovalUndone: sending works again."""
        await self._session.change(lambda mdk: mdk.accept_members(self._id))
        return await self._session.fresh(self._id)

    async def promote(self, *members: PublicKeyLike) -> GroupInfo:
        """Make members admins. Raises as remove()."""
        keys = public_keys(members)
        return await self._session.commit(lambda mdk: mdk.promote(self._id, keys))

    async def demote(self, *members: PublicKeyLike, seal: bool = False) -> GroupInfo:
        """Take admin rights away; anybody may do it to themselves. `seal` and what it raises: as remove()."""
        keys = public_keys(members)
        return await self._session.commit(lambda mdk: mdk.demote(self._id, keys, seal=seal))

    async def update(
        self,
        *,
        name: str | None = None,
        description: str | None = None,
        relays: Sequence[str] | None = None,
        retention: timedelta | None = None,
        rotate_routing: bool = False,
        avatar_url: str | None = None,
        media_servers: Iterable[str] | None = None,
    ) -> GroupInfo:
        """Change settings; None leaves one as it is.

        Args:
            name: at most 256 bytes of UTF-8.
            description: at most 4096 bytes of UTF-8.
            relays: 1 to 16 relay URLs.
            retention: whole seconds; `timedelta(0)` turns it off.
            rotate_routing: give the group another `nostr_group_id`, the number that relays see, drawn at random. All
                members go along; the old one is listened to as well for five more epochs.
            avatar_url: public https address of a picture, which takes the place of that of set_image(); "" removes it.
            media_servers: servers (Blossom) where files of the group go, at most 16; without any, that of other apps.

        Raises as remove().
        """
        servers = None if media_servers is None else several(media_servers, "media_servers")
        carriers = None if relays is None else tuple(several(relays, "relays"))
        if carriers is not None:
            # What others named for the group is not made the user's own word by keeping it.
            known = self.info.relays
            await self._session.name([relay for relay in carriers if relay not in known])
        return await self._session.commit(
            lambda mdk: mdk.update_group(
                self._id,
                name=name,
                description=description,
                relays=carriers,
                retention=retention,
                rotate_routing=rotate_routing,
                avatar_url=avatar_url,
                media_servers=servers,
            )
        )

    @property
    def relays_to_add(self) -> tuple[str, ...]:
        """The account's own relays that the group lacks, if it names one relay only and this account is an admin.

        While its one relay is down, nobody in the group is heard. `update(relays=[*info.relays, *relays_to_add])` names
        them as well; with Config.add_own_relays the client does so by itself. Otherwise it is empty.
        """
        return spread.to_add(self.info, self._session.mdk.public_key, self._session.relays)

    async def change_requirements(
        self,
        *,
        components: Iterable[int] = (),
        extensions: Iterable[int] = (),
        proposals: Iterable[int] = (),
        remove: Iterable[int] = (),
    ) -> GroupInfo:
        """Require more of every member's app, or give components of the group up; see Mdk.change_requirements().

        Args:
            components: components that become required, e.g. 0x8005; 0x800c alone lets an older group be disbanded.
            extensions: MLS extensions that become required.
            proposals: MLS proposals that become required.
            remove: components that the group gives up, with their setting.

        Raises:
            IncompatibleMember: `who` has the members whose apps do not support it; nothing was published.
            Otherwise as remove().
        """
        ids = [tuple(given) for given in (components, extensions, proposals, remove)]
        return await self._session.commit(
            lambda mdk: mdk.change_requirements(
                self._id, components=ids[0], extensions=ids[1], proposals=ids[2], remove=ids[3]
            )
        )

    async def set_image(self, source: PathArg | bytes | None) -> GroupInfo:
        """Give the group a picture, the path of a file or its bytes; None takes it away.

        It is encrypted and uploaded as in send_file(). Members look for it on their own servers, then on those of the
        group. A public address, avatar_url(), is removed in either case.

        Raises:
            MediaUnavailable: no server took it. MediaTooLarge, MediaError, FileMissing: the file.
            Otherwise as remove().
        """
        return await media.set_image(self._session, self._id, source)

    async def image(self) -> bytes | None:
        """Fetch the picture of the group and decrypt it; None if it has none, or a public one: avatar_url().

        Raises as Media.download().
        """
        return await media.image(self._session, self._id)

    async def leave(self) -> None:
        """Ask to leave: `info.state` is LEAVING until another member's client answers, then LEFT.

        Raises:
            NotAllowed: an admin has to be demoted first.
            LastAdmin: promote somebody first.
        """
        await self._session.patient(lambda mdk: mdk.leave(self._id), COMMIT_PATIENCE)
        await self._session.fresh(self._id)

    async def self_update(self) -> GroupInfo:
        """Give our leaf fresh keys: who had stolen the old ones reads nothing from then on. Raises as remove()."""
        return await self._session.commit(lambda mdk: mdk.self_update(self._id))

    async def disband(self) -> GroupInfo:
        """End the group for everybody. Raises as remove()."""
        return await self._session.commit(lambda mdk: mdk.disband(self._id))
