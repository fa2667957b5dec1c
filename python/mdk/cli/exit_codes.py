"""Exit codes: what a script can branch on. From 64 to 78 they follow sysexits.h."""

from enum import IntEnum

from mdk import errors


class ExitCode(IntEnum):
    """What `mdk` returns to the shell."""

    OK = 0
    FOUND = 1
    BROKEN = 2
    USAGE = 64
    DATA = 65
    NO_INPUT = 66
    PERSON = 67
    NETWORK = 68
    KEYRING = 69
    INTERNAL = 70
    EXISTS = 73
    IO = 74
    BUSY = 75
    REFUSED = 76
    INSECURE = 77
    KEY = 78
    GROUP = 79
    INTERRUPTED = 130


MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "done, and all is well",
    ExitCode.FOUND: "doctor: warnings; verify: damage; salvage: something is missing",
    ExitCode.BROKEN: "doctor: something does not work",
    ExitCode.USAGE: "the command line or one of its values is wrong",
    ExitCode.DATA: "the file is damaged, too large, or not what it should be",
    ExitCode.NO_INPUT: "the database, backup, group, message or invite is not there",
    ExitCode.PERSON: "somebody cannot be invited: no KeyPackage was found, or their app does not fit",
    ExitCode.NETWORK: "no relay was reached, or none answered in time; what was to be sent is kept and goes out later",
    ExitCode.KEYRING: "the keyring is absent, locked, slow or volatile",
    ExitCode.INTERNAL: "a bug: please report it",
    ExitCode.EXISTS: "the file to be written exists already",
    ExitCode.IO: "reading or writing failed, or the disk is full",
    ExitCode.BUSY: "the database is open in another process, or the port is taken",
    ExitCode.REFUSED: "every relay refused it for good",
    ExitCode.INSECURE: "a file or directory is open to others, or not accessible",
    ExitCode.KEY: "the key or passphrase is missing, malformed or wrong",
    ExitCode.GROUP: "the group does not allow it, or another member's change was first",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C; nothing was changed, or the change is complete",
}

# The first class that fits decides.
_BY_CLASS: tuple[tuple[tuple[type[errors.MdkError], ...], ExitCode], ...] = (
    ((errors.DestinationExists,), ExitCode.EXISTS),
    ((errors.FileMissing, errors.DatabaseMissing), ExitCode.NO_INPUT),
    ((errors.DatabaseBusy, errors.LockLost), ExitCode.BUSY),
    ((errors.InsecureFile, errors.AccessDenied), ExitCode.INSECURE),
    (
        (
            errors.WrongKey,
            errors.WrongPassphrase,
            errors.InvalidKey,
            errors.CryptoError,
            errors.SameKey,
            errors.KeyMissing,
            errors.KeysMissing,
            errors.KeyMalformed,
            errors.KeyRecordMalformed,
            errors.CallbackFailed,
            errors.NewKeyNeeded,
            errors.RekeyInterrupted,
        ),
        ExitCode.KEY,
    ),
    ((errors.KeyringError,), ExitCode.KEYRING),
    (
        (
            errors.CorruptDatabase,
            errors.NotEncrypted,
            errors.AlreadyEncrypted,
            errors.ForeignDatabase,
            errors.SchemaTooNew,
            errors.SchemaTooOld,
            errors.BackupError,
            errors.CopyDiffers,
        ),
        ExitCode.DATA,
    ),
    ((errors.KeyPackageNotFound, errors.IncompatibleMember), ExitCode.PERSON),
    ((errors.NotFound,), ExitCode.NO_INPUT),
    ((errors.MediaUnavailable,), ExitCode.NETWORK),
    ((errors.MediaStale,), ExitCode.GROUP),
    ((errors.MediaError,), ExitCode.DATA),
    ((errors.RelayRefused, errors.NoRelayAccepted), ExitCode.REFUSED),
    ((errors.PortTaken,), ExitCode.BUSY),
    ((errors.TransportError,), ExitCode.NETWORK),
    ((errors.NotAllowed, errors.GroupError), ExitCode.GROUP),
    ((errors.InvalidInput,), ExitCode.USAGE),
    ((errors.Cancelled,), ExitCode.INTERRUPTED),
    ((errors.StorageError,), ExitCode.IO),
)


def of(error: errors.MdkError) -> ExitCode:
    """The exit code of an exception."""
    for classes, code in _BY_CLASS:
        if isinstance(error, classes):
            return code
    return ExitCode.INTERNAL


def table() -> str:
    """All exit codes, one on a line."""
    return "\n".join(f"{code.value:>5}  {meaning}" for code, meaning in MEANINGS.items())
