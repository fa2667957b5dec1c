"""What the state of a group does not permit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import MdkError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mdk._mdk import PublicKey


class GroupError(MdkError):
    """The state of the group does not permit the operation."""

    code = "group_error"


class CommitPending(GroupError):
    """An earlier commit of ours in this group, perhaps an automatic one, is neither confirmed nor discarded."""

    code = "commit_pending"
    hint: str | None = (
        "pending() lists it: confirm it if its event was published, otherwise discard it."
    )


class GroupContested(GroupError):
    """Somebody who was removed, or an admin who was demoted, is back: another branch won, and told RemovalUndone."""

    code = "group_contested"
    hint: str | None = (
        "Remove or demote them again, or call accept_members() if they may stay. The admin who had removed them does "
        "it by itself."
    )


class GroupSettling(GroupError):
    """Commits of others came just now, and which one counts is not settled yet.

    No commit of ours is made meanwhile and, where they compete, no message of a client.
    """

    code = "group_settling"
    hint: str | None = (
        "Call again after .millis milliseconds: some seconds, twenty while its history is fetched."
    )

    def __init__(
        self, message: str = "", *, millis: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.millis = millis


class CommitLost(GroupError):
    """The commit cannot become true any more: another member's commit won, or it was discarded before.

    confirm() and discard() raise it also for one that was confirmed long ago and is forgotten.
    """

    code = "commit_lost"
    hint: str | None = "Nothing was changed. Look at the group, then do the operation again."


class IncompatibleMember(GroupError):
    """The app of an invitee cannot be in this group, or that of a member does not support what is to be required.

    `missing` says what does not fit, `rule` is the id of the check (Marmot v2 state, table A2, or B5 for members), and
    `who` has the accounts: the invitee, or all such members.
    """

    code = "incompatible_member"
    hint: str | None = (
        "Use another KeyPackage of that account; a member has to update the app, or be removed."
    )

    def __init__(
        self,
        message: str = "",
        *,
        missing: str | None = None,
        rule: str | None = None,
        who: Iterable[PublicKey] = (),
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.missing = missing
        self.rule = rule
        self.who: tuple[PublicKey, ...] = tuple(who)


class GroupTooLarge(GroupError):
    """A message, a commit or a Welcome would not fit into an event. `size` and `limit` are bytes of its JSON."""

    code = "group_too_large"
    hint: str | None = (
        "Send less or invite fewer members at once, or raise Config.max_event_bytes if your relays accept it."
    )

    def __init__(
        self,
        message: str = "",
        *,
        size: int | None = None,
        limit: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.size = size
        self.limit = limit


class EpochUnavailable(GroupError):
    """The state of that epoch is not retained any more: those of the last five epochs are."""

    code = "epoch_unavailable"
    hint: str | None = "Nothing brings it back; use the present epoch: group(id).epoch."


class GroupUnrecoverable(GroupError):
    """State that the group needs is missing from storage; the rest of the database is usable.

    Or the account runs elsewhere, for instance from a restored backup, and its other copy has changed the group: the
    message says so. Go on with that copy.
    """

    code = "group_unrecoverable"
    hint: str | None = "Ask an admin for a new invite."


class SelfUpdateRequired(GroupError):
    """The account was restored from a backup and its leaf in this group has not been renewed since.

    The copy that was backed up may have used the message keys that come next; using them again would destroy their
    secrecy.
    """

    code = "self_update_required"
    hint: str | None = (
        "Publish and confirm self_update(group_id), then send. needs_self_update() lists the groups."
    )
