"""Reads a backup on its own: the format as the documentation gives it, by other libraries than ours."""

import hashlib
import hmac
import struct
from collections.abc import Iterator
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

HEADER = 108
CHUNK = 1 << 16
TAG = 16

Cell = None | int | float | bytes
Row = tuple[Cell, ...]


class Backup(NamedTuple):
    """What a backup says."""

    schema: int
    created_at: int
    tables: dict[str, tuple[list[str], list[Row]]]
    digest: bytes


def hchacha20(key: bytes, nonce: bytes) -> bytes:
    """HChaCha20 (draft-irtf-cfrg-xchacha, 2.2)."""
    state = list(struct.unpack("<16I", b"expand 32-byte k" + key + nonce))

    def rotate(value: int, by: int) -> int:
        return (value << by | value >> (32 - by)) & 0xFFFFFFFF

    def quarter(a: int, b: int, c: int, d: int) -> None:
        for x, y, z, by in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            state[x] = (state[x] + state[y]) & 0xFFFFFFFF
            state[z] = rotate(state[z] ^ state[x], by)

    for _ in range(10):
        for column in range(4):
            quarter(column, column + 4, column + 8, column + 12)
        for start in range(4):
            quarter(start, 4 + (start + 1) % 4, 8 + (start + 2) % 4, 12 + (start + 3) % 4)
    return struct.pack("<8I", *state[:4], *state[12:])


def derived_keys(header: bytes, passphrase: bytes) -> bytes:
    """The key of the chunks and that of the header, which are two halves."""
    if header[:12] != b"mdk-backup\1\1" or header[75] != 16:
        raise ValueError("not a backup")
    memory, passes, lanes = struct.unpack(">3I", header[12:24])
    return Argon2id(
        salt=header[24:56], length=64, iterations=passes, lanes=lanes, memory_cost=memory
    ).derive(passphrase)


def _content(archive: bytes, passphrase: bytes) -> bytes:
    """Decrypts; raises if anything does not authenticate."""
    header = archive[:HEADER]
    derived = derived_keys(header, passphrase)
    mac = hmac.digest(derived[32:], header[:76], hashlib.sha256)
    if not hmac.compare_digest(mac, header[76:]):
        raise ValueError("the header does not authenticate")
    content = b""
    chunks = range(HEADER, len(archive), CHUNK + TAG)
    for number, start in enumerate(chunks):
        last = number == len(chunks) - 1
        nonce = header[56:75] + number.to_bytes(4, "big") + bytes([last])
        cipher = ChaCha20Poly1305(hchacha20(derived[:32], nonce[:16]))
        sealed = archive[start : start + CHUNK + TAG]
        content += cipher.decrypt(bytes(4) + nonce[16:], sealed, header)
    return content


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def take(self, length: int) -> bytes:
        """The next bytes."""
        found = self._content[self._at : self._at + length]
        if len(found) != length:
            raise ValueError("the content is too short")
        self._at += length
        return found

    def number(self, length: int) -> int:
        """An unsigned integer, big endian."""
        return int.from_bytes(self.take(length), "big")

    def text(self) -> str:
        """A name."""
        return self.take(self.number(2)).decode()

    def cell(self) -> Cell:
        """A value."""
        kind = self.take(1)
        if kind == b"N":
            return None
        if kind == b"I":
            return int.from_bytes(self.take(8), "big", signed=True)
        if kind == b"F":
            return float(struct.unpack(">d", self.take(8))[0])
        if kind in (b"S", b"B"):
            return self.take(self.number(4))
        raise ValueError("an unknown kind of value")

    def kinds(self) -> Iterator[bytes]:
        """The kind of each record until the end."""
        while self._at < len(self._content):
            yield self.take(1)


def read_backup(archive: bytes, passphrase: bytes) -> Backup:
    """Decrypts and decodes a backup.

    Raises:
        ValueError: it is not a backup, or not one under this passphrase.
        cryptography.exceptions.InvalidTag: a chunk does not authenticate.
    """
    reader = _Reader(_content(archive, passphrase))
    schema = created_at = 0
    tables: dict[str, tuple[list[str], list[Row]]] = {}
    columns: list[str] = []
    rows: list[Row] = []
    digest = b""
    for kind in reader.kinds():
        if kind == b"V":
            schema, created_at = reader.number(4), reader.number(8)
        elif kind == b"T":
            name = reader.text()
            columns = [reader.text() for _ in range(reader.number(2))]
            rows = []
            tables[name] = (columns, rows)
        elif kind == b"R":
            rows.append(tuple(reader.cell() for _ in columns))
        elif kind == b"E":
            if reader.number(8) != sum(len(table) for _, table in tables.values()):
                raise ValueError("the rows are not as many as it says")
            digest = reader.take(32)
        else:
            raise ValueError("an unknown kind of record")
    return Backup(schema, created_at, tables, digest)
