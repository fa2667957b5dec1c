"""The keys of a backup by its header, as the documentation gives the format, by other libraries than ours."""

import struct

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

HEADER = 108


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
