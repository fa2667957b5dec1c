"""Groups that one relay carries alone: while it is down nobody in them is heard."""

from collections.abc import Iterable, Sequence

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


def advice(info: GroupInfo, add: Iterable[str]) -> str:
    """The line for people about a group that lacks relays."""
    return (
        f"one relay alone carries it ({', '.join(info.relays)}): while that is down, nobody in it is heard. You can "
        f"add your own, {', '.join(add)}: Group.update(relays=...), or Config(add_own_relays=True)"
    )


def _plain(url: str) -> str:
    return url.rstrip("/").lower()
