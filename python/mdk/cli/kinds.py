"""Kinds of values on the command line: people and relays."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from mdk import PublicKey
from mdk.errors import InvalidKey

# Older versions of click cannot be subscripted.
if TYPE_CHECKING:
    _People = click.ParamType[PublicKey]
    _Profiles = click.ParamType[str]
    _Relays = click.ParamType[str]
else:
    _People = _Profiles = _Relays = click.ParamType


class Person(_People):
    """An npub, an nprofile (both also as nostr: link) or 64 hex digits."""

    name = "npub"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> PublicKey:
        """Understand one."""
        if isinstance(value, PublicKey):
            return value
        try:
            return PublicKey.parse(str(value))
        except InvalidKey:
            # The text is not repeated: somebody may have put an nsec there.
            problem = "not an npub, nprofile or 64 hex digits, or a letter of it is wrong: ask the person for it again"
            if str(value).removeprefix("nostr:").lower().startswith("nsec1"):
                problem = "that is an nsec, a secret key, and your shell may have kept it; give the npub of the account"
            self.fail(problem, param, ctx)


class Profile(_Profiles):
    """A person, as the text that was given: it may name relays."""

    name = "npub"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Check one."""
        Person().convert(value, param, ctx)
        return str(value)


class Relay(_Relays):
    """The address of a relay."""

    name = "url"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Understand one; before anything is made."""
        text = str(value)
        try:
            parts = urlsplit(text)
            fine = parts.scheme in {"ws", "wss"} and bool(parts.hostname) and parts.username is None
            fine = fine and parts.port != 0 and not parts.fragment
        except ValueError:
            fine = False
        if not fine:
            self.fail(f"{text!r} is not ws:// or wss:// with a host", param, ctx)
        return text
