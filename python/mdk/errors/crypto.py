"""What is encrypted and does not open."""

from .arguments import InvalidKey
from .base import MdkError


class CryptoError(MdkError):
    """What the caller has encrypted does not open with what was given for it.

    A database, a backup and a file of a message have errors of their own: WrongKey, WrongPassphrase, MediaCorrupt. What
    a peer sends and cannot be opened is no error at all.
    """

    code = "crypto_error"


class WrongPassword(CryptoError, InvalidKey):
    """The password does not open the encrypted secret key (ncryptsec, NIP-49), or its text was damaged."""

    code = "wrong_password"
    hint: str | None = "Try again; if you are sure of the password, copy the ncryptsec again."
