"""What to do about an error, in words of the command line: the exceptions' own hints speak of calls."""

from collections.abc import Mapping

from mdk import errors
from mdk.errors import MdkError

from . import records

AGAIN = "run the command again"
NEW_KEY_ELSEWHERE = "Keep the new key elsewhere: {option} file:PATH, passphrase or secret:NAME."
_CONNECT = "any command that connects does, for example mdk groups --sync"

HINTS: Mapping[type[MdkError], str] = {
    # what was given, asked for, or is not allowed
    errors.InvalidInput: "Correct it; `mdk COMMAND --help` says what can be given.",
    errors.WrongKeyLength: "Give 32 random bytes, for example of `openssl rand -base64 32`: this is no passphrase.",
    errors.NotFound: "List what there is: mdk groups, mdk accept.",
    errors.GroupNotFound: "List them: mdk groups.",
    errors.MessageNotFound: "Ids are shown by: mdk history GROUP --ids.",
    errors.InviteNotFound: "List them: mdk accept.",
    errors.KeyPackageNotFound: (
        "They have to act: ask them to start their app once with a relay that you share, then invite them again."
    ),
    errors.NotAllowed: "Do what the message says; the same command again fails again.",
    errors.NotAdmin: "Ask an admin to do it, or to promote you: mdk members GROUP shows who is one.",
    errors.NotMember: "Ask an admin for a new invite; nothing else helps.",
    errors.LastAdmin: "Make somebody else an admin first: mdk promote GROUP NPUB.",
    # groups
    errors.CommitPending: f"Your earlier change has to reach a relay first: {_CONNECT}.",
    errors.GroupContested: "Remove them again: mdk remove GROUP NPUB --seal. mdk listen shows who is back.",
    errors.GroupSettling: "Others have just changed the group: try again in some seconds.",
    errors.CommitLost: "Nothing was changed. Look at the group, mdk members GROUP --sync, then do it again.",
    errors.IncompatibleMember: (
        "They have to act: ask them to update their app and to start it once, then invite them again."
    ),
    errors.GroupTooLarge: "Make it smaller, or use relays that take larger events: mdk init --relay URL.",
    errors.EpochUnavailable: "Nothing brings it back.",
    errors.SelfUpdateRequired: f"Its keys have to be renewed on a relay first: {_CONNECT}.",
    # relays
    errors.NotConnected: "Look at your network, and at your relays: mdk whoami --check.",
    errors.NoAnswer: "Try again, or use another relay: mdk init --relay URL.",
    errors.RelayRefused: "Do what the relay asks for, or use another one: mdk init --relay URL.",
    errors.NoRelayAccepted: "Do what the relays ask for, or use others: mdk init --relay URL.",
    errors.AddressRefused: "Name the relay yourself if you trust it: mdk init --relay URL.",
    errors.OutboxFull: "Look at your relays: mdk whoami --check. What waits goes out when one is reached.",
    # files
    errors.MediaUnavailable: "Try again when one can be reached. To send, name another one: mdk send --server URL.",
    errors.MediaTooLarge: "Send a smaller one.",
    errors.MediaCorrupt: "Ask the sender to send it again.",
    errors.MediaStale: "The group changed while the file was on its way: run the command again.",
    errors.MediaError: "Do what the message says.",
    errors.PortTaken: "Choose another one: --port N. 0 takes a free one.",
    # keys
    errors.KeyringUnavailable: (
        "Run the command in the desktop session that has it. `mdk rekey DATABASE --to file:PATH` there moves the key."
    ),
    errors.KeyringLocked: f"Unlock it (log in to the desktop, or open its password manager), then {AGAIN}.",
    errors.KeyringTimeout: "Look for a dialog that asks for a password, or give a longer --keyring-timeout.",
    errors.VolatileStore: (
        "Choose another place with --key, or give --allow-volatile if the data may be lost at a restart."
    ),
    errors.CallbackFailed: "Give the key in another form: --key.",
    errors.KeyNotGiven: "Give it each time: --key fd:N, --key env:NAME or --key passphrase.",
    errors.NewKeyNeeded: "Say where the new key is to be kept: --to file:PATH, --to keyring or --to passphrase.",
    errors.RekeyInterrupted: "Give the new key with --key; that completes the re-key.",
    errors.KeysMissing: "Give them once, they are kept then: mdk init --identity-file PATH.",
    errors.WrongAccount: "Give the identity of this account, or choose another one: --account NAME.",
    errors.KeyRecordMalformed: (
        "Update this package, or move the record away and name the key in full: "
        "--key keyring:SERVICE/ID, --key file:PATH or --key passphrase."
    ),
    errors.KeyNotStored: f"Check the disk or the keyring, then {AGAIN}.",
    # the database and its disk
    errors.StorageError: f"Look at the disk and the system log, then {AGAIN}.",
    errors.DiskFull: f"Free space, then {AGAIN}.",
    errors.NotEnoughSpace: f"Free space, or use another disk, then {AGAIN}.",
    errors.ReadOnlyDatabase: "Give yourself write access to the file and its directory.",
    errors.NotEncrypted: "Encrypt it with `mdk encrypt`, or use another path.",
    errors.AlreadyEncrypted: "`mdk rekey` changes its key; with --from-key and --to it is copied.",
    errors.DatabaseBusy: "End the other program first; one account is open in one place at a time.",
    errors.InMemory: "Use an account on disk.",
    errors.PathChanged: f"Find out who may rename the directories above it, then {AGAIN}.",
    errors.LockLost: f"Then {AGAIN}. Never remove the lock file of an open database.",
    # the program
    errors.Closed: f"Then {AGAIN}.",
    errors.Forked: f"Then {AGAIN}.",
    errors.Reentered: "Please report it with the text.",
    errors.WrongLoop: "Please report it with the text.",
    errors.Cancelled: f"If it is to be done after all, {AGAIN}.",
    errors.InternalError: f"Please report it with the text. The database is unharmed: {AGAIN}.",
}

