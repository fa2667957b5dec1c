"""Frozen values that the engine hands out. Times are aware (UTC), durations are `timedelta`, ids are lower-case hex."""

import unicodedata
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from os import PathLike
from typing import ClassVar, Final, Literal, NewType, Protocol, TypeAlias, final

from ._mdk import PublicKey, SignedEvent
from .shown import Shown

GroupId = NewType("GroupId", str)
"""MLS group id (RFC 9420, 8.1) in lower-case hex. Private: it never appears on a relay."""

EventId = NewType("EventId", str)
"""Nostr event id (NIP-01), 64 lower-case hex digits."""

PathArg: TypeAlias = str | PathLike[str]
KeyringStoreName: TypeAlias = Literal[
    "platform", "secret-service", "keyutils", "keychain", "credential-manager"
]
PublicKeyLike: TypeAlias = PublicKey | str


class Signer(Protocol):
    """What an identity has to be able to do for whoever writes code around it. Keys fits.

    Nothing signs anywhere else yet: Client.open() refuses a signer that is not Keys (NIP-46, remote signing).
    """

    @property
    def public_key(self) -> PublicKey:
        """The account."""


class Kind:
    """Nostr kinds of Marmot v2. Any kind from 0 to 65535 may be sent inside a group."""

    CHAT: Final = 9
    REACTION: Final = 7
    DELETE: Final = 5
    EDIT: Final = 1009
    KEY_PACKAGE: Final = 30443
    WELCOME: Final = 444
    GROUP_MESSAGE: Final = 445
    GIFT_WRAP: Final = 1059


class GroupState(StrEnum):
    """Where a group stands, for this account."""

    ACTIVE = "active"
    """A member."""
    PENDING = "pending"
    """Invited, not yet accepted."""
    LEAVING = "leaving"
    """A leave proposal of ours is out; the commit that answers it has not been seen."""
    LEFT = "left"
    """Left. A declined invite leaves no group behind; a group that the account was in before is LEFT then."""
    REMOVED = "removed"
    """Removed by an admin."""
    DISBANDED = "disbanded"
    """Ended for all members by an admin."""
    UNRECOVERABLE = "unrecoverable"
    """State was lost; only a new invite helps."""


class Delivery(StrEnum):
    """How far a message of ours got. The engine alone never knows: only a layer that talks to relays can."""

    QUEUED = "queued"
    """Not known to be on a relay. Messages of ours stay so in the engine."""
    ACCEPTED = "accepted"
    """At least one relay has it."""
    FAILED = "failed"
    """Every relay refused for good, or it expired before one had it."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class StoreInfo(Shown):
    """Facts about the open database."""

    path: str | None
    """Absolute path, None in memory."""
    schema_version: int
    sqlcipher_version: str
    """Version of the linked SQLCipher, e.g. "4.6.1 community"."""
    size_bytes: int
    """Size of the database file."""
    key_source: Literal[
        "keyring", "file", "fd", "secret", "passphrase", "callback", "env", "raw", "memory"
    ]
    """Where the database key came from; "memory" for an account without a file."""
    rekeyed_at: datetime | None
    """When rekey() last gave the database another key."""
    _words: ClassVar[frozenset[str]] = frozenset({"key_source", "sqlcipher_version"})


@final
@dataclass(frozen=True, slots=True, repr=False)
class Member(Shown):
    """A member account of a group. One account may have several leaves (devices)."""

    public_key: PublicKey
    is_admin: bool
    is_me: bool
    leaf_indexes: tuple[int, ...]
    """Its leaves in the ratchet tree, ascending."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class Reaction(Shown):
    """One reaction (NIP-25, kind 7 inside the group)."""

    message_id: EventId
    sender: PublicKey
    emoji: str
    """At most 64 characters."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class Attachment(Shown):
    """A file that a message carries: where its ciphertext lies, and what is needed to check and to open it."""

    filename: str
    """The sender's word, 1 to 255 bytes of UTF-8 without NUL. It may hold separators: do not open it as a path."""
    mime_type: str
    """In canonical form, like image/jpeg; the sender's word."""
    size: int | None
    """Bytes of the file. Not on the wire: None except of files that were encrypted here."""
    sha256: str
    """Of the file, 64 hex digits."""
    ciphertext_sha256: str
    """Of the ciphertext, 64 hex digits: its address on Blossom servers."""
    nonce: str
    """24 hex digits."""
    locators: tuple[tuple[str, str], ...] = ()
    """Kind and address of each place where the ciphertext lies, like ("blossom-v1", "https://…"), as the sender orders
    them."""
    dimensions: tuple[int, int] | None = None
    """Width and height in pixels as it is shown; the sender's word."""
    thumbhash: str | None = None
    """A tiny preview (ThumbHash) in base64; the sender's word."""

    @property
    def url(self) -> str | None:
        """The first address of kind blossom-v1, else None."""
        return next((address for kind, address in self.locators if kind == "blossom-v1"), None)

    @property
    def safe_filename(self) -> str:
        """`filename` as a name that stays in the folder it is joined to.

        It has no separators, no control characters, no dot in front, and at most 255 bytes; `file` if nothing is left.
        """
        return _safe(self.filename)

    @property
    def blurhash(self) -> None:
        """Always None: the format has `thumbhash` instead (Marmot v2, 2.10)."""
        return None


