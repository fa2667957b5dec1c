"""People whom a change of a group is not about, told in the words of a command line."""

from collections.abc import Collection, Iterable

from mdk import PublicKey
from mdk.errors import InvalidInput

_HINT = "Nothing was changed. List them: mdk members GROUP."


def unless_members(
    people: Iterable[PublicKey], members: Collection[PublicKey], me: PublicKey
) -> None:
    """Refuse whoever is no member.

    Raises:
        InvalidInput: with their names.
    """
    _refuse([one for one in people if one not in members], me, "not a member", "not members")


def if_members(people: Iterable[PublicKey], members: Collection[PublicKey], me: PublicKey) -> None:
    """Refuse whoever is a member already. Raises as unless_members()."""
    wrong = [one for one in people if one in members]
    _refuse(wrong, me, "a member already", "members already")


def unless_admins(
    people: Iterable[PublicKey], admins: Collection[PublicKey], me: PublicKey
) -> None:
    """Refuse whoever is no admin. Raises as unless_members()."""
    _refuse([one for one in people if one not in admins], me, "not an admin", "not admins")


def if_all_admins(
    people: Collection[PublicKey], admins: Collection[PublicKey], me: PublicKey
) -> None:
    """Refuse people all of whom are admins already. Raises as unless_members()."""
    if all(one in admins for one in people):
        _refuse(people, me, "an admin already", "admins already")


def _refuse(people: Collection[PublicKey], me: PublicKey, what: str, whats: str) -> None:
    if not people:
        return
    names = ", ".join("you" if one == me else one.npub for one in people)
    if len(people) > 1:
        raise InvalidInput(f"{names} are {whats}", hint=_HINT)
    raise InvalidInput(f"{names} {'are' if me in people else 'is'} {what}", hint=_HINT)
