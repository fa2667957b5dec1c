"""Groups that one relay carries alone: while it is down nobody in them is heard."""

from collections.abc import Sequence

from mdk._mdk import PublicKey
from mdk.values import GroupInfo, GroupState

_MOST = 16
"""Relays of a group."""


def to_add(info: GroupInfo, me: PublicKey, own: Sequence[str]) -> tuple[str, ...]:
    """Relays of an admin's own that a group lacks; empty unless the group names one relay only."""
    if info.state is not GroupState.ACTIVE or me not in info.admins or len(info.relays) != 1:
        return ()
    known = {_plain(url) for url in info.relays}
    return tuple(url for url in own if _plain(url) not in known)[: _MOST - 1]


def _plain(url: str) -> str:
    return url.rstrip("/").lower()
