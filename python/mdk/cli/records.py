"""Values as JSON and as lines of text. What peers wrote is shown so that it cannot command a terminal."""

import dataclasses
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import TypeAlias

from mdk import Event, GroupInfo, Invite, Member, Message, PublicKey

Json: TypeAlias = str | int | float | bool | list["Json"] | dict[str, "Json"] | None

# Digits of an id that a person is shown; more are accepted everywhere.
SHORT = 10
_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")


def plain(value: object) -> Json:
    """Any frozen value as JSON: times as ISO 8601 in UTC, durations in seconds, people as npub, sets sorted."""
    match value:
        case Enum():
            return plain(value.value)
        case None | str() | int() | float():
            return value
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case PublicKey():
            return value.npub
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case set() | frozenset():
            return sorted((plain(item) for item in value), key=str)
        case tuple() | list():
            return [plain(item) for item in value]
        case _ if dataclasses.is_dataclass(value):
            fields = (f.name for f in dataclasses.fields(value) if not f.name.startswith("_"))
            return {name: plain(getattr(value, name)) for name in fields}
        case _:
            return str(value)


def document(value: object) -> dict[str, Json]:
    """A frozen value as a JSON object."""
    shown = plain(value)
    if not isinstance(shown, dict):
        raise TypeError(f"{type(value).__name__} is no object")
    return shown


def event(happened: Event) -> dict[str, Json]:
    """One event: its name in snake_case, and its fields."""
    name = _WORD.sub("_", type(happened).__name__).lower()
    return {"event": name, **document(happened)}


def clean(text: str) -> str:
    """Text of others for a terminal: control and direction characters are shown as what they are, lines are kept."""
    return "".join(map(_visible, text))


def _visible(char: str) -> str:
    if char in "\n\t":
        return char
    category = unicodedata.category(char)
    # Format characters join emoji (U+200D) and letters (U+200C); the others can turn the order of a line around.
    if category in {"Cc", "Cs", "Zl", "Zp"} or (category == "Cf" and char not in "\u200c\u200d"):
        return f"\\u{ord(char):04x}"
    return char


def one_line(text: str) -> str:
    """The same in one line."""
    return clean(text).replace("\n", " ").replace("\t", " ")


def short(key: PublicKey) -> str:
    """A person in few characters."""
    return f"{key.npub[: SHORT + 5]}…"


def time(moment: datetime) -> str:
    """A moment on the clock of the machine, to the minute."""
    try:
        return f"{moment.astimezone():%Y-%m-%d %H:%M}"
    except (OverflowError, ValueError):
        return f"{moment:%Y-%m-%d %H:%M}"


def message_line(message: Message, *, where: str = "") -> str:
    """One message: when, who, what; further lines of it are indented."""
    text = "(deleted)" if message.deleted else clean(message.text).replace("\n", "\n    ")
    marks = [f"file: {one_line(file.filename)}" for file in message.attachments]
    if message.edited:
        marks.append("edited")
    if message.invalidated:
        marks.append("not part of the group's history any more")
    if message.is_mine and message.delivery.value != "accepted":
        marks.append(message.delivery.value)
    if message.reactions:
        marks.append(" ".join(one_line(reaction.emoji) for reaction in message.reactions))
    who = "you" if message.is_mine else short(message.sender)
    tail = f"  [{', '.join(marks)}]" if marks else ""
    return f"{time(message.created_at)}  {where}{who:<16}  {text}{tail}"


def lone_relay_line(group: GroupInfo, add: Iterable[str]) -> str:
    """The line about a group that one relay alone carries, and that `add` could carry as well."""
    return one_line(
        f"one relay alone carries it ({', '.join(group.relays)}): while that is down, nobody in it is heard. "
        f"A program can add yours, {', '.join(add)}: see the FAQ"
    )


def group_line(group: GroupInfo) -> str:
    """One group."""
    people = "1 member" if group.member_count == 1 else f"{group.member_count} members"
    parts = [group.id[:SHORT], f"{one_line(group.name):<20}", people]
    if group.unread_count:
        parts.append(f"{group.unread_count} unread")
    if group.state.value != "active":
        parts.append(group.state.value)
    if group.contested:
        parts.append("contested")
    return "  ".join(parts)


def invite_line(invite: Invite) -> str:
    """One invite."""
    people = "1 member" if invite.member_count == 1 else f"{invite.member_count} members"
    name = one_line(invite.group_name)
    return f"{invite.id[:SHORT]}  {name:<20}  {people}  from {invite.inviter.npub}"


def rank(member: Member) -> tuple[bool, bool, PublicKey]:
    """What members are sorted by: admins first, and oneself before others."""
    return not member.is_admin, not member.is_me, member.public_key


def member_line(member: Member) -> str:
    """One member."""
    marks = [mark for mark, holds in (("admin", member.is_admin), ("you", member.is_me)) if holds]
    tail = f"  {', '.join(marks)}" if marks else ""
    return f"{member.public_key.npub}{tail}"
