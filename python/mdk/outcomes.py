"""What `Mdk.process()` made of one incoming event.

Whatever a peer sends ends as one of these, never as an exception.
"""

from dataclasses import dataclass
from typing import ClassVar, final

from ._mdk import SignedEvent
from .events import Event
from .shown import Shown


@dataclass(frozen=True, slots=True, repr=False)
class Outcome(Shown):
    """Base of the four outcomes. Use `match`."""

    _words: ClassVar[frozenset[str]] = frozenset({"reason", "code", "rule"})
    events: tuple[Event, ...]
    """What became true by this event, and by events that had waited for it or that a call since the last outcome set
    free. What such a call, accept() or confirm(), changes itself is its result, and in `Mdk.events()`."""
    reply: tuple[SignedEvent, ...]
    """Events for the caller to publish, e.g. the commit that answers a leave proposal. The commit is true here only
    when it is confirmed (`PendingCommit.automatic`, in `Mdk.pending()`) or when its own event comes back through
    `Mdk.process()`. Gift wraps (kind 1059) are Welcomes: whom a commit of yours has added is invited, too, when that
    commit is true only after it was discarded or had lost."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class Applied(Outcome):
    """It took effect."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class Duplicate(Outcome):
    """Seen before, or the echo of an event of ours. Nothing changed."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class Deferred(Outcome):
    """Not readable or not decidable yet; kept and retried by the engine, unless `reason` is resource_refused."""

    reason: str
    """undecryptable, future_epoch, future_generation, missing_parent, rival, publish_in_progress, cannot_judge, or
    resource_refused: the bounds for held events or open invites are reached, and this one was NOT kept; deliver it
    again later. cannot_judge: most often a commit that adds somebody by a KeyPackage that has expired since; if the
    others took it in time, only a new invite leads on."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class Rejected(Outcome):
    """It never takes effect in this state; nothing of it was stored.

    That a member's message came too late to be read is told, once for an hour in each group: `events` has a HistoryGap
    then, which is in the log.
    """

    code: str
    """invalid_encoding, invalid_signature, authorization_failed, unsupported_required_feature, wrong_recipient,
    unknown_group, transport_rejected, stale_epoch or already_applied (Marmot v2, 2.11)."""
    reason: str
    """What was wrong, without data from the event."""
    rule: str
    """Id of the rule that it broke, e.g. "D4-2"."""
