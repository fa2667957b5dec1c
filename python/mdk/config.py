"""Every limit and lifetime of the engine, and what one peer may cost a bot."""

from dataclasses import dataclass
from datetime import timedelta
from typing import final

from .errors import InvalidInput

TRIES = 5
"""Calls of a bot's handler for one event, unless `Bot(tries=)` says something else."""
TRIES_IN_VAIN = 3
"""Calls of a bot's handler that raises what waiting does not mend."""
HANDLER_TIMEOUT = 300.0
"""Seconds that a call of a bot's handler may take, unless `Bot(handler_timeout=)` says something else."""
SLOW_AFTER = 10.0
"""Seconds after which a bot's handler is a warning, unless `Bot(slow_after=)` says something else."""
CONCURRENCY = 32
"""Handlers of a bot that run at once, unless `Bot(concurrency=)` says something else."""
MESSAGES_A_MINUTE = 30
"""Messages of a bot to one group within a minute, unless `Bot(messages_a_minute=)` says something else."""
CLOSE = 5.0
"""Seconds that closing an account takes at most, with its database; a second more than its outbox was given, if that
is longer."""
DECLINED_AT_ONCE = 4
"""Groups whose invite was declined and whose relays are read at one time."""
DECLINED_ATTEMPT = 30.0
"""Seconds for which the relays of such a group are dialled in one attempt to tell it."""
DECLINED_PAUSE = 6 * 3600.0
"""Longest pause between two such attempts, seconds."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Every limit and lifetime in one frozen object.

    Raises InvalidInput (with .field, .limit, .value) for a value outside its range, TypeError for a wrong Python type.
    """

    out_of_order_tolerance: int = 100
    """A message has to be less than so many generations behind the newest of its sender: 0 to 10,000. One farther
    behind is Rejected (stale_epoch)."""
    maximum_forward_distance: int = 1000
    """How many messages of a sender may be missing before one that is read: 1 to 100,000. One farther ahead is
    Deferred."""
    key_package_lifetime: timedelta = timedelta(days=84)
    """Lifetime of a new KeyPackage: 1 second to 84 days (Marmot v2, 2.4)."""
    self_update_every: timedelta = timedelta(days=7)
    """Age of our leaf after which needs_self_update() names the group; at least 1 second."""
    max_event_bytes: int = 131_072
    """Largest event that we make, of whatever kind, bytes of its JSON: 4,096 to 1,048,576. What needs a larger one
    raises GroupTooLarge. A message of max_message_bytes needs at least a third more (encryption, base64)."""
    max_message_bytes: int = 65_536
    """Largest inner event that we send, bytes of its JSON (id and tags included): 1,024 to 524,288."""
    max_media_bytes: int = 104_857_600
    """Largest file of a message, sent or received, and largest group image, bytes before encryption: 1 to
    1,073,741,824. A file is in memory as a whole."""
    max_held_events: int = 8_192
    """Events kept per group that cannot be read yet: 1 to 65,536; also at most 16 MiB, and for 30 days. Invites
    for a group that the account is in do not count: up to four of them wait."""
    max_sender_messages: int = 500_000
    """Messages of every kind kept of one member of a group: 100 to 2**40. Of who has more the oldest go, for good, and
    of nobody else; HistoryTrimmed tells. What this account says itself is not counted."""
    max_sender_bytes: int = 268_435_456
    """Bytes that the messages of one member may take, texts and tags and 512 for each: 1,048,576 to 2**50."""
    max_group_messages: int = 2_000_000
    """Messages kept of all members of a group together: 100 to 2**40. Of more the oldest go of the member who has
    most."""
    max_group_bytes: int = 1_073_741_824
    """Bytes that the messages of all members of a group may take together: 1,048,576 to 2**50."""
    cached_groups: int = 64
    """Groups kept loaded in memory: 1 to 10,000."""
    strip_image_metadata: bool = True
    """Pictures (JPEG, PNG, WebP, GIF) lose EXIF, XMP, comments and the like before they are encrypted; how they are
    turned is kept. A picture of another format raises MediaError. False: all pictures are sent as they are."""
    use_picture_server: bool = True
    """Whether the picture of a group, encrypted, also goes to https://blossom.divine.video, and is looked for there
    last: other apps look nowhere else, whatever the group names. That server learns the size, the time and our address.
    False: only the servers of the account and of the group. Only Client has sockets."""
    push: bool = True
    """Whether messages wake the phones of other members: the notification servers of their apps are asked to, through
    relays. They learn neither who asks nor which group it is. False: phones show a message when their user looks. Only
    Client has sockets."""
    add_own_relays: bool = False
    """Whether a group that names one relay only, as those that phones found do, is given the account's own relays as
    well where this account is an admin: once a group, so that another admin who takes them out has the last word. One
    relay that goes down silences such a group. The members, and these relays, then see that the group uses them. False:
    Group.relays_to_add, `mdk listen` and `mdk groups` say which groups it is about. Only Client has sockets."""
    allow_loopback: bool = False
    """Whether relays that others name may be on loopback; for tests. Only Client has sockets."""
    allow_plaintext: bool = False
    """Whether relays that others name may be `ws://`, without TLS: whoever is on the way sees what they get. Only
    Client has sockets."""

    def __post_init__(self) -> None:
        _check("out_of_order_tolerance", self.out_of_order_tolerance, 0, 10_000)
        _check("maximum_forward_distance", self.maximum_forward_distance, 1, 100_000)
        _check(
            "key_package_lifetime",
            _seconds("key_package_lifetime", self.key_package_lifetime),
            1,
            84 * 86_400,
        )
        _check("self_update_every", _seconds("self_update_every", self.self_update_every), 1, 2**32)
        _check("max_event_bytes", self.max_event_bytes, 4_096, 1_048_576)
        _check("max_message_bytes", self.max_message_bytes, 1_024, 524_288)
        _check("max_media_bytes", self.max_media_bytes, 1, 1_073_741_824)
        _check("max_held_events", self.max_held_events, 1, 65_536)
        _check("max_sender_messages", self.max_sender_messages, 100, 2**40)
        _check("max_sender_bytes", self.max_sender_bytes, 1 << 20, 2**50)
        _check("max_group_messages", self.max_group_messages, 100, 2**40)
        _check("max_group_bytes", self.max_group_bytes, 1 << 20, 2**50)
        _check("cached_groups", self.cached_groups, 1, 10_000)
        for name in (
            "strip_image_metadata",
            "use_picture_server",
            "push",
            "add_own_relays",
            "allow_loopback",
            "allow_plaintext",
        ):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name}: not a bool")


def _check(field: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{field}: not an int")
    if value < low:
        raise InvalidInput(
            f"{field}: too small (least {low}, got {value})", field=field, limit=low, value=value
        )
    if value > high:
        raise InvalidInput(
            f"{field}: too large (limit {high}, got {value})", field=field, limit=high, value=value
        )


def _seconds(field: str, value: object) -> int:
    if not isinstance(value, timedelta):
        raise TypeError(f"{field}: not a timedelta")
    if value.microseconds:
        raise InvalidInput(f"{field}: not whole seconds", field=field)
    return value.days * 86_400 + value.seconds
