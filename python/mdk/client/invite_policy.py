"""Whose invites are accepted without asking: the rule, by which invites.py answers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from mdk._mdk import PublicKey, _AccountStore
from mdk.shown import Shown
from mdk.values import Invite, PublicKeyLike

from .session import public_keys

if TYPE_CHECKING:
    from mdk._mdk import Mdk


@final
@dataclass(frozen=True, slots=True, repr=False)
class InvitePolicy(Shown):
    """Whose invites are accepted without asking. The others wait in `client.invites`, for 30 days.

    Who is named, and who is in a group with this account, is no stranger: strangers together have 256 invites that
    wait, and nobody more than 16. Where the others are declined, a stranger's invite is not even opened: what counts
    for that is the account that sent it.
    """

    allowed: frozenset[PublicKey] | None = frozenset()
    """None: everybody."""
    declines: bool = False
    """Whether the others are declined."""

    @classmethod
    def manual(cls) -> "InvitePolicy":
        """Nobody: each invite waits for accept() or decline()."""
        return cls()

    @classmethod
    def allow(cls, *who: PublicKeyLike) -> "InvitePolicy":
        """These accounts."""
        return cls(frozenset(public_keys(who)))

    @classmethod
    def anyone(cls) -> "InvitePolicy":
        """Everybody who knows this account's npub. They can make it join any number of groups."""
        return cls(None)

    @property
    def is_manual(self) -> bool:
        """Whether nothing is answered without asking."""
        return self.allowed == frozenset() and not self.declines

    def _tell(self, mdk: "Mdk") -> None:
        """Say to the engine whose invites are not to be opened at all: those that would only be declined."""
        strangers = self.allowed is None or not self.declines
        _AccountStore(mdk).set_inviters(self.allowed or (), strangers=strangers)

    def accepts(self, invite: Invite) -> bool:
        """Whether this invite is accepted without asking."""
        return self.allowed is None or invite.inviter in self.allowed
