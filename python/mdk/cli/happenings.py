"""What happened in a group, in one short line for people."""

from mdk import (
    CannotFollow,
    ChangeWithdrawn,
    Disbanded,
    Event,
    HistoryGap,
    HistoryTrimmed,
    MembersChanged,
    MessageDeleted,
    MessagesInvalidated,
    ReactionAdded,
    RemovalUndone,
    Removed,
    Unrecoverable,
)

from . import output, records

_LOST = {
    "retained_state_lost": (
        "what the group needs is missing here: it stays as it is until an admin invites you again"
    ),
    "own_commit_lost": (
        "another copy of this database seems to run elsewhere: the group stays as it is until an "
        "admin invites you again"
    ),
    "joined_on_a_lost_branch": (
        "the branch that you were invited on lost: answer the new invite to go on, mdk accept"
    ),
    "left_behind": (
        "the others have gone on without you: answer the new invite to follow them, mdk accept"
    ),
}
_STUCK = "this group cannot go on here: only a new invite, or a backup, helps"
"""For a reason that this version does not know."""


def words(happened: Event, *, contested: bool = False) -> str:
    """The line without the group's name; empty for what people need not see, and for what has a line of its own.

    Args:
        happened: what happened.
        contested: whether the group stands contested now.
    """
    match happened:
        case MessageDeleted():
            return "a message was deleted"
        case ReactionAdded(reaction):
            return f"{records.short(reaction.sender)} reacts {records.one_line(reaction.emoji)}"
        case MembersChanged(added, removed):
            gone = sorted(removed | happened.left)
            parts = [f"{records.short(person)} is in" for person in sorted(added)]
            parts += [f"{records.short(person)} is out" for person in gone]
            return ", ".join(parts)
        case Removed():
            return "you are no longer a member"
        case Disbanded():
            return "the group was ended for everybody"
        case MessagesInvalidated(ids):
            return f"{output.count(len(ids), 'message')} belong to a branch that lost"
        case ChangeWithdrawn():
            return "a change of the group was withdrawn: another branch won"
        case RemovalUndone(account):
            back = "an admin again" if happened.demoted else "back, though removed"
            return (
                f"{records.short(account)} is {back}: another branch won. The group is contested: nothing can be sent "
                "until that is settled"
            )
        case Unrecoverable(reason):
            return _LOST.get(reason, _STUCK)
        case HistoryGap(count):
            if count:
                return f"{output.count(count, 'event')} could not be read: a gap in the history"
            return "not everything of one time could be had: maybe a gap in the history"
        case HistoryTrimmed(sender):
            return f"{records.short(sender)} has said more than is kept: the oldest of it is gone"
        case CannotFollow():
            if contested:
                return (
                    "the group is contested: the others may be on another branch, until one of them is heard here. Ask "
                    "an admin over another way"
                )
            return (
                "a change of the group came too late to be judged: if it is silent from now on, "
                "let an admin remove and invite you again"
            )
        case _:
            return ""