@final
@dataclass(frozen=True, slots=True, repr=False)
class EncryptedMedia(Shown):
    """An encrypted file, to be uploaded and then sent."""

    data: bytes
    """The ciphertext, 16 bytes longer than the file."""
    attachment: Attachment
    """For create_message(), once its locators name where `data` lies: dataclasses.replace(attachment, locators=…)."""
    epoch: int
    """The MLS epoch in which it has to be sent."""

    @property
    def sha256(self) -> str:
        """SHA-256 of `data`, 64 hex digits: its address on Blossom servers."""
        return self.attachment.ciphertext_sha256


@final
@dataclass(frozen=True, slots=True, repr=False)
class Message(Shown):
    """One message of the history, with edits, deletions and reactions applied."""

    id: EventId
    """NIP-01 id of the inner event."""
    group_id: GroupId
    sender: PublicKey
    """The author, authenticated by MLS."""
    kind: int
    text: str
    """Content, the newest edit applied; empty when deleted."""
    created_at: datetime
    """The author's clock, UTC. Not trustworthy; a time after the year 9999 is shown as its last second."""
    received_at: datetime
    """Our clock when it arrived, UTC."""
    epoch: int
    """MLS epoch it was encrypted in."""
    reply_to: EventId | None
    attachments: tuple[Attachment, ...]
    """Files of a chat message, those that are valid, at most 64."""
    reactions: tuple[Reaction, ...]
    """Oldest first."""
    edited: bool
    deleted: bool
    """Its author deleted it. An expired message is gone: message() raises MessageNotFound."""
    invalidated: bool
    """It belongs to a branch of the group that lost; kept for the record."""
    is_mine: bool
    delivery: Delivery
    """Of our own messages; ACCEPTED for those of others."""
    tags: tuple[tuple[str, ...], ...]
    """Tags of the inner event."""

    @property
    def mentions(self) -> tuple[PublicKey, ...]:
        """The accounts that a chat message mentions: by `p` tags, then by its text. Of an edited one, by its text.

        A reference is `npub1…` or `nprofile1…` (NIP-19), with `nostr:` (NIP-21) or `@` before it or bare, outside code.
        Each account comes once, and at most 256 do.
        """
        if self.kind != Kind.CHAT or self.deleted:
            return ()
        return tuple(PublicKey._mentioned(self.text, () if self.edited else self.tags))


