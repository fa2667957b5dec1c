"""Profiles: the names that accounts claim for themselves."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import final

from mdk._mdk import PublicKey
from mdk.values import PublicKeyLike

from .session import Session, people


@final
@dataclass(frozen=True, slots=True)
class Profile:
    """What an account says of itself in public (kind 0; NIP-01, NIP-24). Nobody vouches for it.

    Anybody may take the name of another: show the npub beside it. It is fit to be shown: no control characters, and
    none that cannot be seen or that turn the text around.
    """

    account: PublicKey
    name: str | None
    """One line of at most 64 characters."""
    about: str | None
    """At most 4,096 characters, with line ends."""
    picture: str | None
    """An http or https address. It is not fetched here: its server would learn who looks."""
    updated_at: datetime
    """When the account said so, by its own clock."""


class Profiles:
    """The profiles of accounts."""

    def __init__(self, session: Callable[[], Session]) -> None:
        """Made by Client; `session` is the open account."""
        self._session = session

    async def get(self, who: PublicKeyLike) -> Profile | None:
        """The profile of an account as relays have it now; None if they have none.

        Asked are the relays of this account, those that `who` names as an nprofile, and those that `who` writes to. If
        none has one, so are those that this account left lately, and those of its groups: eight at most. They learn
        that this account looks for that one.

        Raises:
            NotConnected: no relay could be asked.
        """
        session = self._session()
        ((account, hints),) = people([who]).items()
        session.feed.check()
        with session.naming_relays():
            found = await session.native.find_profile(account, list(hints))
        if found is None:
            return None
        name, about, picture, updated_at = found
        return Profile(account, name, about, picture, updated_at)
