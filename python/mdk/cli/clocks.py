"""What time it is for a relay."""

import time
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ssl import create_default_context
from urllib.parse import urlsplit

from mdk.errors import InvalidRelayUrl
from mdk.reports import Finding, Level

_TOPIC = "clock"
_PATIENCE = 5.0
_NEAR = 120
"""Seconds that clocks may be apart: the answer is on its way for some, and people notice no more."""
_REFUSED = 300
"""Seconds ahead from which on others refuse a KeyPackage (Marmot v2 state, A2-1)."""
_HINT = "set the clock of this machine, then start the account once more: it makes a new KeyPackage"


def compared(relay: str) -> Finding:
    """How far the clock of this machine is from that of a relay, by the `Date` of an HTTP answer.

    Raises:
        InvalidRelayUrl: that is no ws:// or wss:// URL.
    """
    theirs = _date(relay)
    if theirs is None:
        return Finding(Level.NOTE, _TOPIC, "the relay does not say what time it is", None)
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


def _date(relay: str) -> float | None:
    try:
        url = urlsplit(relay)
        host, port = url.hostname, url.port
    except ValueError:
        url, host, port = urlsplit(""), None, None
    if host is None or url.scheme not in {"ws", "wss"}:
        raise InvalidRelayUrl("relay: not a ws:// or wss:// URL", field="relay")
    if url.scheme == "wss":
        connection: HTTPConnection = HTTPSConnection(
            host, port, timeout=_PATIENCE, context=create_default_context()
        )
    else:
        connection = HTTPConnection(host, port, timeout=_PATIENCE)
    try:
        connection.request("HEAD", url.path or "/", headers={"Accept": "application/nostr+json"})
        date = connection.getresponse().getheader("Date")
        return None if date is None else parsedate_to_datetime(date).timestamp()
    except (OSError, ValueError, HTTPException):
        return None
    finally:
        connection.close()