@final
@dataclass(frozen=True, slots=True, repr=False)
class GroupInfo(Shown):
    """A snapshot of one group."""

    id: GroupId
    nostr_group_id: str
    """64 hex digits: the `h` tag of the current epoch, visible to relays."""
    name: str
    """At most 256 bytes of UTF-8."""
    description: str
    """At most 4096 bytes of UTF-8."""
    relays: tuple[str, ...]
    """1 to 16 URLs, sorted."""
    admins: frozenset[PublicKey]
    member_count: int
    """Member accounts, not leaves."""
    epoch: int
    """Current MLS epoch; 1 after the founding."""
    state: GroupState
    retention: timedelta | None
    """Time after which messages disappear; None when off."""
    has_image: bool
    unread_count: int
    """Messages of others after the one last marked read."""
    last_message: Message | None
    """Without its reactions: `Mdk.message()` has them."""
    sealing: int
    """Commits that are missing until the removals of ours that are being sealed cannot be undone; 0 when none is."""
    contested: bool
    """Somebody is back who had been removed or demoted (RemovalUndone): nothing can be said until that is settled. Or
    the others may be on another branch (CannotFollow): then it ends when one of them is heard."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class KeyPackage(Shown):
    """A KeyPackage (RFC 9420, 10; kind 30443), of this account or, from KeyPackages.find(), of another."""

    ref: str
    """KeyPackageRef (RFC 9420, 5.2), 64 hex digits."""
    event_id: EventId
    slot: str
    """The `d` tag: a newer KeyPackage of the same slot replaces it on relays."""
    created_at: datetime
    expires_at: datetime
    relays: tuple[str, ...]
    """Where it is to be published; empty for those of others, which do not say so."""
    last_resort: bool
    """It may be used by several Welcomes."""
    used: bool
    """A Welcome to this account has used it: publish a new one."""


@final
@dataclass(frozen=True, slots=True)
class KeyPackageVerdict:
    """Whether somebody's KeyPackage event can be invited (Marmot v2 state, table A2)."""

    usable: bool
    code: str | None
    """Category, as in Rejected.code; None if usable."""
    rule: str | None
    """Id of the check that failed."""
    reason: str | None
    """What is wrong; None if usable."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class Invite(Shown):
    """A Welcome that was verified and waits for accept() or decline()."""

    id: EventId
    """Id of the gift wrap."""
    group_id: GroupId
    group_name: str
    description: str
    inviter: PublicKey
    """The admin who signed it, authenticated by MLS."""
    member_count: int
    admins: frozenset[PublicKey]
    relays: tuple[str, ...]
    received_at: datetime


@final
@dataclass(frozen=True, slots=True, repr=False)
class Outgoing(Shown):
    """An encrypted message, ready to be published."""

    event: SignedEvent
    """Kind 445, signed by a key used once."""
    message: Message
    """As it stands in the history."""
    relays: tuple[str, ...]
    """Where to publish it."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class Filter(Shown):
    """A NIP-01 REQ filter, made by Mdk.interests()."""

    _json: str = field(repr=False)
    relays: tuple[str, ...]
    """Where to subscribe; empty means the inbox relays of the account (kind 10050), which the caller knows."""

    def to_json(self) -> str:
        """The filter as a JSON object."""
        return self._json


@final
@dataclass(frozen=True, slots=True)
class RelayStatus:
    """One relay as its connection stands."""

    url: str
    state: Literal["connecting", "connected", "backing-off", "closed", "banned"]
    """backing-off: waiting for the next attempt. banned: it sent too much that nobody asked for."""
    latency: timedelta | None
    """Round trip of the last ping."""
    last_error: str | None
    """Why the last attempt or connection ended, in a few words. While it is connected: what it says when it refuses us
    although we authenticate."""
    next_attempt: datetime | None
    """When the next attempt is due, UTC."""
    unanswered: int = 0
    """How often it left an event or a request of ours without any answer for three seconds (or for as long as that was
    waited for, if less): no OK, no event, no end."""
    lost: int = 0
    """Events of ours that it had acknowledged and did not have any more when it was asked for them, after a reconnect.
    They were given to it again. Both count from when this process has the relay open, over all accounts that share it.
    """
    complete_as_of: datetime | None = None
    """Everything is here that this relay had for the account then, UTC: it named all of its events (NIP-77), or gave
    all of their pages. What came since comes by subscription. None where that cannot be said yet, or where a place of
    its history could not be paged through."""


_MAX_NAME = 255
_ENDING = 16
# What separates folders anywhere, or what a name on Windows must not have.
_FORBIDDEN = frozenset('/\\:*?"<>|')
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul"} | {f"{kind}{n}" for kind in ("com", "lpt") for n in range(1, 10)}
)


def _safe(name: str) -> str:
    """A file name of others, so that it can be joined to a folder on any system."""
    # Format characters go as well: they can show an ending that is not there. Separators end a line of a log.
    unseen = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
    kept = (c for c in name if c not in _FORBIDDEN and unicodedata.category(c) not in unseen)
    safe = "".join(kept).lstrip(". ").rstrip(". ")
    if safe.partition(".")[0].rstrip().casefold() in _DEVICES:
        safe = f"_{safe}"
    if len(safe.encode()) > _MAX_NAME:
        stem, dot, ending = safe.rpartition(".")
        tail = f"{dot}{ending}" if dot and len(ending.encode()) <= _ENDING else ""
        room = _MAX_NAME - len(tail.encode())
        body = (stem if tail else safe).encode()[:room].decode(errors="ignore")
        safe = body.rstrip(". ") + tail
    return safe or "file"
