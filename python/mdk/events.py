"""What happened, in the order it became true.

Use `match`:

    match event:
        case MessageReceived(message):
            print(message.text)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, final

from ._mdk import PublicKey
from .shown import Shown
from .values import Delivery, EventId, GroupId, GroupInfo, Invite, Message, Reaction


# Without `match_args`: each event says what it is matched by.
@dataclass(frozen=True, slots=True, match_args=False, repr=False)
class Event(Shown):
    """Base of every event. An event of a kind that this version does not know is a plain `Event`."""

    group_id: GroupId | None
    cursor: str
    """Opaque and durable: `Mdk.events(after=cursor)` resumes behind it."""
    _words: ClassVar[frozenset[str]] = frozenset({"cursor", "changed", "reason"})


@final
@dataclass(frozen=True, slots=True, repr=False)
class MessageReceived(Event):
    """A message of somebody else arrived; any kind but reactions, edits and deletions.

    The message is as it was said: an edit follows as MessageEdited and a reaction as ReactionAdded, also where they
    came first. Also when a message counts again that was reported as lost with its branch; then it may be one of ours
    (`message.is_mine`).
    """

    __match_args__ = ("message",)
    message: Message
    backlog: bool = False
    """Whether it was sent before the client was started. The engine, which knows no start, says False."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class MessageEdited(Event):
    """A message reads differently now: its author edited it, or the edit that was shown is gone.

    An edit goes when its author deletes it, when it expires, or with a branch that lost.
    """

    __match_args__ = ("message",)
    message: Message
    """As it is now."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class MessageDeleted(Event):
    """A message is gone: its author deleted it, it expired, or a message of ours was taken back before a relay had it.

    Only a deleted one is still in the history, without its text.
    """

    __match_args__ = ("message_id",)
    message_id: EventId


@final
@dataclass(frozen=True, slots=True, repr=False)
class ReactionAdded(Event):
    """A reaction arrived."""

    __match_args__ = ("reaction",)
    reaction: Reaction


@final
@dataclass(frozen=True, slots=True, repr=False)
class ReactionRemoved(Event):
    """A reaction was taken back by its author, expired, or was lost with its branch.

    `emoji` is empty where it was text and not a sign: what is gone is not kept. The message says what is left.
    """

    __match_args__ = ("reaction",)
    reaction: Reaction


@final
@dataclass(frozen=True, slots=True, repr=False)
class Invited(Event):
    """A Welcome was verified and waits for accept() or decline().

    Several may be for one group, by different inviters, and one may be for a group that the account is in: of a former
    admin and of the others, say, who do not know of each other. Nothing but `inviter` tells which is the right one.
    """

    __match_args__ = ("invite",)
    invite: Invite


@final
@dataclass(frozen=True, slots=True, repr=False)
class Joined(Event):
    """An invite was accepted, or a group of ours came to be."""

    __match_args__ = ("group",)
    group: GroupInfo


@final
@dataclass(frozen=True, slots=True, repr=False)
class Removed(Event):
    """This account is no longer a member."""

    __match_args__ = ("by",)
    by: PublicKey | None
    """Who committed it."""
    left: bool
    """True if we had asked for it with leave()."""
    commit: str | None
    """SHA-256 of the commit's MLSMessage, 64 hex digits."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class MembersChanged(Event):
    """Accounts came or went."""

    __match_args__ = ("added", "removed")
    added: frozenset[PublicKey]
    removed: frozenset[PublicKey]
    """Removed by an admin."""
    left: frozenset[PublicKey]
    """Left by themselves."""
    by: PublicKey | None
    """The committer. None if it came with several commits, or only takes back what was withdrawn (ChangeWithdrawn)."""
    commit: str | None
    """SHA-256 of the commit's MLSMessage, 64 hex digits."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class GroupUpdated(Event):
    """Settings changed."""

    __match_args__ = ("changed",)
    changed: frozenset[str]
    """Among name, description, relays, admins, retention, image, avatar, media, agent_stream, required, other.

    `relays` also when it is the `nostr_group_id` that changed.
    """
    by: PublicKey | None
    """The committer. None if it came with several commits, or only takes back what was withdrawn (ChangeWithdrawn)."""
    commit: str | None
    """SHA-256 of the commit's MLSMessage, 64 hex digits."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class EpochChanged(Event):
    """The group advanced to a new MLS epoch.

    The log keeps the newest 256 of a group: an older one is part of the one after it, whose `old` is that of the
    older one then.
    """

    __match_args__ = ("old", "new")
    old: int
    new: int
    commit: str | None
    """SHA-256 of the commit's MLSMessage, 64 hex digits."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class MessagesInvalidated(Event):
    """A lost fork: these messages are not part of the group's history after all. They are kept, marked."""

    __match_args__ = ("message_ids",)
    message_ids: tuple[EventId, ...]