_OF_COMMANDS: Mapping[tuple[type[MdkError], str], str] = {
    (errors.GroupTooLarge, "send"): "Shorten the text, or send it in parts.",
    (errors.GroupTooLarge, "invite"): (
        "Invite fewer people at once. If one is too many, use relays that take larger events: mdk init --relay URL."
    ),
    (errors.NotConnected, "invite"): (
        "Look at your network, and at your relays: mdk whoami --check. Then try again."
    ),
    (
        errors.KeyMissing,
        "restore",
    ): "Make a key there first: 32 random bytes, which the restored database gets.",
    (
        errors.KeyMissing,
        "encrypt",
    ): "Make a key there first: 32 random bytes; for --from-key put the old one back.",
    (errors.NotAllowed, "leave"): "Give up being an admin first: mdk demote GROUP.",
    **{
        (
            kind,
            command,
        ): NEW_KEY_ELSEWHERE.format(option=option)
        for kind in (errors.KeyringUnavailable, errors.VolatileStore)
        for command, option in (("restore", "--key"), ("encrypt", "--key"), ("salvage", "--to-key"))
    },
    (errors.LastAdmin, "leave"): (
        "Make somebody else an admin, then step down: mdk promote GROUP NPUB, mdk demote GROUP."
    ),
}

# Why somebody is no member, at the end of the message, and what helps then.
_NO_MEMBER: Mapping[str, str] = {
    "the invite is not accepted yet": "Accept it first: mdk accept.",
    "a leave was requested": (
        "You have asked to leave it: another member's app completes that. Only a new invite lets you in again."
    ),
    "the group was disbanded": "It has ended for everybody. Found another one: mdk invite --new NAME NPUB.",
}

_MESSAGES: Mapping[type[MdkError], str] = {
    errors.CommitPending: "an earlier change of this group by you is not on any relay yet",
    errors.KeysMissing: "the database keeps no Nostr keys",
    errors.Closed: "the account was closed meanwhile",
}

# Arguments of calls that are options here.
_OPTIONS: Mapping[str, str] = {
    "account": "--account",
    "after": "--after",
    "blossom": "--server",
    "filename": "--file",
    "key": "--key",
    "key_packages": "NPUB",
    "members": "NPUB",
    "relays": "--relay",
    "reply_to": "--reply-to",
}


def told(error: MdkError, command: str) -> tuple[str, str | None]:
    """The sentence that says what happened, and the one that says what to do, for somebody at a shell."""
    message = _MESSAGES.get(type(error), str(error))
    if isinstance(error, errors.InvalidInput) and error.field is not None:
        option = _OPTIONS.get(error.field, error.field)
        message = message.replace(f"{error.field}: ", f"{option}: ", 1)
    if isinstance(error, errors.NoRelayAccepted) and error.reasons:
        said = (f'{url} says "{records.one_line(words)}"' for url, words in error.reasons.items())
        message = f"{message}: {', '.join(said)}"
    if isinstance(error, errors.RelayRefused) and error.reason:
        message = f'{message}: "{records.one_line(error.reason)}"'
    if isinstance(error, errors.NotMember):
        why = (hint for words, hint in _NO_MEMBER.items() if message.endswith(words))
        return message, next(why, HINTS[errors.NotMember])
    if type(error) is errors.InvalidInput and error.field == "relays":
        return message, "Name one: mdk init --relay wss://…"
    if isinstance(error, errors.InvalidKey) and "ncryptsec" in message:
        return message, "Decrypt it first: an nsec or 64 hex digits are taken here."
    # A hint of its own was written where it was raised; the commands write theirs in their own words.
    if error.hint is not None and error.hint != type(error).hint:
        return message, error.hint
    if type(error) is errors.InvalidInput and (error.value or 0) > (
        error.limit or error.value or 0
    ):
        return message, f"Make it smaller: at most {error.limit}."
    own = _OF_COMMANDS.get((type(error), command))
    return message, own or HINTS.get(type(error), error.hint)
