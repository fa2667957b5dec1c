"""What is wrong with what the caller gave, asked for, or may do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import MdkError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mdk._mdk import PublicKey


class InvalidInput(MdkError, ValueError):
    """An argument is not acceptable; nothing was changed.

    `field` names the argument, if it is about one. If it is a matter of size, `limit` is the bound that was passed (the
    largest that is accepted, or the smallest for a value below it; where the message says "more than", what has to be
    exceeded) and `value` what was given, both in the unit that the message or the documentation of the argument names.
    A fraction counts as the whole number beyond it. `value` is never the content of an argument.
    """

    code = "invalid_input"
    hint: str | None = "Correct the argument named by .field."

    def __init__(
        self,
        message: str = "",
        *,
        field: str | None = None,
        limit: int | None = None,
        value: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.field = field
        self.limit = limit
        self.value = value


class InvalidEvent(InvalidInput):
    """An event given by the caller is malformed, or its id or signature does not verify (NIP-01)."""

    code = "invalid_event"
    hint: str | None = "Fetch the event again, from another relay."


class InvalidKey(InvalidInput):
    """A public key, a secret key or a database key does not parse. The text itself is not repeated here."""

    code = "invalid_key"
    hint: str | None = (
        "Public: npub, nprofile or 64 hex digits. Secret: nsec, ncryptsec or 64 hex digits."
    )


class InvalidRelayUrl(InvalidInput):
    """A relay URL is not ws:// or wss:// with a host, is too long, or has a user name or a fragment.

    Hosts of private networks and the loopback are accepted: whether to connect to them is for the transport to decide.
    """

    code = "invalid_relay_url"
    hint: str | None = (
        "Use wss://host or ws://host, at most 512 bytes, without user name and fragment."
    )


class InvalidIdentifier(InvalidInput):
    """A keyring's service or key id, or the name of a secret or a variable, is empty, too long or not allowed.

    `field` says which, `limit` how many bytes it may have.
    """

    code = "invalid_identifier"
    hint: str | None = "Use a short text without NUL, for example 'mdk'."


class WrongKeyLength(InvalidKey):
    """A database key is not exactly 32 bytes long. `value` is the length that was given, where it is known."""

    code = "wrong_key_length"
    hint: str | None = "Give 32 random bytes, for example os.urandom(32): this is no passphrase."


class SameKey(InvalidInput):
    """The new key of a re-key is the one that the database has already."""

    code = "same_key"
    hint: str | None = "Give another one."


class InvalidPassphrase(InvalidInput):
    """A passphrase is empty or too long: `limit` and `value` are bytes of UTF-8.

    Or it is too short for a new database key: `limit` is the least number of characters, 8, and `value` what it has.
    """

    code = "invalid_passphrase"
    hint: str | None = (
        "Choose one of 8 characters or more, at most 1,024 bytes; random words are good."
    )


class NotFound(MdkError, LookupError):
    """The thing named by an id is not in this database."""

    code = "not_found"
    hint: str | None = "List what there is: pending(), key_packages()."


class GroupNotFound(NotFound):
    """No such group in this database."""

    code = "group_not_found"
    hint: str | None = "List groups()."


class MessageNotFound(NotFound):
    """No such message in this group."""

    code = "message_not_found"
    hint: str | None = "Check that the id and the group belong together."


class InviteNotFound(NotFound):
    """No such invite; it may have been accepted or declined already."""

    code = "invite_not_found"
    hint: str | None = "List invites()."


class KeyPackageNotFound(NotFound):
    """No such KeyPackage in this database, or, for an invitation, no usable one of these accounts on any relay.

    `who` has the accounts whose KeyPackage was not found; it is empty if it is about one of our own. `reasons` says of
    those that have one on a relay why it cannot be used: by npub, in a few words.
    """

    code = "key_package_not_found"
    hint: str | None = (
        "Ours: list key_packages(). Theirs: ask them to come online once with a Marmot v2 client."
    )

    def __init__(
        self,
        message: str = "",
        *,
        who: Iterable[PublicKey] = (),
        reasons: Mapping[str, str] | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.who: tuple[PublicKey, ...] = tuple(who)
        self.reasons: Mapping[str, str] = dict(reasons or {})


class NotAllowed(MdkError, PermissionError):
    """The protocol forbids this to anybody in this situation; the message says why."""

    code = "not_allowed"
    hint: str | None = "Do what the message says; the same call again fails again."


class NotAdmin(NotAllowed):
    """Only an admin of the group may do this (Marmot v2, admin policy component 0x8003)."""

    code = "not_admin"
    hint: str | None = "Ask an admin: group(id).admins."


# What the engine says, and what helps then.
_NO_MEMBER = {
    "the invite is not accepted yet": "Accept it first: invites() lists it, accept(id) joins.",
    "a leave was requested": "Wait until another member's client has answered; after that only a new invite helps.",
    "the group was disbanded": "It has ended for everybody: found a new group.",
}


class NotMember(NotAllowed):
    """This account is not, or no longer, an active member of the group. What helps depends on why; the hint says it."""

    code = "not_member"
    hint: str | None = "Only a new invite helps."

    def __init__(self, message: str = "", *, hint: str | None = None) -> None:
        if hint is None:
            hint = next((words for why, words in _NO_MEMBER.items() if message.endswith(why)), None)
        super().__init__(message, hint=hint)


class LastAdmin(NotAllowed):
    """The group would be left without an admin."""

    code = "last_admin"
    hint: str | None = "Promote another member first."
