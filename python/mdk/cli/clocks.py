"""What time it is for a relay."""

import time
from pathlib import Path
from urllib.parse import urlsplit

from mdk._mdk import DatabaseKey, _remembered_relays
from mdk.errors import InvalidRelayUrl, MdkError
from mdk.reports import Finding, Level

_TOPIC = "clock"
_PATIENCE = 5.0
_NEAR = 120
"""Seconds that clocks may be apart: the answer is on its way for some, and people notice no more."""
_REFUSED = 300
"""Seconds ahead from which on others refuse a KeyPackage (Marmot v2 state, A2-1)."""
_HINT = "set the clock of this machine, then start the account once more: it makes a new KeyPackage"


_MOST_RELAYS = 3
"""Of an account's own, one after the other until one says what time it is."""


def compared_with_own(database: Path, key: DatabaseKey | None) -> Finding:
    """As compared(), with the account's own relays. What stands in the way is said."""
    if key is None:
        return _unknown("they stand in the database, which was looked at from outside")
    try:
        relays = _relays(_remembered_relays(database, key=key))
    except MdkError as error:
        return _unknown(f"the database is not read ({error.code})")
    if not relays:
        return _unknown("the account has none")
    end = time.monotonic() + _PATIENCE
    for relay in relays[:_MOST_RELAYS]:
        left = end - time.monotonic()
        if left > 0 and (theirs := _date(relay, left)) is not None:
            return judged(round(time.time() - theirs))
    return _note("no relay of the account says what time it is, or none can be reached")


def _relays(found: list[str]) -> list[str]:
    return [url for url in found if url.startswith(("ws://", "wss://"))]


def _note(text: str) -> Finding:
    return Finding(Level.NOTE, _TOPIC, text, None)


def _unknown(why: str) -> Finding:
    text = f"not compared with that of the account's relays: {why}"
    return Finding(Level.NOTE, _TOPIC, text, "name a relay: --relay wss://…")


def not_compared() -> Finding:
    """That no relay was asked, as was wished."""
    return _note("not compared with that of a relay (--offline)")


def compared(relay: str) -> Finding:
    """How far the clock of this machine is from that of a relay, by the `Date` of an HTTP answer.

    Raises:
        InvalidRelayUrl: that is no ws:// or wss:// URL.
    """
    theirs = _date(relay, _PATIENCE)
    if theirs is None:
        return _note("the relay does not say what time it is")
    return judged(round(time.time() - theirs))


def judged(ahead: int) -> Finding:
    """What it means that this clock is so many seconds ahead of the relay's, or behind."""
    if abs(ahead) <= _NEAR:
        return Finding(Level.OK, _TOPIC, "agrees with that of the relay", None)
    if ahead < 0:
        text = f"{-ahead} s behind that of the relay: what others date rightly is refused here"
        return Finding(Level.WARNING, _TOPIC, text, _HINT)
    text = f"{ahead} s ahead of that of the relay"
    if ahead > _REFUSED:
        return Finding(Level.ERROR, _TOPIC, f"{text}: nobody can invite this account", _HINT)
    return Finding(Level.WARNING, _TOPIC, text, _HINT)


def _date(relay: str, patience: float) -> float | None:
    # Every command would take longer to start for what one of them uses.
    from email.utils import parsedate_to_datetime  # noqa: PLC0415
    from http.client import HTTPConnection, HTTPException, HTTPSConnection  # noqa: PLC0415
    from ssl import create_default_context  # noqa: PLC0415

    try:
        url = urlsplit(relay)
        host, port = url.hostname, url.port
    except ValueError:
        url, host, port = urlsplit(""), None, None
    if host is None or url.scheme not in {"ws", "wss"}:
        raise InvalidRelayUrl("relay: not a ws:// or wss:// URL", field="relay")
    if url.scheme == "wss":
        connection: HTTPConnection = HTTPSConnection(
            host, port, timeout=patience, context=create_default_context()
        )
    else:
        connection = HTTPConnection(host, port, timeout=patience)
    try:
        connection.request("HEAD", url.path or "/", headers={"Accept": "application/nostr+json"})
        date = connection.getresponse().getheader("Date")
        return None if date is None else parsedate_to_datetime(date).timestamp()
    except (OSError, ValueError, HTTPException):
        return None
    finally:
        connection.close()
