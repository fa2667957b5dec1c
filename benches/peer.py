"""The peer under measurement: mdk-python with nostr-sdk, used as its documentation has its users do it.

Runs in the peer's own environment: `scripts/peer.py run -- benches/peer.py FOLDER`. Here `mdk` is the peer's module.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mdk
import nostr_sdk
from worker import Side, folder_size, serve

RELAYS = ["wss://relay.example"]


@dataclass
class Account:
    """An account of the peer: it keeps keys and state apart."""

    keys: Any
    path: Path
    secret: bytes
    engine: Any

    @property
    def public(self) -> str:
        return str(self.keys.public_key().to_hex())


def signed(keys: Any, kind: int, content: str, tags: list[list[str]]) -> str:
    builder = nostr_sdk.EventBuilder(nostr_sdk.Kind(kind), content)
    event = builder.tags([nostr_sdk.Tag.parse(t) for t in tags]).sign_with_keys(keys)
    return str(event.as_json())


class Peer(Side):
    """Synchronous calls; the two asynchronous ones of nostr-sdk run on one loop that is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loop = asyncio.new_event_loop()

    def account(self, name: str) -> Account:
        path, secret = self.folder / f"{name}.db", os.urandom(32)
        return Account(
            nostr_sdk.Keys.generate(), path, secret, mdk.new_mdk_with_key(str(path), secret, None)
        )

    def size(self, account: Account) -> int:
        return folder_size(account.path)

    def _package(self, engine: Any, keys: Any) -> str:
        result = engine.create_key_package_for_event(keys.public_key().to_hex(), RELAYS)
        return signed(keys, 30443, result.key_package, result.tags)

    def key_package(self, account: Account) -> str:
        return self._package(account.engine, account.keys)

    def strangers(self, count: int) -> list[str]:
        engine = self.account(f"strangers-{count}").engine
        return [self._package(engine, nostr_sdk.Keys.generate()) for _ in range(count)]

    def create(
        self, account: Account, key_packages: list[str], wrap: bool
    ) -> tuple[str, list[str]]:
        result = account.engine.create_group(
            account.public, key_packages, "Lunch", "", RELAYS, [account.public]
        )
        group = result.group.mls_group_id
        welcomes = result.welcome_rumors_json
        if wrap:
            welcomes = self.loop.run_until_complete(self._wrap(account, key_packages, welcomes))
        account.engine.merge_pending_commit(group)
        return group, welcomes

    async def _wrap(
        self, account: Account, key_packages: list[str], rumors: list[str]
    ) -> list[str]:
        signer = nostr_sdk.NostrSigner.keys(account.keys)
        wraps = []
        for package, rumor in zip(key_packages, rumors, strict=True):
            receiver = nostr_sdk.Event.from_json(package).author()
            wrap = await nostr_sdk.gift_wrap(
                signer, receiver, nostr_sdk.UnsignedEvent.from_json(rumor), []
            )
            wraps.append(wrap.as_json())
        return wraps

    def join(self, account: Account, welcome: str, wrapped: bool) -> str:
        wrapper, rumor = os.urandom(32).hex(), welcome
        if wrapped:
            event = nostr_sdk.Event.from_json(welcome)
            wrapper = event.id().to_hex()
            rumor = self.loop.run_until_complete(self._unwrap(account, event))
        invite = account.engine.process_welcome(wrapper, rumor)
        account.engine.accept_welcome(invite)
        return str(invite.mls_group_id)

    async def _unwrap(self, account: Account, event: Any) -> str:
        gift = await nostr_sdk.UnwrappedGift.from_gift_wrap(
            nostr_sdk.NostrSigner.keys(account.keys), event
        )
        return str(gift.rumor().as_json())

    def send(self, account: Account, group: str, text: str) -> str:
        return str(account.engine.create_message(group, account.public, text, 9, None, None))

    def receive(self, account: Account, event: str) -> None:
        result = account.engine.process_message(event)
        if not (result.is_application_message() or result.is_commit()):
            raise RuntimeError(f"the peer did not apply its own event: {type(result).__name__}")

    def self_update(self, account: Account, group: str) -> str:
        result = account.engine.self_update(group)
        account.engine.merge_pending_commit(group)
        return str(result.evolution_event_json)

    def ingest(self, account: Account, events: list[str]) -> None:
        for event in events:
            self.receive(account, event)

    def reopen(self, account: Account) -> Callable[[], None]:
        account.engine = None

        def opening() -> None:
            account.engine = mdk.new_mdk_with_key(str(account.path), account.secret, None)
            account.engine.get_groups()

        return opening


if __name__ == "__main__":
    serve(Peer(Path(sys.argv[1])))