@final
@dataclass(frozen=True, slots=True, repr=False)
class ChangeWithdrawn(Event):
    """A change that was reported is not true after all: another branch won. Of its events, all with this `commit`.

    Nothing is to be undone for it: what follows is the difference from what was shown before. What this change and the
    winner both did is not told again, and what the winner did not do but only takes back has no `by`.

    A disband() of ours is then made again by itself; if we are no longer an admin on the branch that won, which a
    GroupUpdated of `admins` tells, it is not, and the group goes on.
    """

    __match_args__ = ("commit",)
    commit: str
    """SHA-256 of the commit's MLSMessage, 64 hex digits."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class RemovalUndone(Event):
    """Somebody is back who had been removed, or an admin who had been demoted: another branch of the group won.

    The group is contested until the removal holds again, or until Group.accept_members() says that it is well.
    Meanwhile sending raises GroupContested. The account that had made the removal makes it again by itself, as long as
    it is an admin.
    """

    __match_args__ = ("account",)
    account: PublicKey
    demoted: bool
    """True: it was a demotion, and the account is an admin again."""
    by: PublicKey | None
    """Who made the first commit of the branch that won."""
    when: datetime
    """By our clock, UTC."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class HistoryGap(Event):
    """Events came when nothing could open them any more, or were dropped after thirty days or at the end of the group.

    settle() tells it, which says that everything there is was given, or the call that drops them: until then the commit
    that they wait for may come. (While newer ones wait too, a commit seems to be missing, and settle() tells nothing
    yet.) What others say in an epoch before ours, who have not heard of us for six, is counted too, and so is noise
    that a stranger sends to the group's address.

    Or a relay has more events of one second than it gives at one time, and this account was not there to hear them:
    there is no way to ask for the rest. Then the count is 0, since nobody knows it, and it is told once for each hour
    of a group. Another relay of the group may have given what is missing.

    Or a message came so far behind later ones of its sender, in the same epoch, that its key is gone: told at once,
    with a count of 0, and once for each hour of a group. What comes when the group has been disbanded is told by
    nothing: no key is left that would tell it from a stranger's noise.

    Or this account could not follow the group, and a new invite led it to where the others are (Unrecoverable with the
    reason left_behind). What was said between what it last heard of them and that invite may be missing, and the count
    is 0 as well.

    Or messages never came that were encrypted before others of their senders, and their epoch is no longer among the
    last five: `count` of them, with the times at which the epoch began and ended. A message that its sender gave up
    after it was encrypted is counted as well. One of them that comes after that is counted again as come too late:
    no key is left that could say which it is.
    """

    __match_args__ = ("count",)
    count: int
    """How many; 0 when that is not known."""
    first: datetime
    """When the first of them says that it was made."""
    last: datetime
    """When the last of them says that it was made."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class HistoryTrimmed(Event):
    """A member has said more than is kept here, and the oldest of it is gone, for good.

    Config.max_sender_messages and max_sender_bytes say how much is kept of one member; max_group_messages and
    max_group_bytes of all, where the oldest go of the member who has most. Nobody else's messages go. It is told once
    for an hour of a group, whatever goes in it.
    """

    __match_args__ = ("sender",)
    sender: PublicKey
    """Whose messages went."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class CannotFollow(Event):
    """A change came that this account cannot judge, and the group still stands before it ten minutes later.

    Most often it adds somebody whose KeyPackage has expired since, which the others took in time and nobody may take
    now. If the group is silent from here on, the others have gone on with it: let an admin remove this account and
    invite it again. It is told once for each such place, and is no verdict: any member can send such a change, and on a
    machine whose clock is far ahead every KeyPackage has expired.

    Or a branch removes this account that is not followed here, and what comes after it cannot be read; or for five
    epochs all was done here by members that are no admins, while something came that cannot be read. The others may be
    elsewhere then, and the group is contested (GroupInfo.contested) until somebody else is heard here. It can be
    spoken in; ask an admin over another way.
    """

    __match_args__ = ("epoch",)
    epoch: int
    """Where the group stands here: the epoch before the change."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class Unrecoverable(Event):
    """What is here of the group cannot go on: only a new invite, or a backup, helps."""

    __match_args__ = ("reason",)
    reason: str
    """retained_state_lost: state that the group needs is missing, and it stays as it is until somebody invites this
    account again. own_commit_lost: likewise; the account seems to run elsewhere, from another copy of its database, and
    that copy has changed the group. joined_on_a_lost_branch: nothing is missing. The branch that this account was
    invited on has lost, the others have gone on without it, and one of them has invited it: Invited follows in the same
    call, the group is pending, and to answer that is all there is to do. What was said on the lost branch stays in the
    history, marked (MessagesInvalidated). left_behind: a change of the group never came, or could not be judged
    (cannot_judge), the others have gone on from there, and an admin has invited this account again: Invited follows in
    the same call, here too. What was read stays as it was; what was said between cannot be read any more, and a
    HistoryGap with a count of 0 says from when to when that is."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class Disbanded(Event):
    """The group was ended for everybody."""

    __match_args__ = ("by",)
    by: PublicKey | None


@final
@dataclass(frozen=True, slots=True, repr=False)
class DeliveryChanged(Event):
    """How far a message of ours got."""

    __match_args__ = ("message_id", "delivery")
    message_id: EventId
    delivery: Delivery
    errors: Mapping[str, str] = field(hash=False)
    """Relay URL, and what that relay said against the message."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class InviteDeliveryChanged(Event):
    """How far an invite of ours is that relays are against. Nothing is said of one that goes its way.

    The invited account is a member, but its app does not know of the group yet. QUEUED: every relay that the
    invite is for has refused it; it is tried again, later each time, also at other relays of that account.
    ACCEPTED: a relay has it after all. FAILED: it was refused for 30 days; remove() the account and add() it again.
    """

    __match_args__ = ("account", "delivery")
    account: PublicKey
    """Who was invited."""
    delivery: Delivery
    errors: Mapping[str, str] = field(hash=False)
    """Relay URL, and what that relay said against the invite."""
