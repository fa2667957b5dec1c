"""Values of the client. Frozen, like those of the engine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, final

from mdk.shown import Shown
from mdk.values import Delivery, GroupId, KeyPackage, Message, RelayStatus

if TYPE_CHECKING:
    from .session import Session


@final
@dataclass(frozen=True, slots=True, repr=False)
class Sent(Shown):
    """A message of ours that is on disk and on its way. It is tried until a relay has it, across restarts."""

    message: Message
    errors: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What relays said against it, by URL, as far as it was known when this was made."""
    _session: "Session | None" = field(default=None, repr=False, compare=False, hash=False)

    @property
    def delivery(self) -> Delivery:
        """How far it had got when this was made. `await delivered()` gives the outcome."""
        return self.message.delivery

    async def delivered(self, timeout: float | None = None) -> "Sent":
        """Wait until a relay has it, or all refused it: a new Sent, whose `delivery` is ACCEPTED or FAILED.

        A message that expired before a relay had it is FAILED, and `errors` says so; so is one that was taken back.

        Args:
            timeout: seconds; None for as long as it takes. The message goes on being tried after it.

        Raises:
            TimeoutError: neither happened in time.
            Closed: the client was closed.
        """
        if self._session is None or self.delivery is not Delivery.QUEUED:
            return self
        return await self._session.delivered(self.message, timeout)


@final
@dataclass(frozen=True, slots=True, repr=False)
class RekeyReport(Shown):
    """What Client.rekey() renewed."""

    groups_updated: tuple[GroupId, ...]
    """Groups where our leaf has fresh keys."""
    groups_failed: Mapping[GroupId, str] = field(hash=False)
    """The other groups, and why, in a sentence."""
    key_package: KeyPackage
    """The new KeyPackage."""
    database_rekeyed: bool
    """Whether the file is encrypted with another key now."""


@final
@dataclass(frozen=True, slots=True)
class ClientStats:
    """Counters of one client since it was started, and its relays as they stand."""

    relays: tuple[RelayStatus, ...]
    outbox_queued: int
    """Events of ours that no relay has yet."""
    events_received: int
    """Events from relays, each counted once."""
    events_rejected: int
    """Of these, what the engine refused for good."""
    events_false: int
    """Besides these, what no honest relay sends: a wrong id or signature, or nothing asked for. Each time it came."""
    events_deferred: int
    """Of these, what waits in the engine for something else."""
    messages_sent: int
    """Messages of ours that a relay has accepted."""
    last_event_at: datetime | None
    """When the last event came, UTC."""
    backlog_fetched: int
    """Events of the running catch-up that relays have sent; 0 when there is none."""
    backlog_processed: int
    """Of these, how many the engine has."""
    possible_gaps: int
    """Places in a relay's history that could not be paged through: more events in a second than it returns."""
    relays_without_room: int
    """Relays that are not read now because there are as many connections as the process may have."""
    push_sent: int
    """Requests to notification servers to wake the phones of others that a relay took."""
    push_failed: int
    """Those that no relay took. They are not repeated: a phone that rings late is worse than one that does not."""
    push_dropped: int
    """Messages and entries of members about push tokens that were not in order."""
    internal_errors: int
    """Bugs of ours in the connections that this client shares, each of which cost a reconnect. Report them."""

    def openmetrics(self) -> str:
        """The counters as OpenMetrics text, for Prometheus and the like. Relays are counted by state, not named."""
        return _openmetrics(self)


_COUNTERS = (
    ("events_received", "Events from relays, each counted once."),
    ("events_rejected", "Events that the engine refused for good."),
    ("events_false", "Events that no honest relay sends."),
    ("events_deferred", "Events that wait for something else."),
    ("messages_sent", "Messages that a relay has accepted."),
    ("possible_gaps", "Places in a relay's history that could not be paged through."),
    ("push_sent", "Requests to wake phones that a relay took."),
    ("push_failed", "Requests to wake phones that no relay took."),
    ("push_dropped", "What members said about push tokens that was not in order."),
    ("internal_errors", "Bugs in connections that cost a reconnect."),
)
_GAUGES = (
    ("outbox_queued", "Events that no relay has yet."),
    ("backlog_fetched", "Events of the running catch-up that relays have sent."),
    ("backlog_processed", "Events of the running catch-up that the engine has."),
    ("relays_without_room", "Relays that are not read for lack of connections."),
)
_OF_RELAYS = (
    ("unanswered", "Events and requests that the relays of this client left without an answer."),
    ("lost", "Events that they had acknowledged and did not have any more."),
)
"""Summed up: relays that are not open any more do not count."""
_STATES = ("connecting", "connected", "backing-off", "closed", "banned")


def _openmetrics(stats: ClientStats) -> str:
    lines: list[str] = []
    for name, text in _COUNTERS:
        lines += [f"# TYPE mdk_{name} counter", f"# HELP mdk_{name} {text}"]
        lines.append(f"mdk_{name}_total {getattr(stats, name)}")
    for name, text in _GAUGES:
        lines += [f"# TYPE mdk_{name} gauge", f"# HELP mdk_{name} {text}"]
        lines.append(f"mdk_{name} {getattr(stats, name)}")
    lines += ["# TYPE mdk_relays gauge", "# HELP mdk_relays Relays by state."]
    for state in _STATES:
        count = sum(relay.state == state for relay in stats.relays)
        lines.append(f'mdk_relays{{state="{state}"}} {count}')
    for name, text in _OF_RELAYS:
        count = sum(getattr(relay, name) for relay in stats.relays)
        lines += [f"# TYPE mdk_relay_{name} gauge", f"# HELP mdk_relay_{name} {text}"]
        lines.append(f"mdk_relay_{name} {count}")
    if stats.last_event_at is not None:
        lines += [
            "# TYPE mdk_last_event_timestamp_seconds gauge",
            "# UNIT mdk_last_event_timestamp_seconds seconds",
            "# HELP mdk_last_event_timestamp_seconds When the last event came.",
            f"mdk_last_event_timestamp_seconds {stats.last_event_at.timestamp():.0f}",
        ]
    return "\n".join([*lines, "# EOF", ""])
