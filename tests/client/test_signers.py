"""Whose keys a client takes: those that are here, and no others yet."""

from __future__ import annotations

from typing import Any

import pytest

from mdk import Bot, Client, Keys, PublicKey, Signer, errors

RELAYS = ["wss://relay.example"]


class Elsewhere:
    """A signer whose secret is on another machine."""

    def __init__(self) -> None:
        self.public_key: PublicKey = Keys.generate().public_key


async def test_only_keys_that_are_here_are_taken() -> None:
    mine: Signer = Keys.generate()
    Client.open(":memory:", keys=mine, relays=RELAYS)
    elsewhere: Signer = Elsewhere()
    nsec = Keys.generate().reveal_nsec()
    wrong: list[Any] = [elsewhere, nsec, nsec.encode(), 5, Keys]
    for keys in wrong:
        with pytest.raises(errors.InvalidInput) as caught:
            Client.open(":memory:", keys=keys, relays=RELAYS)
        assert caught.value.field == "keys"
        assert nsec not in repr((caught.value, caught.value.hint))
        if keys is elsewhere:
            assert "NIP-46" in str(caught.value)
            assert "Keys.parse()" in (caught.value.hint or "")
            assert elsewhere.public_key.npub not in str(caught.value)
        # Before anything is opened.
        with pytest.raises(errors.InvalidInput, match="keys"):
            Bot(":memory:", allow="anyone", keys=keys, relays=RELAYS)
        with pytest.raises(errors.InvalidInput, match="keys"):
            await Client.restore("nowhere", "nowhere-else", passphrase="x", keys=keys)
