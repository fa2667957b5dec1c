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


def test_keys_are_a_signer() -> None:
    keys = Keys.generate()
    signer: Signer = keys
    assert signer.public_key == keys.public_key
    Client.open(":memory:", keys=signer, relays=RELAYS)


def test_a_signer_elsewhere_is_refused_with_what_to_do_instead() -> None:
    signer: Signer = Elsewhere()
    with pytest.raises(errors.InvalidInput, match="NIP-46") as caught:
        Client.open(":memory:", keys=signer, relays=RELAYS)
    assert caught.value.field == "keys"
    assert "Keys.parse()" in (caught.value.hint or "")
    assert signer.public_key.npub not in str(caught.value)


async def test_whatever_is_no_keys_is_refused_before_anything_is_opened() -> None:
    nsec = Keys.generate().reveal_nsec()
    wrong: list[Any] = [nsec, nsec.encode(), 5, Keys, Elsewhere()]
    for keys in wrong:
        with pytest.raises(errors.InvalidInput) as caught:
            Client.open(":memory:", keys=keys, relays=RELAYS)
        assert caught.value.field == "keys"
        assert nsec not in repr((caught.value, caught.value.hint))
        with pytest.raises(errors.InvalidInput, match="keys"):
            Bot(":memory:", allow="anyone", keys=keys, relays=RELAYS)
        with pytest.raises(errors.InvalidInput, match="keys"):
            await Client.restore("nowhere", "nowhere-else", passphrase="x", keys=keys)
