"""Small files for tests that send them."""

from __future__ import annotations

import struct
import zlib


def png(width: int = 3, height: int = 2, comment: bytes = b"") -> bytes:
    """A picture of one colour, with a comment that says too much."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = b"".join(b"\0" + b"\x20\x80\xff" * width for _ in range(height))
    text = chunk(b"tEXt", b"Comment\0" + comment) if comment else b""
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", head),
            text,
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )
