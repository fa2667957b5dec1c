"""The secrets of an account, from the decrypted database; and the keys of a sender's messages (RFC 9420, section 9)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sqlite3
import struct
from collections.abc import Iterator

SECRET = 32
# Labels of the table `mls_rows` by what they hold.
TREE, CONTEXT, MESSAGE_SECRETS, EPOCH_SECRETS, EXPORT_TREE, EPOCH_KEYS = 4, 6, 9, 12, 13, 14
SIGNATURE, ENCRYPTION, KEY_PACKAGE = 32, 33, 34
NAMES = {
    MESSAGE_SECRETS: "message secret",
    EPOCH_SECRETS: "epoch secret",
    EXPORT_TREE: "exporter tree",
    EPOCH_KEYS: "HPKE key of the epoch",
    SIGNATURE: "signature key",
    ENCRYPTION: "HPKE key",
    KEY_PACKAGE: "KeyPackage key",
}


def strings(value: bytes) -> Iterator[bytes]:
    """Every run of 32 bytes that follows its own length, as byte strings are stored, and that looks random."""
    at = value.find(SECRET)
    while at >= 0:
        found = value[at + 1 : at + 1 + SECRET]
        if len(found) == SECRET and len(set(found)) >= 20:
            yield found
        at = value.find(SECRET, at + 1)


def public(database: sqlite3.Connection) -> bytes:
    """What everybody in the group sees: trees, contexts, published KeyPackages."""
    rows = database.execute("SELECT value FROM mls_rows WHERE label IN (?, ?)", (TREE, CONTEXT))
    packages = database.execute("SELECT event_json FROM key_packages")
    groups = database.execute("SELECT nostr_group_id, admins, members FROM groups")
    found = [value for (value,) in rows]
    found += [base64.b64decode(json.loads(text)["content"]) for (text,) in packages]
    found += [value for row in groups for value in row]
    return b"".join(found)


def secrets(database: sqlite3.Connection) -> dict[str, bytes]:
    """All secrets in the database, by what they are."""
    known = public(database)
    found: dict[str, bytes] = {}

    def add(name: str, *candidates: bytes) -> None:
        # The byte of a length may stand before a string by chance. What follows is then in part something known, or in
        # part a secret of an earlier row that has a name already, and a life of its own.
        settled = b"".join((known, *found.values()))
        for secret in candidates:
            parts = [secret[at : at + 8] for at in range(0, SECRET, 8)]
            if secret not in found.values() and not any(part in settled for part in parts):
                found[f"{name} {len(found)}"] = secret

    # Some of an epoch's secrets have a life of their own: the authenticator names an epoch in the history, and the
    # key of the leaf comes with a KeyPackage that may be used again.
    for table in ("groups", "nodes", "messages"):
        for (secret,) in database.execute(f"SELECT authenticator FROM {table}"):
            add("authenticator", secret)
    rows = database.execute(
        "SELECT label, value FROM mls_rows ORDER BY label <> ?, id", (KEY_PACKAGE,)
    )
    for label, value in rows:
        if label in NAMES:
            add(NAMES[label], *strings(value))
    for table in ("groups", "nodes"):
        for (secret,) in database.execute(f"SELECT event_key FROM {table}"):
            add("exporter secret", secret)
    return found


def expand(secret: bytes, label: bytes, generation: int, length: int) -> bytes:
    """DeriveTreeSecret of the one ciphersuite in use (SHA-256)."""
    label = b"MLS 1.0 " + label
    context = struct.pack(">I", generation)
    info = struct.pack(">HB", length, len(label)) + label + bytes([len(context)]) + context
    return hmac.new(secret, info + b"\1", hashlib.sha256).digest()[:length]


def ratchet(secret: bytes, generation: int) -> tuple[bytes, bytes]:
    """The key of the message of this generation, and the secret of the next one."""
    return expand(secret, b"key", generation, 16), expand(secret, b"secret", generation, SECRET)
