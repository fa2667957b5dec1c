"""The file format of SQLCipher 4, read without any code of this project: pages and write-ahead log.

A page has 4096 bytes: content (page 1: the salt of 16 bytes, in the clear, stands for SQLite's magic), then a reserve
of 80: the IV of 16 and an HMAC-SHA512 of 64 bytes over ciphertext, IV and page number (32 bits, little endian). The
content is AES-256-CBC without padding under the raw key; the HMAC key is PBKDF2-HMAC-SHA512 of it, two rounds, over the
salt with every byte XOR 0x3a.
"""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
import struct
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PAGE = 4096
RESERVE = 80
BODY = PAGE - RESERVE
SALT = 16
MAGIC = b"SQLite format 3\0"
WAL_HEADER = 32
FRAME_HEADER = 24
WAL_MAGIC = 0x377F0682


def hmac_key(key: bytes, salt: bytes) -> bytes:
    return hashlib.pbkdf2_hmac("sha512", key, bytes(b ^ 0x3A for b in salt), 2, 32)


def tag(mac_key: bytes, number: int, page: bytes) -> bytes:
    """The HMAC that page `number` should carry."""
    start = SALT if number == 1 else 0
    signed = page[start : BODY + 16] + struct.pack("<I", number)
    return hmac.new(mac_key, signed, hashlib.sha512).digest()


def is_authentic(mac_key: bytes, number: int, page: bytes) -> bool:
    return hmac.compare_digest(tag(mac_key, number, page), page[BODY + 16 :])


def decrypt(key: bytes, number: int, page: bytes) -> bytes:
    """The plain page, its reserve kept as it is; page 1 begins with SQLite's magic again."""
    start = SALT if number == 1 else 0
    cipher = Cipher(algorithms.AES(key), modes.CBC(page[BODY : BODY + 16])).decryptor()
    plain = cipher.update(page[start:BODY]) + cipher.finalize()
    return (MAGIC if number == 1 else b"") + plain + page[BODY:]


@dataclass(frozen=True)
class Frame:
    """A page in the write-ahead log."""

    number: int
    commit: int
    """Size of the database in pages if this frame ends a transaction, else 0."""
    live: bool
    """Whether it belongs to the log's current generation; others are what an earlier one left behind."""
    plain: bytes


@dataclass(frozen=True)
class Header:
    """What page 1 says about the database."""

    page_size: int
    reserve: int
    pages: int
    user_version: int
    application_id: int


class Encrypted:
    """An encrypted database with its log, decrypted as far as its pages are authentic."""

    def __init__(self, path: Path, key: bytes) -> None:
        self.key = key
        self.raw = path.read_bytes()
        self.salt = self.raw[:SALT]
        self.mac_key = hmac_key(key, self.salt)
        self.pages: dict[int, bytes] = {}
        self.damaged: list[int] = []
        for number in range(1, len(self.raw) // PAGE + 1):
            page = self.raw[(number - 1) * PAGE : number * PAGE]
            if is_authentic(self.mac_key, number, page):
                self.pages[number] = decrypt(key, number, page)
            else:
                self.damaged.append(number)
        log = path.with_name(path.name + "-wal")
        self.log = log.read_bytes() if log.exists() else b""
        self.frames: list[Frame] = []
        self.damaged_frames = 0
        self._read_log()

    def _read_log(self) -> None:
        if len(self.log) < WAL_HEADER:
            return
        magic, _, size, _, *salts = struct.unpack(">6I", self.log[:24])
        assert magic & ~1 == WAL_MAGIC
        assert size == PAGE
        order = ">" if magic & 1 else "<"
        chain = _checksum(order, (0, 0), self.log[:24])
        live = chain == struct.unpack(">2I", self.log[24:32])
        step = FRAME_HEADER + PAGE
        for start in range(WAL_HEADER, len(self.log) - step + 1, step):
            head = self.log[start : start + FRAME_HEADER]
            page = self.log[start + FRAME_HEADER : start + step]
            if not any(head) and not any(page):
                # Room that the log was given when it was opened, and that nothing was written to yet.
                live = False
                continue
            number, commit, *frame_salts = struct.unpack(">4I", head[:16])
            chain = _checksum(order, _checksum(order, chain, head[:8]), page)
            live = live and frame_salts == salts and chain == struct.unpack(">2I", head[16:])
            if is_authentic(self.mac_key, number, page):
                plain = decrypt(self.key, number, page)
                self.frames.append(Frame(number, commit, live, plain))
            else:
                self.damaged_frames += 1

    @property
    def header(self) -> Header:
        page = self.image()[:100]
        big = struct.unpack(">25I", page)
        size = struct.unpack(">H", page[16:18])[0]
        return Header(size, page[20], big[7], big[15], big[17])

    def image(self) -> bytes:
        """The database as plain SQLite: the file with the committed part of the log applied."""
        pages = dict(self.pages)
        size = max(pages, default=0)
        waiting: dict[int, bytes] = {}
        for frame in self.frames:
            if not frame.live:
                break
            waiting[frame.number] = frame.plain
            if frame.commit:
                pages.update(waiting)
                waiting.clear()
                size = frame.commit
        return b"".join(pages.get(number, bytes(PAGE)) for number in range(1, size + 1))

    def sqlite(self) -> sqlite3.Connection:
        """The plain image, opened by Python's SQLite."""
        image = bytearray(self.image())
        image[18:20] = b"\1\1"  # an image in memory has no log
        connection = sqlite3.connect(":memory:")
        connection.deserialize(bytes(image))
        return connection

    def everything(self) -> bytes:
        """All that the key opens: every page of the file and every frame of the log, old ones too."""
        return b"".join(self.pages.values()) + b"".join(frame.plain for frame in self.frames)


def _checksum(order: str, start: tuple[int, int], data: bytes) -> tuple[int, int]:
    """The running checksum of a write-ahead log."""
    one, two = start
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return one, two
