"""What went wrong between this account and its relays.

The only errors that name relays: their URLs and words are in attributes, for the program. In the message are at most
the account's own relays, with our words.
"""

from collections.abc import Mapping

from .base import MdkError


class TransportError(MdkError, ConnectionError):
    """Relays could not be reached, or did not do what was asked."""

    code = "transport_error"


class NotConnected(TransportError):
    """There is no connection to a relay that is needed now. What is to be published waits in the outbox.

    The message names the account's own relays, and `reasons` all that it uses: by URL, why there is no answer from it.
    """

    code = "not_connected"
    hint: str | None = "Wait: the client goes on trying. stats().relays says what each relay is at."

    def __init__(
        self,
        message: str = "",
        *,
        reasons: Mapping[str, str] | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.reasons: Mapping[str, str] = dict(reasons or {})


class NoAnswer(TransportError):
    """A relay took the request and did not answer in time."""

    code = "no_answer"
    hint: str | None = "Try again, or use another relay."


class RelayRefused(TransportError):
    """A relay refused the request. `reason` is what it said, `relay` its URL where one relay was meant."""

    code = "relay_refused"
    hint: str | None = "See .reason; use another relay if it asks for what you cannot give."

    def __init__(
        self, message: str = "", *, relay: str = "", reason: str = "", hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.relay = relay
        self.reason = reason


class NoRelayAccepted(TransportError):
    """Every relay refused for good. `reasons` has what each said, by URL. Nothing was changed."""

    code = "no_relay_accepted"
    hint: str | None = "See .reasons; use other relays, or do what they ask for."

    def __init__(
        self,
        message: str = "",
        *,
        reasons: Mapping[str, str] | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.reasons: Mapping[str, str] = dict(reasons or {})


class AddressRefused(TransportError):
    """A relay address that somebody else named leads where it must not: loopback, a private network and the like."""

    code = "address_refused"
    hint: str | None = "Name the relay yourself, in relays=, if you trust it."


class OutboxFull(TransportError):
    """As many events wait for relays as the outbox takes: `limit`. Nothing was changed."""

    code = "outbox_full"
    hint: str | None = "Wait until relays are reachable, or cancel messages: client.outbox."

    def __init__(
        self, message: str = "", *, limit: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.limit = limit


class PortTaken(TransportError):
    """The local relay cannot listen: another program has the port."""

    code = "port_taken"
    hint: str | None = "Choose another port; 0 takes a free one."
